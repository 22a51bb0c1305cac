//! Whole nodes: the image's templates, the seed's public files and the script that joins them, for clusters of one node, of
//! three and three, and with an external etcd.

use std::fs;
use std::path::Path;

use super::*;
use crate::build::role::parts::testing;
use crate::cluster::model::Role;
use crate::cluster::testing::{example, seed_texts};

/// The folders of filled templates, below the root.
const FILLED: [&str; 4] = ["etc/kubernetes/manifests", "etc/nftables.d", "var/lib/kubelet", "var/lib/kube-proxy"];

#[test]
fn nodes_are_as_recorded() {
    let facts = testing::facts("upstream");
    let mut filled = Vec::new();
    for name in ["one-node", "kubenet", "external-etcd"] {
        let cluster = example(name);
        for role in [Role::ControlPlane, Role::Worker] {
            // The others of a role differ by values that the node finds at run time.
            let Some(node) = cluster.with_role(role).next() else { continue };
            let root = tempfile::tempdir().unwrap();
            let parts = match role {
                Role::ControlPlane => vec![Part::Kubelet, Part::KubeProxy, Part::ControlPlane],
                _ => vec![Part::Kubelet, Part::KubeProxy],
            };
            for entry in entries(&parts, &facts) {
                if let Entry::File { path, mode, bytes, .. } = entry {
                    put(root.path(), std::str::from_utf8(path.as_bytes()).unwrap(), &bytes, u32::from(mode));
                }
            }
            for (path, text) in seed_texts(&cluster, node) {
                put(root.path(), &path, text, 0o644);
            }
            let out = Command::new("dash").arg("usr/lib/kbake/settings").arg(root.path()).current_dir(root.path()).output();
            let out = out.unwrap_or_else(|e| panic!("dash is missing: run tests/setup.sh ({e})"));
            assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
            let mut found = Vec::new();
            FILLED.iter().for_each(|folder| files_below(root.path(), folder, &mut found));
            let stacked = found.iter().any(|path| path.ends_with("manifests/etcd.yaml"));
            assert_eq!(stacked, role == Role::ControlPlane && cluster.is_etcd_member(node), "{name}: etcd is where it is said to be");
            for path in found {
                let text = fs::read_to_string(root.path().join(&path)).unwrap();
                assert!(!text.contains("@\"") && !text.contains(": @"), "{name}: {path}: {text}");
                filled.push((format!("nodes/{name}/{}/{path}", node.name), text));
            }
        }
    }
    goldens(filled);
}

fn files_below(root: &Path, folder: &str, found: &mut Vec<String>) {
    let Ok(listed) = fs::read_dir(root.join(folder)) else { return };
    let mut names: Vec<String> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() { files_below(root, &path, found) } else { found.push(path) }
    }
}
