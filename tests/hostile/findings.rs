//! Findings of fuzzing by target: the input and the fault. All are fixed.

pub const FINDINGS: &[(&str, &[u8], &str)] = &[
    ("lock", b"format = 2\nchannel = \"debian\"\narch = \"\\u001bamd64\"\n", "a value's control characters came into the message"),
    (
        "tree",
        b"dir / 0755 0 0 1700000000 - - base\nspa\0\0\0\0rse /s 0600 0 0 1 8192 - role\n",
        "a word's control characters came into the message",
    ),
];
