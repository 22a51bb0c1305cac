//! Keys, proxies and mirrors of the site: refused values that may be secret are not repeated.

use super::super::{file, node};
use super::{KEY, refusal, refused, worker};

#[test]
fn the_site() {
    let root = |lines: &str| format!("{lines}\n{}", worker(""));
    refused(&[
        (root("ntp = [\"a\", \"a\"]"), &["the time server a is given twice"], &[1]),
        (root("ntp = [\"2001:db8::1\"]"), &["IPv4 addresses so far"], &[1]),
        (root("ca-certificates = [\"a.pem\", \"a.pem\"]"), &["the file a.pem is given twice"], &[1]),
        (worker("[proxy]\nno-proxy = [\"a\"]"), &["[proxy] has neither `http` nor `https`"], &[8]),
        (worker("[proxy]\nhttp = \"http://p\"\nno-proxy = [\"*\"]"), &["`*` is not a host"], &[10]),
        (worker("[[registry-mirror]]\nregistry = \"a/b\"\nurls = [\"http://m\"]"), &["a registry is HOST or HOST:PORT"], &[9]),
        (worker("[[registry-mirror]]\nregistry = \"a\"\nurls = []"), &["has no key `urls`"], &[8]),
        (
            worker("[[registry-mirror]]\nregistry = \"a\"\nurls = [\"http://m\", \"http://m/\"]"),
            &["the mirror http://m is given twice"],
            &[10],
        ),
        (
            worker(
                "[[registry-mirror]]\nregistry = \"a\"\nurls = [\"http://m\"]\n[[registry-mirror]]\nregistry = \"a\"\nurls = [\"http://n\"]",
            ),
            &["the registry a is given twice"],
            &[9, 12],
        ),
    ]);
    for url in [
        "hunter2",
        "ftp://hunter2",
        "http://user:hunter2@p:3128",
        "http://p/?hunter2",
        "http://p/a//hunter2",
        "http://p:0/hunter2",
        "http://hunter2$(x)",
    ] {
        for text in [format!("[proxy]\nhttp = \"{url}\""), format!("[[registry-mirror]]\nregistry = \"a\"\nurls = [\"{url}\"]")] {
            let shown = refusal(&worker(&text));
            assert!(shown.contains("it must be http://HOST:PORT/PATH or the like"), "{shown}");
            assert!(!shown.contains("hunter2"), "an address may hold a login: {shown}");
        }
    }
}

#[test]
fn a_private_key_is_never_repeated() {
    let canary = "c2VjcmV0Y2FuYXJ5";
    for key in [
        format!("\"-----BEGIN OPENSSH PRIVATE KEY-----\\n{canary}\\n-----END OPENSSH PRIVATE KEY-----\""),
        format!("\"\"\"-----BEGIN OPENSSH PRIVATE KEY-----\n{canary}\n-----END OPENSSH PRIVATE KEY-----\"\"\""),
        format!("\"{KEY} a\\n-----BEGIN RSA PRIVATE KEY----- {canary}\""),
    ] {
        let shown = refusal(&format!("ssh-keys = [{key}]\n{}", file(&node("etcd", ""))));
        assert!(!shown.contains(canary), "{shown}");
        assert!(shown.contains("bad `ssh-keys`: this is a PRIVATE key") && shown.contains("c.toml:1:13"), "{shown}");
    }
}
