//! The root of a node of a shipped example, with certificates and keys that `pki` makes for it.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::build::role::{Entry, fill, image_root, node_entries};
use crate::cluster::node::EtcdStart;
use crate::cluster::node::file::Content;
use crate::cluster::pki::Pki;
use crate::cluster::testing::node_parts;
use crate::common::testing::put;

/// The clock of the tests: 2027-01-15.
const NOW: i64 = 1_800_000_000;

pub(super) struct Root {
    dir: tempfile::TempDir,
    /// The owner of each file and folder, `user:group`, by path.
    pub(super) owners: BTreeMap<String, String>,
}

impl Root {
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file's text.
    pub(super) fn read(&self, path: &str) -> String {
        let path = self.path().join(path.trim_start_matches('/'));
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

/// The node's root, with its seed applied and its templates filled in.
pub(super) fn root(cluster: &Cluster, node: &Node) -> Root {
    let secrets = tempfile::tempdir().unwrap();
    let pki = Pki::new(&secrets.path().join("secrets"), cluster);
    pki.init(NOW).unwrap();
    let keyring = pki.load(NOW).unwrap();
    let parts = node_parts(cluster, node, false);
    let mut root = Root { dir: image_root(&parts), owners: BTreeMap::new() };
    for entry in node_entries(&parts) {
        if let Entry::File { path, owner, .. } | Entry::Dir { path, owner, .. } = entry {
            let path = path.to_string();
            let made = path.strip_prefix("/usr/share/kbake/templates/").and_then(|path| path.split_once('/'));
            root.owners.insert(made.map_or(path.clone(), |(_, path)| format!("/{path}")), format!("{}:{}", owner.user, owner.group));
        }
    }
    for file in super::super::files::files(cluster, node, EtcdStart::New, &keyring).unwrap() {
        let text = match &file.content {
            Content::Public(text) => text,
            Content::Key(key) => key.expose_secret(),
            Content::Private(text) => text.expose_secret(),
        };
        let mode = u32::from_str_radix(file.permissions, 8).unwrap();
        put(root.path(), file.path.trim_start_matches('/'), text.as_bytes(), mode);
        root.owners.insert(file.path.clone(), file.owner.to_owned());
    }
    fill(root.path());
    root
}
