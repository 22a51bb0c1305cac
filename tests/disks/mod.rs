//! `kbake disk`, and what is said about disks and seeds that are not there yet. QEMU's own tools judge.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use kbake::value::Sha256;

use super::site::{Site, says};

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

/// Puts an image of 4 MiB of these bytes where `kbake build etcd` puts its own, and in the same way: by renaming. Gives
/// the bytes' file, which is the disk that machines must see.
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
    says(&said, &["etcd0: its disk is there, and stays as it is", "etcd1: its disk"]);
    assert!(!said.contains("etcd2") && output.status.success(), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{made}images/disks/lab/etcd2.qcow2\n"));
    assert_eq!((fs::read(&disk).unwrap(), fs::metadata(&disk).unwrap().ino()), before);
    is_over(&site, "etcd0", &first);
    is_over(&site, "etcd1", &first);
    is_over(&site, "etcd2", &second);

    // Nor does it matter to them what becomes of the image itself, or where all of it is moved.
    fs::write(site.path("images/etcd.qcow2"), "damaged").unwrap();
    fs::rename(site.path("images"), site.path("moved")).unwrap();
    fs::rename(site.path("moved"), site.path("images")).unwrap();
    is_over(&site, "etcd0", &first);
    is_over(&site, "etcd2", &second);
    // All disks are there, so no image is looked at.
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
        ["error: node `w` boots images/worker.qcow2, which is not there", "there is no recipe recipes/roles/worker.toml", "--images DIR"];
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
    says(&site.fails(4, &["disk", "--all"]), &["is not what its name says", "expected sha256:", "hint: disks may lie on it"]);
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
    let note = |what, path, make| format!("note: the {what} {path} is not there yet; `kbake {make}` makes it\n");
    let both = note("disk", "images/disks/lab/etcd0.qcow2", "disk etcd0") + &note("seed", "images/seeds/lab/etcd0.iso", "seed etcd0");
    let descriptions = ["domain-xml", "qemu"].map(|command| {
        let (described, said) = ask(&[command, "etcd0"]);
        // What is missing is never kept quiet.
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
    fs::create_dir_all(site.path("images/seeds/lab")).unwrap();
    fs::write(site.path("images/seeds/lab/etcd0.iso"), "").unwrap();
    for (command, described) in ["domain-xml", "qemu"].iter().zip(descriptions) {
        assert_eq!(ask(&[command, "etcd0"]), (described, String::new()), "the same text, and nothing to say");
    }
}
