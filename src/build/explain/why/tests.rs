//! Texts of causes.

use super::*;

const OLD: &str = "kbake-plan 1\ndeb two 11\nfile /etc/x 0644 root root 3 aa\nunit a.service enable\n";

/// One line's reason; `old` and `new` are its causes as JSON.
fn reason(from: &str, to: &str, old: &str, new: &str, subject: &str) -> String {
    let text = |by: &str, kbake: &str, fact: &str| {
        format!(r#"{{"format": 1, "kbake": "{kbake}", "facts": {{"etcd": "{fact}"}}, "by": {{"{subject}": [{by}]}}}}"#)
    };
    let side = |plan: &str, causes: String| Side {
        lines: lines(plan, "p").unwrap(),
        causes: Some(Causes::parse(causes.as_bytes()).unwrap_or_else(|| panic!("{causes}"))),
    };
    let found = reasons(&side(OLD, text(old, "0.1.0", "3.4.23")), &side(&OLD.replace(from, to), text(new, "0.2.0", "3.4.24")));
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().ends_with(&format!(": {}", found[0].cause)));
    found[0].cause.clone()
}

const KBAKE: &str = r#"{"kbake": {"part": null}}"#;
const PART: &str = r#"{"kbake": {"part": "etcd"}}"#;
const WRITTEN: &str = r#"{"written": {"at": "recipes/a.toml:3"}}"#;

fn locked(version: &str, digest: &str, asked: &str) -> String {
    format!(r#"{{"locked": {{"at": "l.lock:7", "what": "two", "version": "{version}", "digest": "{digest}", "asked": [{asked}]}}}}"#)
}

#[test]
fn each_sort_of_cause_has_its_words() {
    let (unit, file) = (("a.service enable", "a.service mask", "unit a.service"), ("root 3 aa", "root 4 bb", "/etc/x"));
    for ((from, to, subject), old, new, expected) in [
        (unit, WRITTEN, WRITTEN, "recipes/a.toml:3"),
        (unit, WRITTEN, KBAKE, "kbake itself; before: recipes/a.toml:3"),
        (unit, "", "", "not known"),
        (file, KBAKE, KBAKE, "kbake itself, 0.1.0 → 0.2.0"),
        (file, PART, PART, "kbake's own part etcd, 0.1.0 → 0.2.0, which follows etcd 3.4.23 → 3.4.24"),
        (file, "", PART, "kbake's own part etcd"),
        (("unit a.service enable\n", "", "unit a.service"), WRITTEN, "", "no longer there; it was recipes/a.toml:3"),
        (("unit a.service enable\n", "", "unit a.service"), "", "", "no longer wanted; its earlier cause is not known"),
        (("file /etc/x 0644 root root 3 aa\n", "", "/etc/x"), PART, "", "kbake's own part etcd no longer makes it"),
    ] {
        assert_eq!(reason(from, to, old, new, subject), expected);
    }
}

#[test]
fn locked_things_show_versions_and_shout_about_other_bytes() {
    let deb = ("deb two 11", "deb two 22", "deb two");
    let told = |old: &str, new: &str| reason(deb.0, deb.1, old, new, deb.2);
    assert_eq!(told(&locked("1", "sha256:11", ""), &locked("2", "sha256:22", "")), "l.lock:7 two 1 → 2");
    assert_eq!(
        told(&locked("1", "sha256:11", ""), &locked("1", "sha256:22", "")),
        "l.lock:7 two 1: OTHER BYTES under the same version, sha256:11 → sha256:22"
    );
    let both = |cause: String| format!("{cause}, {WRITTEN}");
    assert_eq!(
        told(&both(locked("1", "sha256:11", "")), &both(locked("1", "sha256:11", ""))),
        "recipes/a.toml:3",
        "the same bytes, used in another way"
    );
    assert_eq!(reason("deb two 11\n", "", &locked("1", "sha256:11", ""), "", "deb two"), "two 1 is no longer wanted; it was l.lock:7");
    let new = |asked: &str| reason("unit a", "deb three 5\nunit a", "", &locked("5", "sha256:55", asked), "deb three");
    assert_eq!(new(""), "l.lock:7 two 5, which others need");
    assert_eq!(new("\"recipes/a.toml:2\""), "l.lock:7 two 5, asked for in recipes/a.toml:2");
}

#[test]
fn causes_of_another_kbake_are_not_read() {
    assert_eq!(Causes::parse(br#"{"format": 2, "kbake": "9", "facts": {}, "by": {}}"#), None);
    assert_eq!(Causes::parse(br#"{"format": 1, "kbake": "9", "facts": {}, "by": {}, "more": 1}"#), None);
    assert_eq!(Causes::parse(b"nonsense"), None);
}
