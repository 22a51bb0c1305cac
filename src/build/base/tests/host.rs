//! Errors about a host that lacks a requirement.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::build::base::host::{check, check_programs};
use crate::build::base::sandbox::{HOST_PATH, Mode};
use crate::common::value::Arch;

/// A folder with links to the host's programs of these names.
fn folder(programs: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for program in programs {
        let real = HOST_PATH.split(':').map(|place| Path::new(place).join(program)).find(|path| path.exists());
        let real = real.unwrap_or_else(|| panic!("{program} is missing: run tests/setup.sh"));
        symlink(real, folder.path().join(program)).unwrap();
    }
    folder
}

#[test]
fn all_that_is_missing_is_said_at_once() {
    let some = folder(&["sh", "tar", "mount", "umount", "dpkg", "dpkg-deb"]);
    let path = some.path().to_str().unwrap();
    let error = check_programs(Mode::Unprivileged, path).unwrap_err().to_string();
    for expected in [
        "perl (Debian package perl)",
        "apt-get (Debian package apt)",
        "newuidmap (Debian package uidmap)",
        "unshare (Debian package util-linux)",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    assert!(!error.contains("umount"), "what is there is not named: {error}");
    assert!(error.contains("hint: as root: apt-get install apt coreutils findutils perl sed uidmap util-linux"), "{error}");
    let as_root = check_programs(Mode::Root, path).unwrap_err().to_string();
    assert!(!as_root.contains("uidmap"), "root needs no subordinate ids: {as_root}");
}

#[test]
fn a_perl_without_its_modules_is_not_enough() {
    let tools = folder(&[
        "apt-cache",
        "apt-config",
        "apt-get",
        "cat",
        "chroot",
        "cp",
        "dpkg",
        "dpkg-deb",
        "env",
        "find",
        "ln",
        "mkdir",
        "mknod",
        "mount",
        "rm",
        "sed",
        "sh",
        "sleep",
        "tar",
        "umount",
        "unshare",
    ]);
    let perl = tools.path().join("perl");
    std::fs::write(&perl, "#!/bin/sh\nexit 2\n").unwrap();
    std::fs::set_permissions(&perl, std::fs::Permissions::from_mode(0o644)).unwrap();
    let path = tools.path().to_str().unwrap();
    let error = check_programs(Mode::Root, path).unwrap_err().to_string();
    assert!(error.contains("\n  perl (Debian package perl)"), "a file that cannot be run is no program: {error}");
    std::fs::set_permissions(&perl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = check_programs(Mode::Root, path).unwrap_err().to_string();
    assert!(error.contains("Perl's standard modules (Debian package perl)") && error.contains("apt-get install perl"), "{error}");
}

#[test]
fn this_host_can_make_a_base() {
    match check(Arch::Amd64) {
        Ok(mode) => assert_eq!(mode, Mode::of_caller()),
        Err(error) => panic!("run tests/setup.sh: {error}"),
    }
}
