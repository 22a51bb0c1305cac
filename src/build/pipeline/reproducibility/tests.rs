//! Differences between two installations, and files that an installation creates beside the packages' files.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::*;
use crate::common::tree::{Layer, Meta, Node};
use crate::common::value::Epoch;
use crate::formats::archive::cpio::tests::archive_of;

const SCRIPT: &str = "var/lib/dpkg/info/odd.postinst";

/// An installed system of these files, and its contents. `shipped` files are in the package's list, with the package's
/// bytes.
struct System {
    installed: Installed,
    held: Memory,
}

impl System {
    fn of(shipped: &[(&str, &[u8])], created: &[(&str, &[u8])]) -> System {
        let mut system = System {
            installed: Installed { tree: Tree::new(Meta::new(0o755, 0, 0, 0)), shipped: BTreeSet::new() },
            held: Memory::default(),
        };
        // dpkg's lists include folders.
        let folders = ["etc", "var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/info"].map(str::to_owned);
        let above = |path: &str| path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>();
        let names = shipped.iter().flat_map(|(path, _)| above(path).into_iter().chain([(*path).to_owned()]));
        let list: String = folders.into_iter().chain(names).map(|path| format!("/{path}\n")).collect();
        system.put("var/lib/dpkg/info/odd.list", list.as_bytes());
        system.put(SCRIPT, b"#!/bin/sh\nuuidgen >/etc/odd/id\n");
        for (path, bytes) in shipped {
            system.installed.shipped.insert(Sha256::of(bytes));
            system.put(path, bytes);
        }
        created.iter().for_each(|(path, bytes)| system.put(path, bytes));
        system
    }

    fn put(&mut self, path: &str, bytes: &[u8]) {
        let path = TreePath::fixed(path);
        super::super::overlay::make_parents(&mut self.installed.tree, &path, Epoch::from_seconds(1).unwrap()).unwrap();
        let content = self.held.put(&path, bytes.len() as u64, &mut &*bytes).unwrap();
        self.installed.tree.insert(path, Node { meta: Meta::new(0o644, 0, 0, 1), kind: Kind::File(content), layer: Layer::Base }).unwrap();
    }

    /// Examines the system; `again` is the result of a second installation. Also returns the number of second installations.
    fn examine(&self, reinstall: &System, facts: &[Fact]) -> (u32, Result<()>) {
        let (role, cancel) = ("odd".parse().unwrap(), Cancel::new());
        let source = Second { held: self.held.clone() };
        let new_base = NewBase { role: &role, installed: &self.installed, source: &source, ground: None, cancel: &cancel };
        let times = Cell::new(0);
        let mut install = |sink: &mut dyn Sink| {
            times.set(times.get() + 1);
            for (path, node) in reinstall.installed.tree.iter() {
                if let Kind::File(Content::Blob { digest, size }) = &node.kind {
                    sink.put(path, *size, &mut &reinstall.held.blobs[digest][..])?;
                }
            }
            Ok(Installed { tree: reinstall.installed.tree.clone(), shipped: BTreeSet::new() })
        };
        let outcome = new_base.examine(&|| Ok(facts.to_vec()), &|_| {}, &mut install);
        (times.get(), outcome)
    }

    fn alone(&self) -> (u32, Result<()>) {
        self.examine(self, &[])
    }
}

