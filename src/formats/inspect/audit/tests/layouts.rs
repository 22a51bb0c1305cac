use super::*;

/// A disk in the usual layout of cloud images: boot loader, ESP, boot, root. Returns the disk and the root's offset in MiB.
fn cloud_disk(dir: &Path, root: &Path, secret_on_esp: Option<&str>) -> PathBuf {
    let disk = dir.join("cloud.raw");
    let (root_part, boot_part, esp) = (dir.join("root.ext4"), dir.join("boot.ext4"), dir.join("esp.vfat"));
    ext(root, &root_part, &["-t", "ext4", "-L", "cloudimg-rootfs"]);
    put(dir, "boot/vmlinuz", testing::noise(5, 100_000));
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-L", "BOOT", "-d", dir.join("boot").to_str().unwrap(), boot_part.to_str().unwrap(), "8M"]);
    let _ = fs::remove_file(&esp);
    fs::File::create(&esp).unwrap().set_len(8 << 20).unwrap();
    run("mkfs.vfat", &["-n", "UEFI", esp.to_str().unwrap()]);
    let esp_name = esp.to_str().unwrap();
    run("mmd", &["-i", esp_name, "::/EFI", "::/EFI/BOOT", "::/loader"]);
    put(dir, "esp/a long name.efi", testing::noise(6, 50_000));
    run("mcopy", &["-i", esp_name, dir.join("esp/a long name.efi").to_str().unwrap(), "::/EFI/BOOT/"]);
    if let Some(name) = secret_on_esp {
        put(dir, "esp/secret", ssh_key(dir));
        run("mcopy", &["-i", esp_name, dir.join("esp/secret").to_str().unwrap(), &format!("::/{name}")]);
    }
    let _ = fs::remove_file(&disk);
    join(&disk, 64, &[(2, &esp), (10, &boot_part), (20, &root_part)]);
    let name = disk.to_str().unwrap();
    run(
        "sgdisk",
        &[
            "-a",
            "1",
            "-n",
            "14:2048:4095",
            "-t",
            "14:ef02",
            "-n",
            "15:4096:+8M",
            "-t",
            "15:ef00",
            "-n",
            "16:20480:+8M",
            "-t",
            "16:ea00",
            "-n",
            "1:40960:+24M",
            "-t",
            "1:8304",
            "-c",
            "1:root",
            name,
        ],
    );
    disk
}

#[test]
fn the_layouts_of_cloud_images_are_audited() {
    let (dir, root, _) = temp();
    put(
        &root,
        "etc/fstab",
        "LABEL=cloudimg-rootfs / ext4 defaults 0 1\nLABEL=BOOT /boot ext4 defaults 0 2\nLABEL=UEFI /boot/efi vfat umask=0077 0 1\n",
    );
    let disk = cloud_disk(dir.path(), &root, None);
    let audited = look(&disk);
    assert!(audited.findings.is_empty(), "{:#?}", lines(&audited));

    let disk = cloud_disk(dir.path(), &root, Some("loader/random-seed"));
    let audited = look(&disk);
    assert_eq!(kinds(&audited), [Kind::RandomSeed, Kind::PrivateKey], "{:#?}", lines(&audited));
    assert!(lines(&audited)[0].starts_with("partition 15: /loader/random-seed: random seed"), "{:#?}", lines(&audited));
    // Deletion on FAT leaves the bytes.
    let esp = dir.path().join("esp.vfat");
    run("mdel", &["-i", esp.to_str().unwrap(), "::/loader/random-seed"]);
    join(&disk, 64, &[(2, &esp)]);
    let audited = look(&disk);
    assert_eq!(kinds(&audited), [Kind::PrivateKey], "{:#?}", lines(&audited));
    assert!(
        lines(&audited)[0].contains("partition 15: private key (PEM, OPENSSH PRIVATE KEY), outside of files: free space"),
        "{:#?}",
        lines(&audited)
    );
}

