mod clean;
mod kubeconfigs;
mod layouts;
mod places;
mod sorts;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Audited, Kind, audit};
use crate::common::value::{Cancel, TreePath};
use crate::formats::disk::testing;

/// Runs a tool that must succeed.
fn run(tool: &str, args: &[&str]) -> String {
    testing::run(tool, &args.iter().map(|arg| arg as &dyn AsRef<OsStr>).collect::<Vec<_>>())
}

fn look(image: &Path) -> Audited {
    audit(image, &[], &Cancel::new()).unwrap()
}

/// All findings as people see them.
fn lines(audited: &Audited) -> Vec<String> {
    audited.findings.iter().map(ToString::to_string).collect()
}

/// Writes a file with the folders above it.
fn put(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
}

/// A filesystem of a folder.
fn ext(root: &Path, image: &Path, options: &[&str]) {
    let _ = fs::remove_file(image);
    let args = [&["-q", "-F"], options, &["-d", root.to_str().unwrap(), image.to_str().unwrap(), "24M"]].concat();
    run("mke2fs", &args);
}

fn debugfs(image: &Path, command: &str) {
    run("debugfs", &["-w", "-R", command, image.to_str().unwrap()]);
}

/// The root of a small machine without any private data.
fn plain_root(root: &Path) {
    put(root, "etc/machine-id", "uninitialized\n");
    put(root, "etc/hostname", "localhost\n");
    put(root, "etc/shadow", "root:*:19000:0:99999:7:::\ndaemon:!:19000:0:99999:7:::\n");
    put(root, "root/.ssh/authorized_keys", "# none yet\n\n");
    put(root, "var/log/wtmp", "");
    put(root, "var/lib/dhcp/dhclient.leases", "");
    put(root, "var/cache/apt/archives/lock", "");
    put(root, "usr/bin/tool", testing::noise(7, 300_000));
    fs::create_dir_all(root.join("var/lib/cloud/instances")).unwrap();
}

/// A new ed25519 key of the user's program, in OpenSSH's format.
fn ssh_key(dir: &Path) -> String {
    let key = dir.join("new-ssh-key");
    for name in ["new-ssh-key", "new-ssh-key.pub"] {
        let _ = fs::remove_file(dir.join(name));
    }
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key.to_str().unwrap()]);
    fs::read_to_string(key).unwrap()
}

/// Joins raw partitions to a disk: each at its place in MiB.
fn join(disk: &Path, mebibytes: u64, parts: &[(u64, &Path)]) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(disk).unwrap();
    file.set_len(mebibytes << 20).unwrap();
    for (at, part) in parts {
        file.write_all_at(&fs::read(part).unwrap(), at << 20).unwrap();
    }
}

fn temp() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (root, image) = (dir.path().join("root"), dir.path().join("image"));
    plain_root(&root);
    (dir, root, image)
}

fn kinds(audited: &Audited) -> Vec<Kind> {
    audited.findings.iter().map(|finding| finding.kind).collect()
}

fn allow(path: &str) -> TreePath {
    TreePath::fixed(path)
}