#[track_caller]
fn says(outcome: (u32, Result<()>), times: u32, expected: &[&str]) {
    let text = outcome.1.unwrap_err().to_string();
    assert_eq!(outcome.0, times, "{text}");
    expected.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

#[test]
fn packages_without_other_files_are_installed_once() {
    let system = System::of(&[("usr/bin/a", b"a")], &[("etc/ld.so.cache", b"cache"), ("etc/passwd", b"root:x:0:0::/root:/bin/sh\n")]);
    let (times, outcome) = system.alone();
    outcome.unwrap();
    assert_eq!(times, 0, "the shipped roles pay nothing for it");
}

#[test]
fn files_that_a_script_creates_are_compared_with_a_second_installation() {
    let created = |id: &[u8]| System::of(&[("usr/bin/a", b"a")], &[("etc/odd/id", id)]);
    let (times, outcome) = created(b"constant").alone();
    outcome.unwrap();
    assert_eq!(times, 1);
    says(
        created(b"1111").examine(&created(b"2222"), &[]),
        1,
        &[
            "is not reproducible",
            "/etc/odd/id: its contents; see /var/lib/dpkg/info/odd.postinst",
            "`[[clear]]` and `path = \"/etc/odd/id\"`",
        ],
    );
    says(
        created(b"1").examine(&System::of(&[("usr/bin/a", b"a")], &[("etc/odd/id2", b"1")]), &[]),
        1,
        &["/etc/odd/id: in one of two", "/etc/odd/id2: in"],
    );
}

#[test]
fn a_shipped_file_that_a_script_changes_is_no_shipped_one() {
    let changed = |key: &[u8]| {
        let mut system = System::of(&[("etc/odd/id", b"key = @KEY@\n")], &[]);
        system.installed.tree.remove(&TreePath::fixed("etc/odd/id"));
        system.put("etc/odd/id", key);
        system
    };
    says(changed(b"key = 1\n").examine(&changed(b"key = 2\n"), &[]), 1, &["/etc/odd/id: its contents"]);
}

#[test]
fn the_members_of_an_initramfs_are_compared() {
    let hook = ("usr/share/initramfs-tools/hooks/odd", &b"mktemp -d $DESTDIR/root-XXXX"[..]);
    let initramfs = |members: &[(&str, u32, &[u8])]| {
        let packed = zstd::encode_all(&*archive_of(members), 1).unwrap();
        System::of(&[("usr/bin/a", b"a"), hook], &[("boot/initrd.img-6.1.0-1-amd64", &packed)])
    };
    let (times, outcome) = initramfs(&[("usr/bin/a", 0o100_755, b"a"), ("conf/x", 0o100_644, b"1")]).alone();
    outcome.unwrap();
    assert_eq!(times, 0, "the root's own files");
    let not_reproducible = |name: &str| initramfs(&[(name, 0o040_700, b"")]);
    says(
        not_reproducible("root-a1").examine(&not_reproducible("root-b2"), &[]),
        1,
        &[
            "/boot/initrd.img-6.1.0-1-amd64, in it /root-a1: in one of two installations",
            "/usr/share/initramfs-tools/hooks/odd",
            "clear the hook",
        ],
    );
    says(
        initramfs(&[("etc/initiatorname.iscsi", 0o100_600, b"InitiatorName=iqn.1993-08.org.debian:01:1\n")]).alone(),
        0,
        &["in it /etc/initiatorname.iscsi: machine's identity"],
    );
}

#[test]
fn created_files_are_audited_before_they_are_stored() {
    says(
        System::of(&[], &[("etc/nvme/hostid", b"0e1f\n")]).alone(),
        0,
        &[
            "created files that no image may have",
            "/etc/nvme/hostid: machine's identity (NVMe host)",
            "`[[clear]]` and `path = \"/etc/nvme/hostid\"`",
        ],
    );
}

#[test]
fn facts_of_the_host_are_refused_and_not_printed() {
    let facts = [Fact { what: "this host's UUID", word: "4c4c4544-0051".into() }];
    let system = System::of(&[], &[("etc/odd/id", b"nqn:4C4C4544-0051\n")]);
    let outcome = system.examine(&system, &facts);
    let text = outcome.1.as_ref().unwrap_err().to_string();
    assert!(!text.to_lowercase().contains("4c4c"), "{text}");
    says(outcome, 0, &["/etc/odd/id: this host's UUID"]);
    system.examine(&system, &[]).1.unwrap();
}

#[test]
fn a_second_kernel_is_refused_whatever_its_package_is_called() {
    says(
        System::of(&[("boot/vmlinuz-1", b"1"), ("boot/vmlinuz-2", b"2")], &[]).alone(),
        0,
        &["have 2 kernels", "/boot/vmlinuz-1", "/boot/vmlinuz-2"],
    );
    System::of(&[("boot/vmlinuz-1", b"1")], &[]).alone().1.unwrap();
}
