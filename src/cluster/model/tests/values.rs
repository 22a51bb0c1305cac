use proptest::prelude::*;

use super::super::*;

const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ";
const ECDSA: &str = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHkw8zWEwVAu2GOUKQQU9cVu3/Pxg+hmykuGsFfJKgXpU0DNHjeC7+COrVfGDHhaaX7CG8q/CPJ5Plv5Z8q6l0I=";
const RSA: &str = "AAAAB3NzaC1yc2EAAAADAQABAAABAQDcNGJzg76aKv+vrDjC8ZBCQpaMwpj4uVUNDofNLg9uG9WdF4QV4kypAoJsQ1eNOHSYEBUY5JBeNrGBGcM8tR4I67ldwvl0sbsBqDZ4nKY6cHCTojE8r+HBcHB9JSP/x+DBBT4WyQerlBC5hcCkxXo7ez5/BI06mXF2opTe+5GaoPZOBZFgQwfmGLxB5jSDbgUPRjbOyd5iGvXW5fIJsCCUtl5IwZMnGe//dZnT28bvnBTJ12PdRYzbuS9ENPbUpHUsyRhbZJn6iezk1aRxsnvcBsGPO5i1trRS7GsNi+w1MG8UB1bm+EW3d0KVxzZAceWOdmyIYU7xDcF9mlBdKgKf";

fn refusal<T: std::str::FromStr<Err = String> + std::fmt::Debug>(text: &str) -> String {
    text.parse::<T>().expect_err(text)
}

/// Each text is refused, for the reason given.
fn refused<T: std::str::FromStr<Err = String> + std::fmt::Debug>(cases: &[(&str, &str)]) {
    for (text, why) in cases {
        let error = refusal::<T>(text);
        assert!(error.contains(why), "{text:?}: {error}");
        assert!(!error.contains('\n'), "{text:?}: {error}");
    }
}

#[test]
fn host_names() {
    let longest = "a".repeat(63);
    for good in ["etcd0", "0x", "a", "1a", "a-b--c", longest.as_str()] {
        assert_eq!(good.parse::<HostName>().unwrap().to_string(), good);
    }
    let too_long = "a".repeat(64);
    refused::<HostName>(&[
        ("", "is empty"),
        ("Etcd0", "`E` is upper case"),
        ("etcd_0", "`_` is not allowed"),
        ("-a", "starts or ends with `-`"),
        ("a-", "starts or ends with `-`"),
        ("a.b", "has a dot"),
        ("a b", "` ` is not allowed"),
        ("a\nb", "`\\n` is not allowed"),
        ("ü", "`ü` is not allowed"),
        ("127", "only digits"),
        ("localhost", "always means the machine that asks"),
        (&too_long, "may have 63 bytes, this has 64"),
    ]);
}

/// Everything that the API server accepts before the `/`, which is more than a domain of nodes may be.
#[test]
fn label_prefixes_are_what_kubernetes_takes() {
    let longest = [&"a".repeat(100), &"b".repeat(100), &"c".repeat(51)].map(String::as_str).join(".");
    assert_eq!(longest.len(), 253);
    for prefix in [longest.as_str(), "a", "10", "localhost", "x.10", "0.example"] {
        let key = format!("{prefix}/name");
        assert_eq!(key.parse::<LabelKey>().unwrap().to_string(), key);
        let taint = format!("{key}=a:NoSchedule");
        assert_eq!(taint.parse::<Taint>().unwrap().to_string(), taint);
    }
}

#[test]
fn domains() {
    for good in ["kbake.test", "lan", "a.b-c.d2"] {
        assert_eq!(good.parse::<Domain>().unwrap().to_string(), good);
    }
    let too_long = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(7)].join(".");
    refused::<Domain>(&[
        ("", "is empty"),
        (".", "is empty"),
        ("a.", "between dots is empty"),
        (".a", "between dots is empty"),
        ("a..b", "between dots is empty"),
        ("Kbake.test", "upper case"),
        ("a.10", "only digits"),
        ("localhost", "the machine that asks"),
        ("k8s.localhost", "the machine that asks"),
        (&too_long, "at most 189"),
    ]);
    assert!("k8s.local".parse::<Domain>().unwrap().is_mdns());
    assert!(!"local.test".parse::<Domain>().unwrap().is_mdns());
    assert!(!"notlocal".parse::<Domain>().unwrap().is_mdns());
}

