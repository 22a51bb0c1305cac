//! `kbake lock` and lockfiles: mistakes, stale entries, and local files in place of a publisher's.

use super::*;

#[test]
fn mistakes_in_the_lockfile_have_a_place_and_a_remedy() {
    let site = Site::new();
    let (file, good) = ("lockfiles/debian.lock", site.read("lockfiles/debian.lock"));
    let digest = Sha256::of(contents(ONE)).to_string();
    for (text, expected) in [
        (good.replace("format = 2", "format = 3"), &["lockfiles/debian.lock", "newer"][..]),
        (good.replace(&digest, "abc"), &["lockfiles/debian.lock:", "64 hexadecimal digits"]),
        (format!("{good}<<<<<<< ours\n"), &["lockfiles/debian.lock:", "merge", "--theirs -- lockfiles/debian.lock", "kbake lock"]),
        (good.replace("[[package]]", "[[packge]]"), &["lockfiles/debian.lock:"]),
    ] {
        assert_ne!(text, good);
        site.write(file, &text);
        says(&site.fails(1, &["plan", "etcd"]), expected);
    }
    fs::remove_file(site.path(file)).unwrap();
    for args in [&["build", "etcd"][..], &["lock", "--check"]] {
        says(&site.fails(1, args), &["error: lockfiles/debian.lock is missing", "hint: run `kbake lock --channel debian`"]);
    }
}

#[test]
fn a_stale_lock_stops_the_build_and_the_check() {
    let site = Site::new();
    site.succeeds(&["lock", "--check"]);
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\", \"htop\"]\n");
    for args in [&["lock", "--check"][..], &["build", "etcd"], &["plan", "etcd"]] {
        says(&site.fails(1, args), &["lockfiles/debian.lock", "etcd: `htop` is missing", "run `kbake lock --channel debian`"]);
    }
}

#[test]
fn only_requested_roles_are_compared_with_the_lock() {
    let site = Site::new();
    let plan = site.succeeds(&["plan", "etcd"]);
    // A new role, not locked; an invalid recipe; an invalid name.
    site.write("recipes/roles/new.toml", "description = \"new\"\npackages = [\"three\"]\n");
    site.write("recipes/roles/broken.toml", "description = \n");
    site.write("recipes/roles/No Role.toml", "description = \"x\"\n");
    assert_eq!(site.succeeds(&["plan", "etcd"]), plan);
    says(&site.fails(1, &["plan", "new"]), &["lockfiles/debian.lock` is stale", "new: not locked at all", "kbake lock --channel debian"]);
    says(&site.fails(1, &["plan", "broken"]), &["recipes/roles/broken.toml:1"]);
    for gone in ["broken", "No Role", "new"] {
        fs::remove_file(site.path(&format!("recipes/roles/{gone}.toml"))).unwrap();
    }
    // A removed role.
    site.write("recipes/roles/other.toml", &site.read("recipes/roles/etcd.toml"));
    site.succeeds(&["lock"]);
    fs::remove_file(site.path("recipes/roles/other.toml")).unwrap();
    assert_eq!(site.succeeds(&["plan", "etcd"]), plan);
    says(&site.fails(1, &["lock", "--check"]), &["other: locked, but there is no such recipe"]);
}

#[test]
fn locking_what_is_locked_already_opens_no_socket() {
    let site = Site::new();
    let before = site.read("lockfiles/debian.lock");
    assert_eq!(site.succeeds(&["lock"]), "");
    assert_eq!(site.read("lockfiles/debian.lock"), before);
    site.write("recipes/roles/twin.toml", "description = \"a twin\"\npackages = [\"two\", \"one\"]\n");
    assert_eq!(site.succeeds(&["lock"]), "regroup two (etcd) -> (etcd, twin)\n");
    site.succeeds(&["lock", "--check"]);
    let (etcd, twin) = (site.succeeds(&["plan", "etcd"]), site.succeeds(&["plan", "twin"]));
    assert_eq!(etcd.matches("package ").count(), twin.matches("package ").count());
    fs::remove_file(site.path("recipes/roles/twin.toml")).unwrap();
    site.succeeds(&["lock"]);
    assert_eq!(site.read("lockfiles/debian.lock"), before);
    // A package that is not locked is still looked up in the archive; no mirror is configured here.
    site.write("recipes/roles/twin.toml", "description = \"more\"\npackages = [\"three\"]\n");
    says(&site.fails(3, &["lock"]), &["no mirror is known"]);
}

#[test]
fn what_cannot_be_a_program_is_not_locked_as_one() {
    let site = Site::new();
    let tables = "\n[artifact.kubelet]\nabsent = \"not here\"\ninstall = \"/usr/local/bin/kubelet\"\n";
    site.write("recipes/sources/debian.toml", &(site.read("recipes/sources/debian.toml") + tables));
    let before = site.read("lockfiles/debian.lock");
    says(&site.fails(1, &["lock", "--set", "kubelet=/etc/hosts"]), &["/etc/hosts is not a program (not an ELF file)"]);
    says(&site.fails(1, &["lock", "--set", "kubelet=/dev/zero"]), &["/dev/zero is a device, pipe or socket"]);
    assert_eq!(site.read("lockfiles/debian.lock"), before);
    site.write("mine", "#!/bin/sh\nexit 0\n");
    // No recipe uses it yet: a note says so.
    let out = site.kbake(&["lock", "--set", "kubelet=mine"]).output().unwrap();
    assert!(out.status.success());
    says(&said_by(&out), &["no recipe uses the artifact `kubelet`", "the file has no effect; a role or part uses it with `artifacts"]);
    says(&site.read("lockfiles/debian.lock"), &["path = \"mine\""]);
    says(&site.fails(1, &["lock", "--upgrade", "kubelet"]), &["the local file mine", "kbake lock --unset kubelet --channel debian"]);
    // Outside the project, through a link that the user typed: locked and found at that path.
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("mine"), "#!/bin/sh\nexit 1\n").unwrap();
    std::os::unix::fs::symlink(outside.path(), site.path("build")).unwrap();
    site.succeeds(&["lock", "--set", "kubelet=build/mine"]);
    says(&site.read("lockfiles/debian.lock"), &[&format!("path = \"{}\"", site.path("build/mine").display())]);
    site.succeeds(&["plan", "etcd"]);
    // A lockfile with a path that leads there is refused: a clone may come from anyone.
    let strange = site.read("lockfiles/debian.lock").replace(&format!("{}/", site.dir.path().display()), "");
    site.write("lockfiles/debian.lock", &strange);
    site.write("recipes/roles/etcd.toml", &site.read("recipes/roles/etcd.toml").replace("packages", "artifacts = [\"kubelet\"]\npackages"));
    says(&site.fails(1, &["plan", "etcd"]), &["build/mine is outside the project's folder"]);
}