#[test]
fn every_kind_of_qcow2_is_read() {
    let (dir, root, _) = temp();
    put(&root, "root/.bash_history", "ls\n");
    let disk = cloud_disk(dir.path(), &root, None);
    for options in
        ["compression_type=zlib", "compression_type=zstd", "cluster_size=4096", "cluster_size=2097152,compression_type=zstd", "compat=0.10"]
    {
        for compress in [&["-c"][..], &[]] {
            let image = dir.path().join("image.qcow2");
            let args =
                [&["convert", "-f", "raw", "-O", "qcow2", "-o", options], compress, &[disk.to_str().unwrap(), image.to_str().unwrap()]]
                    .concat();
            run("qemu-img", &args);
            assert_eq!(lines(&look(&image)), ["partition 1 (root): /root/.bash_history: history"], "{options} {compress:?}");
        }
    }
    // A snapshot is in the file, and not on the disk.
    let image = dir.path().join("image.qcow2");
    run("qemu-img", &["snapshot", "-c", "before", image.to_str().unwrap()]);
    assert!(lines(&look(&image))[1].contains("image file: not looked into (1 snapshots"), "{:#?}", lines(&look(&image)));
}

#[test]
fn a_key_between_partitions_in_swap_or_in_the_boot_code_is_found() {
    use std::os::unix::fs::FileExt as _;
    let (dir, root, _) = temp();
    let key = ssh_key(dir.path());
    let root_part = dir.path().join("root.ext4");
    ext(&root, &root_part, &["-t", "ext4"]);
    let swap = dir.path().join("swap");
    fs::File::create(&swap).unwrap().set_len(4 << 20).unwrap();
    run("mkswap", &[swap.to_str().unwrap()]);
    let disk = dir.path().join("disk.raw");
    join(&disk, 48, &[(1, &root_part), (32, &swap)]);
    let table = "label: dos\nstart=2048, size=49152, type=83\nstart=63488, size=20480, type=5\nstart=65536, size=8192, type=82\n";
    put(dir.path(), "table", table);
    run("sh", &["-c", &format!("sfdisk -q --no-reread {} < {}", disk.display(), dir.path().join("table").display())]);
    assert!(look(&disk).findings.is_empty(), "{:#?}", lines(&look(&disk)));
    let file = fs::OpenOptions::new().write(true).open(&disk).unwrap();
    for (at, expected) in [
        (600_000, "disk: private key (PEM, OPENSSH PRIVATE KEY), outside of files: in no partition"),
        (33 << 20, "partition 5: private key"),
        (47 << 20, "disk: private key"),
    ] {
        file.write_all_at(key.as_bytes(), at).unwrap();
        let found = lines(&look(&disk));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(expected) && found[0].ends_with(&format!("byte {at} of the disk")), "{found:#?}");
        file.write_all_at(&vec![0; key.len()], at).unwrap();
    }
}

#[test]
fn a_partition_is_judged_by_where_a_machine_has_it() {
    let (dir, root, _) = temp();
    let (root_part, var_part) = (dir.path().join("root.ext4"), dir.path().join("var.ext4"));
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    put(&root, "etc/fstab", format!("# x\nUUID={uuid} /var ext4 defaults 0 2\n"));
    ext(&root, &root_part, &["-t", "ext4"]);
    let var = dir.path().join("var");
    put(&var, "log/syslog", "hello\n");
    put(&var, "lib/app/data", "hello\n");
    ext(&var, &var_part, &["-t", "ext4", "-U", uuid]);
    let disk = dir.path().join("disk.raw");
    join(&disk, 64, &[(1, &root_part), (32, &var_part)]);
    run("sgdisk", &["-n", "1:2048:+24M", "-n", "2:65536:+24M", disk.to_str().unwrap()]);
    assert_eq!(lines(&look(&disk)), ["partition 2: /log/syslog: log"]);
}

