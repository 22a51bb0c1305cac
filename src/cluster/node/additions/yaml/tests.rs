use super::*;

#[test]
fn keys_and_paths_have_their_lines() {
    let text = "#cloud-config\n# a comment\npackages: [a, b]\nwrite_files:\n  - content: |\n      path: /no\n      key: no\n    path: /etc/a\n  \
                - {path: \"/etc/b\", content: !!binary aGk=}\nruncmd:\n- [ls, /]\n";
    let found = outline(text).unwrap();
    let keys = ["packages", "write_files", "runcmd"].map(str::to_owned);
    assert_eq!(found.keys, [3, 4, 10].into_iter().zip(keys).collect::<Vec<_>>());
    assert_eq!(found.paths, [(8, "/etc/a".to_owned()), (9, "/etc/b".to_owned())]);
}

#[test]
fn what_cannot_be_read_surely_is_refused_without_its_text() {
    for (text, line, why) in [
        ("#cloud-config\n", 1, "it is empty"),
        ("#cloud-config\n- hunter2\n", 1, "not a mapping"),
        ("a: hunter2\nb: [hunter2\n", 3, "not valid YAML"),
        ("a: hunter2\n\ta: b\n", 1, "not valid YAML"),
        ("a: hunter2\na: hunter2\n", 2, "is repeated"),
        ("a: &x {hostname: hunter2}\n<<: *x\n", 2, "must be words"),
        ("? [hunter2]\n: b\n", 1, "must be words"),
        ("? {hunter2: 1}\n: b\n", 1, "must be words"),
        ("a: b\n---\nhostname: hunter2\n", 2, "a second document"),
        ("write_files: hunter2\n", 1, "must be a list"),
        ("write_files:\n- hunter2\n", 1, "must be a mapping"),
        ("write_files:\n- content: hunter2\n", 2, "has no `path`"),
        ("x: &p /etc/hosts\nwrite_files:\n- path: *p\n", 3, "has no `path`"),
        ("a: *hunter2\n", 1, "not valid YAML"),
    ] {
        let (found, said) = outline(text).expect_err(text);
        assert!(said.contains(why) && !said.contains("hunter2"), "{text}\n{said}");
        assert_eq!(found, line, "{text}");
    }
    let deep = format!("a: {}{}\n", "[".repeat(100), "]".repeat(100));
    assert!(outline(&deep).is_err());
}
