use super::*;

#[test]
fn an_image_without_anything_of_its_own_is_clean() {
    let (_dir, root, image) = temp();
    // Texts about secrets in programs and manuals.
    put(
        &root,
        "usr/bin/reader",
        b"\0-----BEGIN RSA PRIVATE KEY-----\n\0-----BEGIN OPENSSH PRIVATE KEY-----\n\0AGE-SECRET-KEY-1\0PuTTY-User-Key-File-3: \0",
    );
    put(
        &root,
        "usr/share/manual",
        "kubeadm join --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:aa\n\
         aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n\
         -----BEGIN RSA PRIVATE KEY-----\nMIIBxwIBAAJhAKD0YSHy73nUgysO13XsJmd4fHiFyQ\n...\n-----END RSA PRIVATE KEY-----\n\
         kind: Config\nusers:\n- name: {{ name }}\n  user:\n    token: {{ token }}\n    client-key: /etc/kubernetes/pki/admin.key\n\
         \"auth\": \"<base64>\"\nmachine HOST login USER password <secret>\nroot:$6$:19000::\n",
    );
    put(
        &root,
        "etc/ssl/certs/ca.crt",
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n-----END CERTIFICATE-----\n",
    );
    put(&root, "etc/NetworkManager/system-connections/lan", "[connection]\nid=lan\n[ipv4]\nmethod=auto\n");
    for options in [&["-t", "ext4"][..], &["-t", "ext4", "-b", "1024"], &["-t", "ext3", "-b", "2048"], &["-t", "ext2", "-I", "128"]] {
        ext(&root, &image, options);
        let audited = look(&image);
        assert!(audited.is_clean() && audited.findings.is_empty(), "{options:?}: {:#?}", lines(&audited));
        assert!(audited.names > 20 && audited.bytes > 300_000, "{audited:?}");
    }
}

#[test]
fn keys_of_tests_in_libraries_are_known_one_by_one() {
    // GnuTLS's P-256 test key, and the same key with one letter changed.
    let text = "MHcCAQEEIPAKWV7+pZe9c5EubMNfAEKWRQtP/MvlO9HehwHmJssNoAoGCCqGSM49AwEHoUQDQgAE2CNONRio3ciu";
    assert!(!super::super::known::is_known_key(text.as_bytes()), "a beginning of a key is not that key");
}

#[test]
fn what_is_allowed_is_found_and_said() {
    let (dir, root, image) = temp();
    put(&root, "etc/keys/one.pem", ssh_key(dir.path()));
    ext(&root, &image, &["-t", "ext4"]);
    assert!(!look(&image).is_clean());
    for (path, clean) in [("etc/keys/one.pem", true), ("etc/keys", true), ("etc/key", false), ("etc/keys/one.pe", false)] {
        let audited = audit(&image, &[allow(path)], &Cancel::new()).unwrap();
        assert_eq!(kinds(&audited), [Kind::PrivateKey]);
        assert_eq!(audited.is_clean(), clean, "{path}");
    }
}

#[test]
fn nothing_of_a_secret_is_said() {
    let (dir, root, image) = temp();
    let key = ssh_key(dir.path());
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    put(&root, "root/key", &key);
    put(&root, "root/.netrc", "machine example.org login me password Correct-Horse-7\n");
    ext(&root, &image, &["-t", "ext4"]);
    let said = format!("{:?}\n{}", look(&image), lines(&look(&image)).join("\n"));
    assert!(said.contains("/root/key") && said.contains("/root/.netrc"), "{said}");
    for secret in ["Correct-Horse-7", &body[..20], &body[body.len() - 20..]] {
        assert!(!said.contains(secret), "{said}");
    }
}