#[test]
fn what_cannot_be_read_is_said_and_never_passed_over() {
    let (dir, root, image) = temp();
    let cases: &[(&str, &[&str], u64)] = &[("XFS", &["mkfs.xfs", "-q", "-f"], 320), ("Btrfs", &["mkfs.btrfs", "-q", "-f"], 128)];
    for (name, command, size) in cases {
        let disk = dir.path().join(format!("{name}.raw"));
        fs::File::create(&disk).unwrap().set_len(size << 20).unwrap();
        run(command[0], &[&command[1..], &[disk.to_str().unwrap()]].concat());
        assert_eq!(lines(&look(&disk)), [format!("disk: not looked into ({name}, which kbake cannot read)")]);
    }
    // Unknown contents; and a journal that waits to be replayed.
    fs::write(&image, testing::noise(1, 1 << 20)).unwrap();
    assert_eq!(lines(&look(&image)), ["disk: not looked into (unknown contents)"]);
    ext(&root, &image, &["-t", "ext4"]);
    debugfs(&image, "feature needs_recovery");
    assert!(lines(&look(&image))[0].contains("its journal waits to be replayed"), "{:#?}", lines(&look(&image)));
    // Other formats, compressed files and overlays are errors.
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let other = dir.path().join("other");
    for format in ["vmdk", "vdi", "vpc", "vhdx"] {
        run("qemu-img", &["convert", "-f", "raw", "-O", format, image.to_str().unwrap(), other.to_str().unwrap()]);
        assert!(audit(&other, &[], &Cancel::new()).unwrap_err().to_string().contains("qemu-img convert"), "{format}");
    }
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.to_str().unwrap(), other.to_str().unwrap()]);
    assert!(audit(&other, &[], &Cancel::new()).unwrap_err().to_string().contains("backing file"));
}

#[test]
fn a_disk_without_anything_is_not_clean() {
    let dir = tempfile::tempdir().unwrap();
    let (raw, qcow2) = (dir.path().join("disk.raw"), dir.path().join("disk.qcow2"));
    let sfdisk = |table: &str| {
        put(dir.path(), "table", table);
        run("sh", &["-c", &format!("sfdisk -q --no-reread {} < {}", raw.display(), dir.path().join("table").display())]);
    };
    let convert = || run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", raw.to_str().unwrap(), qcow2.to_str().unwrap()]);
    let nothing = "disk: not looked into (nothing in it: no partition, no filesystem)";
    let no_files = "disk: not looked into (no filesystem in any partition)";
    for (name, table, expected) in [
        ("zeros", None, nothing),
        ("a GPT without partitions", Some("label: gpt\n"), no_files),
        ("an MBR without partitions", Some("label: dos\n"), no_files),
        ("a partition of zeros", Some("label: dos\nstart=2048, size=2048, type=83\n"), no_files),
    ] {
        fs::write(&raw, vec![0; 4 << 20]).unwrap();
        table.map(sfdisk);
        convert();
        for image in [&raw, &qcow2] {
            assert_eq!(lines(&look(image)), [expected], "{name}");
            assert!(!look(image).is_clean(), "{name}");
        }
    }
    // One byte: too short for a disk.
    fs::write(&raw, [0]).unwrap();
    assert_eq!(lines(&look(&raw)), [nothing]);
    // No bytes.
    fs::write(&raw, []).unwrap();
    convert();
    for image in [&raw, &qcow2] {
        let error = audit(image, &[], &Cancel::new()).unwrap_err().to_string();
        assert!(error.contains("has a disk of 0 bytes") && error.contains("hint: "), "{error}");
    }
}

#[test]
fn a_damaged_filesystem_is_no_panic_and_never_clean_by_mistake() {
    use std::os::unix::fs::FileExt as _;
    let (dir, root, image) = temp();
    put(&root, "root/key", ssh_key(dir.path()));
    ext(&root, &image, &["-t", "ext4", "-b", "1024"]);
    let good = fs::read(&image).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
    let damage = testing::noise(11, 4096);
    // The bytes of the key are found in any damaged filesystem.
    for step in 0..80 {
        let at = 1024 + step * 1997;
        file.write_all_at(&damage[..(step % 40 + 1) as usize], at).unwrap();
        assert!(!look(&image).is_clean(), "damage at {at}");
        file.write_all_at(&good[at as usize..at as usize + 64], at).unwrap();
    }
    assert_eq!(kinds(&look(&image)), [Kind::PrivateKey]);
}
