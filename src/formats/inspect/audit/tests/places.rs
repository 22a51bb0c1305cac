use std::os::unix::fs::FileExt as _;

use super::*;

/// True when a finding is a private key at this place.
fn key_is(audited: &Audited, expected: &str) -> bool {
    audited.findings.iter().any(|f| f.kind == Kind::PrivateKey && f.to_string().contains(expected))
}

#[test]
fn a_key_is_found_in_every_place_of_a_filesystem() {
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext3"],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext4", "-O", "inline_data", "-I", "1024"],
    ] {
        let (dir, root, image) = temp();
        let key = ssh_key(dir.path());
        let small = format!("AGE-SECRET-KEY-1{}", "QYQSZQGP5X".repeat(6).get(..58).unwrap());
        let small = small.as_str();
        put(&root, "home/deleted", &key);
        put(&root, "home/slack", "short\n");
        put(&root, "home/noted", "x");
        put(&root, "home/long", [testing::noise(9, 3_000_000), key.clone().into_bytes()].concat());
        fs::hard_link(root.join("home/long"), root.join("home/other-name")).unwrap();
        ext(&root, &image, options);
        let long = [("home/long", "/home/long: private key"), ("home/other-name", "/home/")];
        let audited = look(&image);
        assert!(
            key_is(&audited, long[0].1) && key_is(&audited, "/home/deleted: private key (PEM, OPENSSH PRIVATE KEY), line 1"),
            "{:#?}",
            lines(&audited)
        );
        assert_eq!(audited.findings.len(), 2, "{options:?}: a file with two names is looked at once: {:#?}", lines(&audited));

        let inline = options.contains(&"inline_data");
        debugfs(&image, "rm /home/deleted");
        debugfs(&image, &format!("ea_set /home/noted user.note {small}"));
        if !inline {
            slack(&image, small);
        }
        let audited = look(&image);
        // debugfs leaves the bytes of removed files, like a power cut, or a filesystem that does not discard.
        // (A file in its inode is in pieces, each too short to be recognised.)
        assert!(inline || key_is(&audited, "outside of files: free space"), "{options:?}: {:#?}", lines(&audited));
        assert!(key_is(&audited, "/home/noted: private key (age), in its attribute user.note"), "{options:?}: {:#?}", lines(&audited));
        assert!(
            options.contains(&"inline_data") || key_is(&audited, "slack behind the ends of files"),
            "{options:?}: {:#?}",
            lines(&audited)
        );
        // Once the bytes are gone, too, nothing is found.
        debugfs(&image, "rm /home/other-name");
        assert!(key_is(&look(&image), "/home/long: private key"));
    }
}

/// Writes behind the end of `/home/slack`, in its block.
fn slack(image: &Path, text: &str) {
    let file = fs::OpenOptions::new().read(true).write(true).open(image).unwrap();
    let size = run("dumpe2fs", &["-h", image.to_str().unwrap()]);
    let size: u64 = size.lines().find_map(|line| line.strip_prefix("Block size:")).unwrap().trim().parse().unwrap();
    let block: u64 = run("debugfs", &["-R", "bmap /home/slack 0", image.to_str().unwrap()]).trim().parse().unwrap();
    let mut bytes = [0; 6];
    file.read_exact_at(&mut bytes, block * size).unwrap();
    assert_eq!(&bytes, b"short\n");
    file.write_all_at(text.as_bytes(), block * size + 100).unwrap();
}

#[test]
fn compressed_files_are_unpacked() {
    let (dir, root, image) = temp();
    let key = ssh_key(dir.path());
    let text = format!("{}\n{key}\n", "Jan  1 00:00:00 node sshd: hello\n".repeat(5000));
    put(&root, "plain", &text);
    for (tool, ending) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst")] {
        run(tool, &["-k", "-q", root.join("plain").to_str().unwrap()]);
        fs::create_dir_all(root.join("var/log/old")).unwrap();
        fs::rename(root.join(format!("plain.{ending}")), root.join(format!("var/log/old/syslog.1.{ending}"))).unwrap();
    }
    fs::remove_file(root.join("plain")).unwrap();
    // An initial RAM disk: a plain archive, then a compressed one.
    put(dir.path(), "early/kernel/x86/microcode", "none");
    put(dir.path(), "late/etc/key", &key);
    let script = format!(
        "cd {0}/early && find . | cpio -o -H newc --quiet > {0}/initrd && cd ../late && find . | cpio -o -H newc --quiet | gzip >> {0}/initrd",
        dir.path().display()
    );
    run("sh", &["-c", &script]);
    put(&root, "boot/initrd.img", fs::read(dir.path().join("initrd")).unwrap());
    ext(&root, &image, &["-t", "ext4"]);
    let audited = look(&image);
    for path in ["/var/log/old/syslog.1.gz", "/var/log/old/syslog.1.xz", "/var/log/old/syslog.1.zst"] {
        assert!(
            key_is(&audited, &format!("{path}: private key (PEM, OPENSSH PRIVATE KEY), line 5002 of its unpacked contents")),
            "{:#?}",
            lines(&audited)
        );
        assert!(audited.findings.iter().any(|f| f.kind == Kind::Log && f.path.as_deref() == Some(path)));
    }
    assert!(key_is(&audited, "/boot/initrd.img: private key"), "{:#?}", lines(&audited));
    assert_eq!(audited.findings.len(), 7, "{:#?}", lines(&audited));
}

#[test]
fn what_cannot_be_unpacked_or_never_ends_is_said() {
    let (dir, root, image) = temp();
    let bomb = dir.path().join("zeros");
    fs::File::create(&bomb).unwrap().set_len(1 << 30).unwrap();
    run("zstd", &["-q", bomb.to_str().unwrap()]);
    put(&root, "opt/bomb.zst", fs::read(dir.path().join("zeros.zst")).unwrap());
    put(&root, "opt/cut.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03cut off");
    ext(&root, &image, &["-t", "ext4"]);
    let audited = look(&image);
    for path in ["/opt/bomb.zst", "/opt/cut.gz"] {
        assert!(
            audited.findings.iter().any(|f| f.kind == Kind::Unseen && f.path.as_deref() == Some(path)),
            "{path}: {:#?}",
            lines(&audited)
        );
    }
    assert_eq!(audited.findings.len(), 2, "{:#?}", lines(&audited));
}

#[test]
fn a_key_across_any_border_of_what_is_read_at_a_time_is_found() {
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIG0fS9b1Z0yXq3uD7pVtWcRr8EoKHnJaLsMgTiUxYvQz\n-----END PRIVATE KEY-----\n";
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    for border in [4096, 256 << 10, 512 << 10] {
        for before in [0, 1, 5, 20, 30, 60, 100, 4000, 4095] {
            let at = border - before;
            let mut bytes = vec![b'x'; 1 << 20];
            bytes[at - 1] = b'\n';
            bytes[at..at + key.len()].copy_from_slice(key.as_bytes());
            fs::write(&image, &bytes).unwrap();
            let audited = look(&image);
            assert!(key_is(&audited, &format!("byte {at} of the disk")), "{border} {before}: {:#?}", lines(&audited));
        }
    }
}
