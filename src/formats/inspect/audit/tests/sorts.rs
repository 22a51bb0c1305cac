use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// Keys of every kind that the host's programs make, as texts.
fn keys(dir: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let mut keys = Vec::new();
    let openssl: [(&str, &[&str]); 7] = [
        ("PKCS #8, RSA", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("PKCS #1, RSA", &["genrsa", "-traditional", "2048"]),
        ("PKCS #8, Ed25519", &["genpkey", "-algorithm", "ED25519"]),
        ("SEC 1, P-256", &["ecparam", "-genkey", "-name", "prime256v1"]),
        ("PKCS #8, P-384", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("PKCS #8, encrypted", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-aes256", "-pass", "pass:x"]),
        ("PKCS #1, encrypted", &["genrsa", "-traditional", "-aes128", "-passout", "pass:x", "2048"]),
    ];
    for (name, args) in openssl {
        let out = at("openssl.pem");
        // genrsa takes the number of bits last.
        let args: Vec<&str> = match args.split_last() {
            Some((bits @ &"2048", options)) => [options, &["-out", &out, bits]].concat(),
            _ => [args, &["-out", &out]].concat(),
        };
        run("openssl", &args);
        keys.push((name, fs::read(&out).unwrap()));
    }
    for (name, args) in [("RSA in DER", "RSA"), ("Ed25519 in DER", "ED25519")] {
        run("openssl", &["genpkey", "-algorithm", args, "-outform", "DER", "-out", &at("key.der")]);
        keys.push((name, fs::read(at("key.der")).unwrap()));
    }
    run("openssl", &["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-outform", "DER", "-out", &at("ec.der")]);
    keys.push(("EC in DER", fs::read(at("ec.der")).unwrap()));
    for (name, options) in [("OpenSSH", &["-t", "ed25519"][..]), ("OpenSSH, RSA as PEM", &["-t", "rsa", "-m", "PEM"])] {
        let _ = fs::remove_file(at("ssh"));
        run("ssh-keygen", &[options, &["-q", "-N", "", "-f", &at("ssh")]].concat());
        keys.push((name, fs::read(at("ssh")).unwrap()));
    }
    fs::write(at("empty"), "").unwrap();
    for version in ["2", "3"] {
        let fixed = ["-q", "-t", "ed25519", "--new-passphrase", &at("empty"), "-O", "private", "--ppk-param"];
        run("puttygen", &[&fixed[..], &[&format!("version={version}"), "-o", &at("ppk")]].concat());
        keys.push(("PuTTY", fs::read(at("ppk")).unwrap()));
    }
    keys.push(("age", run("age-keygen", &[]).into_bytes()));
    let home = at("gpg");
    fs::create_dir_all(&home).unwrap();
    let gpg = ["--homedir", &home, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"];
    run("gpg", &[&gpg[..], &["--quick-generate-key", "test@example.org", "ed25519"]].concat());
    keys.push(("OpenPGP", run("gpg", &[&gpg[..], &["--armor", "--export-secret-keys"]].concat()).into_bytes()));
    run("gpgconf", &["--homedir", &home, "--kill", "all"]);
    keys
}

#[test]
fn keys_of_all_programs_are_found_by_what_is_in_them() {
    let (dir, root, image) = temp();
    let keys = keys(dir.path());
    for (index, (_, bytes)) in keys.iter().enumerate() {
        put(&root, &format!("opt/{index}"), bytes);
        // In the middle of other bytes, far from the start.
        put(&root, &format!("opt/deep/{index}"), [testing::noise(3, 700_001), bytes.clone(), testing::noise(4, 5000)].concat());
        if let Ok(text) = str::from_utf8(bytes) {
            put(&root, &format!("opt/base64/{index}"), format!("data:\n  tls.key: {}\n", STANDARD.encode(bytes)));
            put(&root, &format!("opt/json/{index}"), format!("{{\"private_key\": {text:?}}}"));
            put(&root, &format!("opt/yaml/{index}"), format!("key: |\n    {}\n", text.replace('\n', "\n    ")));
            put(&root, &format!("opt/dos/{index}"), text.replace('\n', "\r\n"));
        }
    }
    ext(&root, &image, &["-t", "ext4"]);
    let audited = look(&image);
    let found = |path: &str| audited.findings.iter().any(|f| f.kind == Kind::PrivateKey && f.path.as_deref() == Some(path));
    for (index, (name, bytes)) in keys.iter().enumerate() {
        let pem = bytes.starts_with(b"-----BEGIN");
        for (folder, applies) in [
            ("", true),
            ("deep/", true),
            ("json/", str::from_utf8(bytes).is_ok()),
            ("yaml/", str::from_utf8(bytes).is_ok()),
            ("dos/", pem),
            ("base64/", pem),
        ] {
            // The header lines of PuTTY's and OpenPGP's formats are no base64.
            if applies {
                assert!(found(&format!("/opt/{folder}{index}")), "{name} in {folder:?}: {:#?}", lines(&audited));
            }
        }
    }
    assert!(audited.findings.iter().all(|f| f.kind == Kind::PrivateKey && f.path.is_some()), "{:#?}", lines(&audited));
}

#[test]
fn what_one_machine_has_is_found_where_it_is() {
    let cases: &[(&str, &str, Kind)] = &[
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n", Kind::Identity),
        ("var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n", Kind::Identity),
        ("etc/iscsi/initiatorname.iscsi", "# x\nInitiatorName=iqn.1993-08.org.debian:01:abc\n", Kind::Identity),
        ("etc/ssh/ssh_host_rsa_key", "x", Kind::HostKey),
        ("etc/ssh/ssh_host_ed25519_key.pub", "x", Kind::HostKey),
        ("var/lib/systemd/random-seed", "x", Kind::RandomSeed),
        ("boot/efi/loader/random-seed", "x", Kind::RandomSeed),
        ("root/.bash_history", "ls\n", Kind::History),
        ("home/me/.python_history", "1\n", Kind::History),
        ("home/me/.local/share/fish/fish_history", "- cmd: ls\n", Kind::History),
        ("root/.ssh/authorized_keys", "ssh-ed25519 AAAA me\n", Kind::AuthorizedKeys),
        ("var/cache/apt/archives/bash_5.2_amd64.deb", "!<arch>\n", Kind::PackageCache),
        ("var/cache/apt/pkgcache.bin", "x", Kind::PackageCache),
        ("var/lib/apt/lists/mirror.example_dists_bookworm_InRelease", "x", Kind::PackageCache),
        ("var/cache/dnf/fedora.solv", "x", Kind::PackageCache),
        ("var/log/syslog", "x", Kind::Log),
        ("var/log/journal/0123/system.journal", "x", Kind::Log),
        ("var/spool/mail/root", "x", Kind::Log),
        ("var/lib/cloud/instances/i-1/user-data.txt", "x", Kind::CloudInit),
        ("var/lib/cloud/data/instance-id", "x", Kind::CloudInit),
        ("var/lib/dhcp/dhclient.eth0.leases", "lease {}", Kind::Lease),
        ("var/lib/NetworkManager/internal-1-eth0.lease", "x", Kind::Lease),
        ("run/systemd/netif/leases/2", "x", Kind::Lease),
        ("etc/NetworkManager/system-connections/home.nmconnection", "[wifi-security]\nkey-mgmt=wpa-psk\npsk=short\n", Kind::NetworkSecret),
        (
            "etc/netplan/50-wifi.yaml",
            "network:\n  wifis:\n    w:\n      access-points:\n        a:\n          password: secret\n",
            Kind::NetworkSecret,
        ),
        ("etc/wpa_supplicant/wpa_supplicant.conf", "network={\n  psk=\"x\"\n}\n", Kind::NetworkSecret),
        (
            "etc/shadow",
            "root:$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7:19000:0:99999:7:::\n",
            Kind::PasswordHash,
        ),
        ("etc/krb5.keytab", "\x05\x02x", Kind::PrivateKey),
        ("root/.aws/credentials", "[default]\n", Kind::Credential),
        ("root/.git-credentials", "https://me:pw@example.org\n", Kind::Credential),
        ("etc/apt/auth.conf", "machine example.org login me password Horse-77\n", Kind::Credential),
    ];
    for (path, text, kind) in cases {
        let (_dir, root, image) = temp();
        put(&root, path, text);
        ext(&root, &image, &["-t", "ext4"]);
        let audited = look(&image);
        let shown = format!("/{path}");
        assert!(audited.findings.iter().any(|f| f.kind == *kind && f.path.as_deref() == Some(&shown)), "{path}: {:#?}", lines(&audited));
        assert!(audited.findings.iter().all(|f| f.path.as_deref() == Some(&shown)), "{path}: {:#?}", lines(&audited));
    }
}

#[test]
fn tokens_are_found_by_what_they_say() {
    let jwt = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50In0.c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmU";
    let key = STANDARD.encode(format!(
        "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n",
        "MHcCAQEEIBqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
    ));
    let cases: &[(&str, String, Kind)] = &[
        ("kubeadm join", "kubeadm join 10.0.0.1:6443 --token q1w2e3.r4t5y6u7i8o9p0a1 \\\n".into(), Kind::Credential),
        ("kubeadm configuration", "bootstrapTokens:\n- token: \"q1w2e3.r4t5y6u7i8o9p0a1\"\n".into(), Kind::Credential),
        ("a bootstrap token's secret", "stringData:\n  token-id: q1w2e3\n  token-secret: r4t5y6u7i8o9p0a1\n".into(), Kind::Credential),
        ("a service account's token", format!("{jwt}\n"), Kind::Credential),
        ("a token in a header", format!("Authorization: Bearer {jwt}"), Kind::Credential),
        ("a kubeconfig with a key", format!("kind: Config\nusers:\n- name: a\n  user:\n    client-key-data: {key}\n"), Kind::Kubeconfig),
        ("a kubeconfig with a token", "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    token: 0123456789abcdefghij\n".into(), Kind::Kubeconfig),
        ("a kubeconfig with a password", "kind: Config\nusers:\n- name: a\n  user: {username: b, password: hunter22}\n".into(), Kind::Kubeconfig),
        ("a cluster's encryption", "kind: EncryptionConfiguration\nproviders:\n- aescbc:\n    keys:\n    - name: k\n      secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n".into(), Kind::Credential),
        ("docker's login", "{\"auths\": {\"example.org\": {\"auth\": \"bWU6c2VjcmV0LTEyMw==\"}}}".into(), Kind::Credential),
        ("AWS", "aws_access_key_id=AKIA2345ABCDEFGH2345\n".into(), Kind::Credential),
        ("AWS's secret", "aws_secret_access_key = abcdefghij0123456789ABCDEFGHIJ0123456789\n".into(), Kind::Credential),
        ("Azure", format!("AccountKey={}==;", "aB3".repeat(29).get(..86).unwrap()), Kind::Credential),
        ("Google", "key=AIzaSyA0123456789abcdefghijklmnopqrstuv\n".into(), Kind::Credential),
        ("GitHub", "GITHUB=ghp_0123456789abcdefghijABCDEFGHIJ012345\n".into(), Kind::Credential),
        ("GitLab", "glpat-0123456789abcdefghij\n".into(), Kind::Credential),
        ("Vault", "hvs.CAESIJ0123456789abcdefghijkl\n".into(), Kind::Credential),
        ("netrc", "machine example.org\n  login me\n  password Horse-77\n".into(), Kind::Credential),
        ("K3s", format!("K10{}::server:0123456789\n", "0a".repeat(32)), Kind::Credential),
        ("WireGuard", "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n".into(), Kind::PrivateKey),
        ("a JSON web key", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\",\"x\":\"y\"}".into(), Kind::PrivateKey),
        ("a password's hash", "x\nroot:$6$saltsalt$abcdefghijklmnopqrstuvwxyz0123456789:19000:0:::\n".into(), Kind::PasswordHash),
        ("a wireless network", "[wifi-security]\nkey-mgmt=wpa-psk\npsk=correct-horse\n".into(), Kind::NetworkSecret),
    ];
    let (_dir, root, image) = temp();
    for (index, (_, text, _)) in cases.iter().enumerate() {
        put(&root, &format!("opt/{index}"), format!("first line\n{text}"));
    }
    ext(&root, &image, &["-t", "ext4"]);
    let audited = look(&image);
    for (index, (name, _, kind)) in cases.iter().enumerate() {
        let path = format!("/opt/{index}");
        let found: Vec<_> = audited.findings.iter().filter(|f| f.path.as_deref() == Some(&path)).collect();
        assert!(found.iter().any(|f| f.kind == *kind), "{name}: {found:?}");
        assert!(found.iter().all(|f| f.place.starts_with("line ")), "{name}: {found:?}");
    }
    assert!(audited.findings.iter().all(|f| f.path.is_some()), "{:#?}", lines(&audited));
}