#[test]
fn macs() {
    assert_eq!("52:54:00:AB:cd:ef".parse::<Mac>().unwrap().to_string(), "52:54:00:ab:cd:ef");
    refused::<Mac>(&[
        ("", "six pairs"),
        ("52:54:00:12:34", "six pairs"),
        ("52:54:00:12:34:56:78", "six pairs"),
        ("52-54-00-12-34-56", "six pairs"),
        ("52:54:00:12:34:5", "six pairs"),
        ("52:54:00:12:34:+5", "six pairs"),
        ("52:54:00:12:34:5g", "six pairs"),
        ("01:00:5e:00:00:01", "multicast"),
        ("ff:ff:ff:ff:ff:ff", "multicast"),
        ("00:00:00:00:00:00", "all zero"),
    ]);
}

#[test]
fn keys_of_every_type() {
    let sk = blob(&[b"sk-ssh-ed25519@openssh.com", &[7; 32], b"ssh:"]);
    let unheard_of = blob(&[b"ssh-mldsa65@example.org", &[1; 1952]]);
    for (kind, key) in [
        ("ssh-ed25519", ED25519),
        ("ecdsa-sha2-nistp256", ECDSA),
        ("ssh-rsa", RSA),
        ("sk-ssh-ed25519@openssh.com", sk.as_str()),
        ("ssh-mldsa65@example.org", unheard_of.as_str()),
    ] {
        let parsed: SshKey = format!("{kind} {key} jürgen@host  two words\r\n").parse().unwrap_or_else(|why| panic!("{kind}: {why}"));
        assert_eq!(parsed.to_string(), format!("{kind} {key} jürgen@host  two words"));
        assert_eq!(parsed.kind(), kind);
        assert_eq!(format!(" {kind}\t {key}").parse::<SshKey>().unwrap().to_string(), format!("{kind} {key}"));
    }
}

#[test]
fn what_is_no_public_key() {
    let cert = blob(&[b"ssh-ed25519-cert-v01@openssh.com", &[1; 32], &[2; 32]]);
    let lonely = blob(&[b"ssh-ed25519"]);
    let cases = [
        (String::new(), "is empty"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), "PRIVATE key"),
        ("-----BEGIN EC PRIVATE KEY-----".to_owned(), "PRIVATE key"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----".to_owned(), "PRIVATE key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519".to_owned(), "PRIVATE key"),
        ("-----BEGIN PUBLIC KEY-----".to_owned(), "PEM format"),
        ("---- BEGIN SSH2 PUBLIC KEY ----".to_owned(), "RFC 4716"),
        ("ssh-ed25519".to_owned(), "the key itself is missing"),
        (format!("ssh-rsa {ED25519}"), "the line says `ssh-rsa`, the key itself says `ssh-ed25519`"),
        (format!("ssh-ed25519 {}", &ED25519[..ED25519.len() - 1]), "not valid base64"),
        (format!("ssh-ed25519 {}", &ED25519[..ED25519.len() - 4]), "truncated"),
        (format!("ssh-ed25519 {lonely}"), "truncated"),
        ("ssh-ed25519 AAAA".to_owned(), "truncated"),
        ("ssh-ed25519 aGVsbG8gd29ybGQh".to_owned(), "not an SSH public key"),
        (format!("ssh-ed25519 {}é", &ED25519[..40]), "not valid base64"),
        (format!("ssh-ed25519-cert-v01@openssh.com {cert}"), "is a certificate"),
        (format!("from=\"10.0.0.1\" ssh-ed25519 {ED25519}"), "`from` is an option of authorized_keys; options in front of a key"),
        (format!("no-pty,command=\"x\" ssh-ed25519 {ED25519}"), "`no-pty` is an option"),
        (format!("cert-authority ssh-ed25519 {ED25519}"), "`cert-authority` names who may sign keys"),
        (format!("@cert-authority * ssh-ed25519 {ED25519}"), "`cert-authority` names who"),
        (format!("cert-authority,principals=\"me\" ssh-ed25519 {ED25519}"), "`cert-authority` names who"),
        ("~/.ssh/id_ed25519.pub".to_owned(), "`~/.ssh/id_ed25519.pub` is the name of a file"),
        ("id.pub".to_owned(), "`cat id.pub` shows it"),
        ("~/.ssh/id_ed25519".to_owned(), "the name of a file"),
        ("$HOME/.ssh/id".to_owned(), "the name of a file"),
        (format!("ssh-dss {}", blob(&[b"ssh-dss", &[1; 128], &[1; 20], &[1; 128], &[1; 128]])), "DSA key, which OpenSSH no longer accepts"),
        (format!("ssh-rsa {}", blob(&[b"ssh-rsa", &[1, 0, 1], &[0x7f; 64]])), "an RSA key of 511 bits"),
        (format!("ssh-ed25519 {ED25519} a\nssh-rsa {RSA}"), "one line"),
        (format!("ssh-ed25519 {ED25519} a\0b"), "one line"),
        (format!("ssh-ed25519 {ED25519} a\u{2028}b"), "one line"),
        (format!("ssh-ed25519 {ED25519} {}", "x".repeat(20_000)), "16384 are allowed"),
    ];
    for (line, why) in cases {
        let error = refusal::<SshKey>(&line);
        assert!(error.contains(why), "{line:?}: {error}");
    }
}

