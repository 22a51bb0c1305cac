//! Each rule of the normaliser, and that no secret passes it.

use crate::Class;
use crate::build::base::normalise::{Filter, normalise};
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Tree};
use crate::common::value::{Epoch, TreePath};
use crate::formats::archive::{Memory, Sink};

const EPOCH: i64 = 1_700_000_000;

fn epoch() -> Epoch {
    Epoch::from_seconds(EPOCH).unwrap()
}

/// A tree as an archive would give it, through the filter: folders end with `/`, links are `path -> target`,
/// hard links `path => target`, files are `path` with their text.
fn read(entries: &[(&str, &str)]) -> crate::Result<(Tree, Memory)> {
    read_with(entries, |_| {})
}

fn read_with(entries: &[(&str, &str)], change: impl Fn(&mut Tree)) -> crate::Result<(Tree, Memory)> {
    let mut memory = Memory::default();
    let mut filter = Filter::new(&mut memory, epoch(), &[]);
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
    for (entry, text) in entries {
        let (path, kind) = if let Some(folder) = entry.strip_suffix('/') {
            (TreePath::fixed(folder), Kind::Dir)
        } else if let Some((link, target)) = entry.split_once(" -> ") {
            (TreePath::fixed(link), Kind::Symlink(target.as_bytes().to_vec()))
        } else if let Some((link, target)) = entry.split_once(" => ") {
            (TreePath::fixed(link), Kind::HardLink(TreePath::fixed(target)))
        } else {
            let path = TreePath::fixed(entry);
            let content = filter.put(&path, text.len() as u64, &mut text.as_bytes())?;
            assert_eq!(content.size(), text.len() as u64, "archives insist on it");
            (path, Kind::File(content))
        };
        let mut above: Vec<TreePath> =
            std::iter::successors(path.parent(), TreePath::parent).filter(|path| tree.get(path).is_none()).collect();
        while let Some(folder) = above.pop() {
            tree.insert(folder, Node { meta: Meta::new(0o755, 7, 8, EPOCH + 9), kind: Kind::Dir, layer: Layer::Base }).unwrap();
        }
        tree.insert(path, Node { meta: Meta::new(0o640, 7, 8, EPOCH + 9), kind, layer: Layer::Base }).unwrap();
    }
    let rewritten = filter.finish();
    change(&mut tree);
    normalise(&mut tree, epoch(), rewritten, &[])?;
    Ok((tree, memory))
}

fn has(tree: &Tree, path: &str) -> bool {
    tree.get(&TreePath::fixed(path)).is_some()
}

#[test]
fn secrets_identity_logs_and_caches_vanish_from_tree_and_store() {
    let gone = [
        "etc/.pwd.lock",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/apt/sources.list.d/host.list",
        "etc/hostname",
        "etc/passwd-",
        "etc/shadow-",
        "etc/ssh/ssh_host_ed25519_key",
        "etc/ssh/ssh_host_rsa_key.pub",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "root/.bash_history",
        "root/.cache/a/b",
        "root/.ssh/authorized_keys",
        "run/a/b",
        "tmp/x",
        "usr/sbin/policy-rc.d",
        "var/backups/dpkg.status.0",
        "var/cache/apt/archives/some.deb",
        "var/cache/apt/pkgcache.bin",
        "var/cache/debconf/templates.dat-old",
        "var/cache/ldconfig/aux-cache",
        "var/lib/apt/extended_states",
        "var/lib/apt/lists/mirror_Packages",
        "var/lib/cloud/instance/id",
        "var/lib/dbus/machine-id",
        "var/lib/dhcp/dhclient.leases",
        "var/lib/dpkg/lock-frontend",
        "var/lib/dpkg/status-old",
        "var/lib/systemd/credential.secret",
        "var/lib/systemd/random-seed",
        "var/log/apt/history.log",
        "var/log/wtmp",
        "vmlinuz.old",
    ];
    let canary = |path: &str| format!("-----BEGIN OPENSSH PRIVATE KEY-----\ncanary {path}");
    let texts: Vec<(&str, String)> = gone.iter().map(|path| (*path, canary(path))).collect();
    let entries: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let (tree, memory) = read(&entries).unwrap();
    for path in gone {
        assert!(!has(&tree, path), "{path} is still there");
    }
    assert!(memory.blobs.is_empty(), "the store got {:?}", memory.blobs.keys());
    for folder in ["etc/ssh", "etc/ssl/private", "root/.ssh", "run", "tmp", "var/log/apt", "var/cache/apt/archives", "var/lib/apt/lists"] {
        let node = tree.get(&TreePath::fixed(folder)).unwrap_or_else(|| panic!("{folder} went too"));
        assert_eq!((node.meta.uid, node.meta.gid), (7, 8), "{folder}");
    }
    assert!(!has(&tree, "run/a") && !has(&tree, "root/.cache/a") && !has(&tree, "var/lib/cloud/instance"), "their folders are state, too");
}

