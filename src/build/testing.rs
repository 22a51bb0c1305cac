//! Helpers for tests of builds: a channel, its lock, a base tree, and a build without network.

use crate::build::Bake;
use crate::common::report::Silent;
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Tree};
use crate::common::value::{Arch, ArtifactName, Cancel, Digest, Sha256, TreePath};
use crate::spec::lock::{Entry, Lock, LockedArtifact, LockedImage, Request, SetName};
use crate::storage::fetch;
use crate::storage::store::Store;

/// The first lines of a sources file: the channel `test`, with its archive and tools.
pub(in crate::build) const SOURCES_HEAD: &str = r#"
channel = "test"
kind = "debian-packages"
arch = "amd64"
epoch = 2026-07-11T10:16:37Z
tools = ["grub-pc-bin", "mmdebstrap"]
[[suite]]
name = "bookworm"
archive = "debian"
components = ["main"]
keyring = "/k.gpg"
keys = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
"#;

/// The recipe of the channel's base.
pub(in crate::build) const BASE_RECIPE: &str = r#"description = "base"
packages = ["one"]
[units]
mask = ["a.service"]
"#;

/// The accounts of a base tree: paths and texts.
pub(in crate::build) const ACCOUNTS: [(&str, &str); 4] = [
    ("etc/group", "root:x:0:\n"),
    ("etc/gshadow", "root:*::\n"),
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
    ("etc/shadow", "root:*:::::::\n"),
];

/// A locked package of the version 1.5-2, with a digest and a size.
pub(in crate::build) fn package(name: &str, set: SetName, (sha256, size): (Sha256, u64)) -> Entry {
    Entry {
        name: name.parse().unwrap(),
        version: "1.5-2".parse().unwrap(),
        arch: "amd64".parse().unwrap(),
        source_version: None,
        archive: "debian".parse().unwrap(),
        source: format!("pool/main/x/{name}/{name}_1_amd64.deb").parse().unwrap(),
        size,
        sha256,
        verified: format!("openpgp:{}", "A".repeat(40)).parse().unwrap(),
        sets: [set].into(),
    }
}

/// A lock with these packages, and with all artifacts and container images that a request names.
pub(in crate::build) fn lock(
    request: &Request,
    packages: Vec<Entry>,
    artifact: impl Fn(&ArtifactName, Arch) -> (Digest, Option<u64>),
    image: impl Fn(&ArtifactName) -> Sha256,
) -> Lock {
    let mut lock = Lock::new(request, request.unresolved(), packages).unwrap();
    for ((name, arch), wanted) in &request.artifacts {
        let ((digest, size), verified) = (artifact(name, *arch), "local".parse().unwrap());
        let (version, source) = (wanted.version.clone(), wanted.source.clone());
        let artifact = LockedArtifact { name: name.clone(), arch: *arch, version, source, size, digest, verified };
        lock.artifacts.insert((name.clone(), *arch), artifact);
    }
    for (name, reference) in &request.images {
        let (digest, verified) = (image(name), "registry".parse().unwrap());
        let image = LockedImage { name: name.clone(), reference: reference.clone(), path: None, digest, verified };
        lock.images.insert(name.clone(), image);
    }
    lock
}

/// Adds a file to a base tree, with the folders that lead to it.
pub(in crate::build) fn add(tree: &mut Tree, path: &TreePath, content: Content) {
    let node = |kind| Node { meta: Meta::new(0o755, 0, 0, 0), kind, layer: Layer::Base };
    let mut missing: Vec<TreePath> = std::iter::successors(path.parent(), TreePath::parent).collect();
    missing.retain(|folder| tree.get(folder).is_none());
    for folder in missing.into_iter().rev() {
        tree.insert(folder, node(Kind::Dir)).unwrap();
    }
    tree.insert(path.clone(), node(Kind::File(content))).unwrap();
}

/// A build over a store, without network and in one thread.
pub(in crate::build) fn offline<'a>(store: &'a Store, cancel: &'a Cancel) -> Bake<'a> {
    let fetch = fetch::Options { offline: true, ..fetch::Options::default() };
    Bake { store, fetch, host_mirrors: &|_| Ok(Vec::new()), jobs: 1, report: &Silent, cancel }
}
