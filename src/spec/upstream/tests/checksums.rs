//! Checksum files in the publishers' formats, and hostile or broken ones.

use crate::common::value::{Digest, Sha256, Sha512};
use crate::spec::upstream::find;

const URL: &str = "https://host.example/v1/bin/linux/amd64/kubelet";

fn a() -> String {
    Sha256::of("a").to_string()
}

fn b() -> String {
    Sha256::of("b").to_string()
}

fn long() -> String {
    Sha512::of("a").to_string()
}

#[test]
fn every_form_gives_the_digest() {
    let (a, b, long) = (a(), b(), long());
    let short = Digest::Sha256(Sha256::of("a"));
    let signed = format!(
        "{b}  kubelet\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{a}  kubelet\n- --- a rule\n-----BEGIN PGP SIGNATURE-----\n\n{b}  kubelet\n-----END PGP SIGNATURE-----\n{b}  kubelet\n"
    );
    let cases = [
        (a.clone(), short),
        (format!("{a}\n"), short),
        (format!("\u{feff}{a}\r\n\r\n"), short),
        (a.to_uppercase(), short),
        (format!("{a}  kubelet"), short),
        (format!("{a} *kubelet\n{b} *kubectl\n"), short),
        (format!("{a}\tkubelet\r\n{b}\tkubectl\r\n"), short),
        (format!("SHA256 (kubelet) = {a}\nSHA256 (kubectl) = {b}\n"), short),
        (format!("SHA512 (kubelet) = {long}\n"), Digest::Sha512(Sha512::of("a"))),
        (format!("{long}  kubelet\n"), Digest::Sha512(Sha512::of("a"))),
        (format!("{a}  ./kubelet\n"), short),
        (format!("{a}  release/kubelet\n"), short),
        (format!("{a}  amd64/kubelet\n{b}  arm64/kubelet\n"), short),
        (format!("{a}  kubelet\n{b}  other/kubelet\n"), short),
        (format!("{a}  kubelet\n{a}  kubelet\n"), short),
        (format!("{a}  kubelet\n{long}  kubelet\n"), short),
        (format!("# sums\n\n{b}  kubelet.sig\n{a}  kubelet\n{b}  my-kubelet\n"), short),
        (signed, short),
    ];
    for (text, expected) in cases {
        assert_eq!(find(&text, URL), Ok(expected), "{text}");
    }
    assert_eq!(find(&format!("{a}  kubelet"), &format!("{URL}?x=/y")), Ok(short), "a query is no part of the path");
}

#[test]
fn what_does_not_say_it_is_refused() {
    let (a, b, long) = (a(), b(), long());
    let cases = [
        (String::new(), "it is empty"),
        ("# nothing\n".to_owned(), "it is empty"),
        ("<!DOCTYPE html><html>\n<p>Please log in</p>\n".to_owned(), "it begins with `<!DOCTYPE html><html>`"),
        (format!("{a}  kubectl\n"), "it has nothing for `kubelet`, but for kubectl"),
        (format!("{a}  kubelet\n{b}  kubelet\n"), "several hashes for `kubelet` that disagree"),
        (format!("{a}  x/kubelet\n{b}  y/kubelet\n"), "several hashes for `kubelet` that disagree"),
        // A bare hash is only accepted if it is the only text.
        (format!("{a}\n{b}\n"), "not a list of"),
        (format!("{a}\n{b}  kubectl\n"), "nothing for `kubelet`"),
        (format!("{}  kubelet\n", &a[1..]), "not a list of"),
        (format!("{a}0  kubelet\n"), "not a list of"),
        (format!("SHA512 (kubelet) = {a}\n"), "not a list of"),
        (format!("SHA256 (kubelet) = {long}\n"), "not a list of"),
        (format!("MD5 (kubelet) = {a}\n"), "not a list of"),
        (format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{a}  kubelet\n"), "has no end"),
        // Text outside of the signature, or in its headers, does not count.
        (
            format!("{a}  kubelet\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{b}  kubectl\n-----BEGIN PGP SIGNATURE-----\n"),
            "nothing for `kubelet`, but for kubectl",
        ),
        (
            format!(
                "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n{a}  kubelet\n\n{b}  kubectl\n-----BEGIN PGP SIGNATURE-----\n{a}  kubelet\n"
            ),
            "nothing for `kubelet`, but for kubectl",
        ),
        (
            format!(
                "-----BEGIN PGP SIGNED MESSAGE-----\n\n{a}  kubelet\n-----BEGIN PGP SIGNATURE-----\n-----BEGIN PGP SIGNED MESSAGE-----\n\n{b}  kubelet\n-----BEGIN PGP SIGNATURE-----\n"
            ),
            "more than one",
        ),
    ];
    for (text, expected) in cases {
        let why = find(&text, URL).unwrap_err();
        assert!(why.contains(expected), "{text}: {why}");
    }
    let why = find("\u{1b}[31m red alert, and a very long line that goes on and on and on", URL).unwrap_err();
    assert!(!why.contains('\u{1b}') && why.len() < 120, "a terminal's codes do not get through: {why}");
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "([0-9a-f]{64}|SHA256 \\(|\\) = |-----BEGIN PGP SIGNED MESSAGE-----\n|[ -~\n\t\u{e9}]{0,9}){0,12}", url in "[ -~]{0,30}") {
        let _ = find(&text, &url);
    }
}