#[test]
fn what_packages_brought_stays_as_it_is() {
    let kept = [
        ("etc/ssh/sshd_config", "a"),
        ("etc/group", "b"),
        ("var/lib/dpkg/status", "c"),
        ("usr/lib/python3/a.py", "d"),
        ("var/cache/debconf/config.dat", "e"),
        ("usr/share/keys/public.pem", "-----BEGIN PUBLIC KEY-----\nf"),
        ("usr/share/doc/pem", "text about -----BEGIN PRIVATE KEY-----"),
    ];
    let (tree, memory) = read(&kept).unwrap();
    for (path, text) in kept {
        let Some(Node { kind: Kind::File(Content::Blob { digest, .. }), .. }) = tree.get(&TreePath::fixed(path)) else { panic!("{path}") };
        assert_eq!(memory.blobs[digest], text.as_bytes(), "{path}: the head that was looked at is handed on");
    }
}

#[test]
fn a_private_key_in_an_unknown_place_is_refused() {
    for first in ["-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\r", "-----BEGIN ENCRYPTED PRIVATE KEY-----"] {
        let error = read(&[("opt/app/server.key", &format!("{first}\nMIIE"))]).unwrap_err();
        assert!(error.message().contains("private key at /opt/app/server.key"), "{error}");
    }
}

#[test]
fn every_node_has_an_empty_machine_id() {
    for entries in
        [&[("etc/machine-id", "0123456789abcdef0123456789abcdef\n")][..], &[("etc/a", "")], &[("etc/machine-id -> /run/machine-id", "")]]
    {
        let (tree, memory) = read(entries).unwrap();
        let node = tree.get(&TreePath::fixed("etc/machine-id")).unwrap();
        assert_eq!(node.kind, Kind::File(Content::Inline([].into())), "{entries:?}");
        assert!(memory.blobs.values().all(Vec::is_empty));
    }
}

#[test]
fn times_and_attributes_are_levelled() {
    let path = TreePath::fixed("usr/bin/ping");
    let (tree, _) = read_with(&[("etc/a", ""), ("usr/bin/ping", "x"), ("usr/bin/old", "y"), ("usr/bin/odd", "z")], |tree| {
        let attributes = &mut tree.meta_mut(&path).unwrap().xattrs;
        attributes.insert(b"security.capability".to_vec(), b"cap".to_vec());
        attributes.insert(b"security.selinux".to_vec(), b"host".to_vec());
        attributes.insert(b"system.posix_acl_access".to_vec(), b"acl".to_vec());
        tree.meta_mut(&TreePath::fixed("usr/bin/old")).unwrap().mtime = 5;
        tree.meta_mut(&TreePath::fixed("usr/bin/odd")).unwrap().mtime = -5;
    })
    .unwrap();
    let meta = |path: &str| tree.get(&TreePath::fixed(path)).unwrap().meta.clone();
    assert_eq!(meta("usr/bin/ping").xattrs.keys().collect::<Vec<_>>(), [b"security.capability"]);
    assert_eq!((meta("usr/bin/ping").mtime, meta("usr").mtime), (EPOCH, EPOCH));
    assert_eq!((meta("usr/bin/old").mtime, meta("usr/bin/odd").mtime), (5, 0));
}

