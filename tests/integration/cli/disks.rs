//! `kbake disk`, checked by QEMU's own tools, and notes on disks and seeds that do not exist yet.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use kbake::value::Sha256;

use crate::support::site::{Site, says};

const CLUSTER: &str = "name = \"lab\"\n\
    ssh-keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ someone@example\"]\n\
    [network]\ncidr = \"192.168.7.0/24\"\n[[node]]\nrole = \"etcd\"\ncount = 3\ndisk = \"21 GiB\"\n";

fn qemu_img(args: &[&str]) -> String {
    let output = Command::new("qemu-img").args(args).output();
    let output = output.unwrap_or_else(|e| panic!("qemu-img is missing: run tests/setup.sh ({e})"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "qemu-img {args:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Puts an image of 4 MiB of these bytes where `kbake build etcd` puts its own, and in the same way: by renaming. Returns
/// the raw file, which is the disk that machines must see.
fn build(site: &Site, byte: u8) -> PathBuf {
    let (raw, new) = (site.path(&format!("{byte}.raw")), site.path("new"));
    fs::write(&raw, vec![byte; 4 << 20]).unwrap();
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", text(&raw), text(&new)]);
    fs::rename(new, site.path("images/etcd.qcow2")).unwrap();
    raw
}

/// The disk is sound, and reads as the image that it was made from.
fn is_over(site: &Site, node: &str, raw: &Path) {
    let disk = site.path(&format!("images/disks/lab/{node}.qcow2"));
    qemu_img(&["check", "-q", "-f", "qcow2", text(&disk)]);
    qemu_img(&["compare", "-q", "-f", "qcow2", "-F", "raw", text(&disk), text(raw)]);
}

fn info(disk: &Path) -> serde_json::Value {
    serde_json::from_str(&qemu_img(&["info", "--output=json", text(disk)])).unwrap()
}

#[test]
fn an_image_that_was_built_anew_leaves_the_disks_that_are_there_as_they_are() {
    let site = Site::new();
    site.write("cluster.toml", CLUSTER);
    let first = build(&site, 1);
    let made = site.succeeds(&["disk", "etcd0", "etcd1"]);
    assert_eq!(made, "images/disks/lab/etcd0.qcow2\nimages/disks/lab/etcd1.qcow2\n");
    let disk = site.path("images/disks/lab/etcd0.qcow2");
    let kept = format!("etcd-{}.qcow2", &Sha256::of(fs::read(site.path("images/etcd.qcow2")).unwrap()).to_string()[..12]);
    let found = info(&disk);
    assert_eq!((&found["virtual-size"], &found["backing-filename"]), (&(21u64 << 30).into(), &format!("../{kept}").into()));
    assert_eq!(fs::metadata(&disk).unwrap().permissions().mode() & 0o7777, 0o600);
    let before = (fs::read(&disk).unwrap(), fs::metadata(&disk).unwrap().ino());

    let second = build(&site, 2);
    let output = site.kbake(&["disk", "--all"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    says(&said, &["etcd0: its disk exists and is kept", "etcd1: its disk"]);
    assert!(!said.contains("etcd2") && output.status.success(), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{made}images/disks/lab/etcd2.qcow2\n"));
    assert_eq!((fs::read(&disk).unwrap(), fs::metadata(&disk).unwrap().ino()), before);
    is_over(&site, "etcd0", &first);
    is_over(&site, "etcd1", &first);
    is_over(&site, "etcd2", &second);

    // The disks need neither the image itself nor its path.
    fs::write(site.path("images/etcd.qcow2"), "damaged").unwrap();
    fs::rename(site.path("images"), site.path("moved")).unwrap();
    fs::rename(site.path("moved"), site.path("images")).unwrap();
    is_over(&site, "etcd0", &first);
    is_over(&site, "etcd2", &second);
    // All disks exist, so no image is read.
    site.succeeds(&["disk", "--all"]);
    fs::remove_file(&disk).unwrap();
    says(&site.fails(4, &["disk", "etcd0"]), &["cannot read the image images/etcd.qcow2"]);
}

#[test]
fn a_missing_image_is_named_before_any_disk_is_made() {
    let site = Site::new();
    site.write("cluster.toml", &format!("{CLUSTER}[[node]]\nrole = \"worker\"\nname = \"w\"\n[[node]]\nrole = \"control-plane\"\n"));
    build(&site, 1);
    let expected =
        ["error: node `w` boots images/worker.qcow2, which does not exist", "there is no recipe recipes/roles/worker.toml", "--images DIR"];
    says(&site.fails(1, &["disk", "--all"]), &expected);
    assert!(!site.path("images/disks").exists());
    says(&site.fails(1, &["disk", "w", "--images", "else where"]), &["boots else where/worker.qcow2"]);
    says(&site.fails(2, &["disk"]), &["kbake disk", "NODE"]);
    fs::rename(site.path("images"), site.path("else where")).unwrap();
    assert_eq!(site.succeeds(&["disk", "etcd2", "--images", "else where"]), "else where/disks/lab/etcd2.qcow2\n");
}

#[test]
fn a_kept_image_that_was_written_to_is_refused() {
    let site = Site::new();
    site.write("cluster.toml", CLUSTER);
    build(&site, 1);
    site.succeeds(&["disk", "etcd0"]);
    let kept = site
        .path("images/disks")
        .join(info(&site.path("images/disks/lab/etcd0.qcow2"))["backing-filename"].as_str().unwrap().trim_start_matches("../"));
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&kept, "a machine was started on it").unwrap();
    says(
        &site.fails(4, &["disk", "--all"]),
        &["does not match the digest in its name", "expected sha256:", "hint: disks may depend on it"],
    );
    assert!(!site.path("images/disks/lab/etcd1.qcow2").exists());
}

#[test]
fn machines_are_described_before_their_files_are_there_with_a_note() {
    let site = Site::new();
    site.write("cluster.toml", CLUSTER);
    let ask = |args: &[&str]| {
        let output = site.kbake(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let note = |what, path, make| format!("note: the {what} {path} does not exist yet; `kbake {make}` creates it\n");
    let both = note("disk", "images/disks/lab/etcd0.qcow2", "disk etcd0") + &note("seed", "images/seeds/lab/etcd0.iso", "seed etcd0");
    let descriptions = ["domain-xml", "qemu"].map(|command| {
        let (described, said) = ask(&[command, "etcd0"]);
        // `--quiet` does not hide a missing file.
        assert_eq!((&said, &ask(&[command, "etcd0", "--quiet"]).1), (&both, &both), "{command}");
        let files = ["images/disks/lab/etcd0.qcow2", "images/seeds/lab/etcd0.iso"].map(|file| site.path(file).display().to_string());
        says(&described, &[&files[0], &files[1]]);
        assert!(!described.contains("qemu-img") && !described.contains("backing"), "{described}");
        described
    });
    let (_, said) = ask(&["qemu", "etcd1", "--cluster", "cluster.toml", "--images", "it's"]);
    let elsewhere = note("disk", "it's/disks/lab/etcd1.qcow2", r"disk etcd1 --cluster cluster.toml --images 'it'\''s'")
        + &note("seed", "it's/seeds/lab/etcd1.iso", r"seed etcd1 --cluster cluster.toml --out 'it'\''s/seeds/lab'");
    assert_eq!(said, elsewhere);

    build(&site, 1);
    site.succeeds(&["disk", "etcd0"]);
    site.succeeds(&["pki", "init"]);
    site.succeeds(&["seed", "etcd0"]);
    for (command, described) in ["domain-xml", "qemu"].iter().zip(descriptions) {
        assert_eq!(ask(&[command, "etcd0"]), (described, String::new()), "the same text, and nothing to say");
    }
}

/// The stderr of a command, which must succeed.
fn told(site: &Site, args: &[&str]) -> String {
    let output = site.kbake(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_seed_that_does_not_fit_the_file_any_more_is_told_with_both_values() {
    let site = Site::new();
    site.write("cluster.toml", CLUSTER);
    build(&site, 1);
    for args in [&["pki", "init"][..], &["seed", "--all"], &["disk", "--all"]] {
        site.succeeds(args);
    }
    for command in ["qemu", "domain-xml"] {
        assert_eq!(told(&site, &[command, "etcd0"]), "");
    }
    // Another key and certificate, with the same network.
    site.succeeds(&["pki", "renew", "etcd1"]);
    assert_eq!(told(&site, &["qemu", "etcd0"]), "");
    let said = told(&site, &["qemu", "etcd1"]);
    says(
        &said,
        &["warning: the seed images/seeds/lab/etcd1.iso no longer matches", "instance etcd1-", "they give etcd1-", "`kbake seed etcd1`"],
    );
    site.succeeds(&["seed", "etcd1"]);
    assert_eq!(told(&site, &["qemu", "etcd1"]), "");
    // The seed of a member that joins a running cluster matches as well.
    site.succeeds(&["seed", "etcd1", "--etcd-join"]);
    assert_eq!(told(&site, &["qemu", "etcd1"]), "");

    site.write("cluster.toml", &CLUSTER.replace("192.168.7.0", "192.168.8.0"));
    for command in ["qemu", "domain-xml"] {
        let said = told(&site, &[command, "etcd0", "--quiet"]);
        says(&said, &["its network has `", "192.168.7.10/24", "the file has `", "192.168.8.10/24", "`kbake seed etcd0` writes it again"]);
    }
    site.succeeds(&["pki", "renew"]);
    site.succeeds(&["seed", "--all"]);
    assert_eq!(told(&site, &["qemu", "etcd0"]), "");
    // Seeds in each format are compared; files that kbake has not written are no seeds.
    fs::remove_file(site.path("images/seeds/lab/etcd0.iso")).unwrap();
    site.succeeds(&["seed", "etcd0", "--format", "vfat"]);
    assert!(!told(&site, &["domain-xml", "etcd0"]).contains("warning"));
    fs::write(site.path("images/seeds/lab/etcd0.img"), "").unwrap();
    says(&told(&site, &["domain-xml", "etcd0"]), &["etcd0.img was not written by kbake; `kbake seed etcd0 --format vfat` writes"]);
}

#[test]
fn a_disk_that_does_not_fit_the_file_any_more_is_told_with_both_values() {
    let site = Site::new();
    site.write("cluster.toml", CLUSTER);
    build(&site, 1);
    for args in [&["pki", "init"][..], &["seed", "etcd0"], &["disk", "etcd0"]] {
        site.succeeds(args);
    }
    let name = |file: &str| Sha256::of(fs::read(site.path(file)).unwrap()).to_string()[..12].to_owned();
    let old = name("images/etcd.qcow2");
    build(&site, 2);
    let new = name("images/etcd.qcow2");
    let said = told(&site, &["disk", "etcd0"]);
    says(&said, &["exists and is kept", &format!("is etcd-{old}.qcow2, but "), &format!("images/etcd.qcow2 is now etcd-{new}.qcow2")]);
    says(&said, &["`rm images/disks/lab/etcd0.qcow2 && kbake disk etcd0` starts over, and loses everything"]);
    says(&told(&site, &["qemu", "etcd0"]), &[&old, &new]);

    // The command of the hint makes the disk larger.
    site.write("cluster.toml", &CLUSTER.replace("21 GiB", "30 GiB"));
    for command in ["disk", "qemu", "domain-xml"] {
        says(
            &told(&site, &[command, "etcd0"]),
            &["has 21 GiB, but cluster.toml has 30 GiB", "`qemu-img resize images/disks/lab/etcd0.qcow2 32212254720`"],
        );
    }
    qemu_img(&["resize", "-q", text(&site.path("images/disks/lab/etcd0.qcow2")), "32212254720"]);
    assert!(!told(&site, &["qemu", "etcd0"]).contains("GiB"));
    site.write("cluster.toml", CLUSTER);
    says(&told(&site, &["disk", "etcd0"]), &["has 30 GiB, but cluster.toml has 21 GiB", "a disk cannot shrink"]);

    fs::remove_file(site.path(&format!("images/disks/etcd-{old}.qcow2"))).unwrap();
    says(&told(&site, &["qemu", "etcd0"]), &[&format!("the backing image etcd-{old}.qcow2 of the disk"), "the machine cannot start"]);
}