#[test]
fn a_private_key_is_refused_and_never_repeated() {
    let canary = "c2VjcmV0Y2FuYXJ5";
    for text in [
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{canary}\n-----END OPENSSH PRIVATE KEY-----\n"),
        format!("ssh-ed25519 {ED25519}\n-----BEGIN RSA PRIVATE KEY-----\n{canary}\n"),
        format!("PuTTY-User-Key-File-2: ssh-rsa\nPrivate-Lines: 1\n{canary}\n"),
        format!("{canary}{canary}{canary}{canary}{canary}\n{canary}\n"),
    ] {
        let error = refusal::<SshKey>(&text);
        assert!(!error.contains(canary), "{error}");
    }
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n";
    assert!(refusal::<SshKey>(key).contains("the file that ends in `.pub`"));
}

/// An SSH public key made of these fields, in base64.
fn blob(fields: &[&[u8]]) -> String {
    let bytes: Vec<u8> = fields.iter().flat_map(|field| [&(field.len() as u32).to_be_bytes(), *field].concat()).collect();
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let pool = chunk.iter().fold(0u32, |pool, &byte| pool << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (pool >> (18 - 6 * place)) as usize & 63;
            text.push(if place > chunk.len() { '=' } else { DIGITS[digit] as char });
        }
    }
    text
}

proptest! {
    /// No text makes a parser panic, and what is accepted shows as it was given.
    #[test]
    fn parsers_survive_anything(text in "\\PC{0,80}|[a-z0-9.:/-]{0,40}|ssh-rsa [A-Za-z0-9+/=]{0,40}") {
        if let Ok(name) = text.parse::<HostName>() { prop_assert_eq!(name.to_string(), text.clone()); }
        if let Ok(name) = text.parse::<Domain>() { prop_assert_eq!(name.to_string(), text.clone()); }
        if let Ok(mac) = text.parse::<Mac>() { prop_assert_eq!(mac.to_string(), text.to_lowercase()); }
        let _ = text.parse::<SshKey>();
    }

    /// A damaged key is refused or still is a key; damage never changes its type.
    #[test]
    fn damaged_keys(at in 0usize..68, byte in 0u8..128) {
        let mut key = ED25519.as_bytes().to_vec();
        key[at] = byte;
        if let Ok(parsed) = format!("ssh-ed25519 {}", String::from_utf8(key).unwrap()).parse::<SshKey>() {
            prop_assert_eq!(parsed.kind(), "ssh-ed25519");
            prop_assert!(!parsed.to_string().contains('\n'));
        }
    }
}