#[test]
fn the_resolver_and_the_sources_are_the_nodes_own() {
    let (tree, _) = read(&[
        ("etc/resolv.conf", "nameserver 192.0.2.1"),
        ("etc/apt/sources.list", "deb copy:/x ./"),
        ("usr/lib/systemd/systemd-resolved", ""),
    ])
    .unwrap();
    assert_eq!(
        tree.get(&TreePath::fixed("etc/resolv.conf")).unwrap().kind,
        Kind::Symlink(b"../run/systemd/resolve/stub-resolv.conf".to_vec())
    );
    let Kind::File(Content::Inline(text)) = &tree.get(&TreePath::fixed("etc/apt/sources.list")).unwrap().kind else { panic!() };
    assert!(text.split(|&b| b == b'\n').all(|line| line.is_empty() || line.starts_with(b"#")), "it names no host");

    let (tree, _) = read(&[("etc/resolv.conf", "nameserver 192.0.2.1")]).unwrap();
    assert!(!has(&tree, "etc/resolv.conf") && !has(&tree, "etc/apt"), "without systemd-resolved and apt: nothing");
    assert!(has(&tree, "dev"));
}

#[test]
fn rewritten_contents_may_have_another_length() {
    let (tree, memory) = read(&[("etc/shadow", "root:*:9:0:99999:7:::\n")]).unwrap();
    let Kind::File(Content::Blob { digest, size }) = &tree.get(&TreePath::fixed("etc/shadow")).unwrap().kind else { panic!() };
    assert_eq!(memory.blobs[digest], b"root:*:19675:0:99999:7:::\n");
    assert_eq!(*size, memory.blobs[digest].len() as u64);
}

#[test]
fn a_second_name_of_what_goes_is_refused() {
    for (file, link) in [("var/log/a", "opt/b => var/log/a"), ("opt/b", "var/log/a => opt/b"), ("etc/shadow", "opt/b => etc/shadow")] {
        let error = read(&[(file, "x"), (link, "")]).unwrap_err();
        assert!(error.message().contains("is a hard link"), "{error}");
    }
    let (tree, _) = read(&[("etc/a", ""), ("usr/bin/perl", "x"), ("usr/bin/perl5 => usr/bin/perl", "")]).unwrap();
    assert_eq!(tree.get(&TreePath::fixed("usr/bin/perl5")).unwrap().kind, Kind::HardLink(TreePath::fixed("usr/bin/perl")));
}

#[test]
fn a_disk_without_capabilities_is_named() {
    let error =
        read_with(&[("usr/bin/ping", "x")], |tree| tree.meta_mut(&TreePath::fixed("usr/bin/ping")).unwrap().mode = 0o4755).unwrap_err();
    assert_eq!(error.class(), Class::User);
    assert!(error.to_string().contains("file capabilities") && error.to_string().contains("$KBAKE_STORE"), "{error}");
}

#[test]
fn a_tree_that_was_not_filtered_is_an_error_and_no_leak() {
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
    let node = |kind| Node { meta: Meta::new(0o755, 0, 0, 0), kind, layer: Layer::Base };
    tree.insert(TreePath::fixed("etc"), node(Kind::Dir)).unwrap();
    tree.insert(TreePath::fixed("etc/shadow"), node(Kind::File(Content::Inline(b"x".as_slice().into())))).unwrap();
    let error = normalise(&mut tree, epoch(), Default::default(), &[]).unwrap_err();
    assert_eq!(error.class(), Class::Internal);
}
