//! Helpers for tests of several parts: the facts of the shipped channels, and a root folder with a part's files.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::build::role::{Entry, Facts, Runtime, part_entries};
use crate::common::testing::{goldens, put, pyyaml, run, systemd_analyze};
use crate::spec::recipe::{ImageContent, Origin, Part, Sources};

/// The facts of a role with all images of a shipped channel.
pub(super) fn facts(channel: &str) -> Facts {
    let sources = sources(channel);
    let mut facts = Facts { runtime: Some(Runtime::Containerd), ..Facts::default() };
    for (name, image) in &sources.images {
        let absent = match &image.content {
            ImageContent::Absent(_) => true,
            ImageContent::Pulled => false,
            ImageContent::Built { from, .. } => matches!(sources.artifacts[&from.value].origin, Origin::Absent(_)),
        };
        if !absent {
            facts.images.insert(name.clone(), image.full_name(&sources.versions).unwrap());
        }
    }
    facts
}

fn sources(channel: &str) -> Sources {
    let file = format!("{channel}.toml");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/sources").join(&file)).unwrap();
    let base = Sources::base_of(&file, &text).unwrap().map(|base| sources(base.value.as_str()));
    Sources::parse(&file, &text, base).unwrap()
}

/// The texts of a part, by path.
pub(super) fn texts(part: Part, facts: &Facts) -> BTreeMap<String, String> {
    let entries = part_entries(part, facts).unwrap();
    let files = entries.into_iter().filter_map(|entry| match entry {
        Entry::File { path, bytes, .. } => Some((path.to_string(), String::from_utf8(bytes).unwrap())),
        _ => None,
    });
    files.collect()
}

/// Compares all texts of a part with those under `tests/golden/parts/CHANNEL`.
pub(super) fn as_recorded(part: Part, channel: &str) {
    goldens(texts(part, &facts(channel)).into_iter().map(|(path, text)| (format!("parts/{channel}{path}"), text)));
}

/// The documents of a template filled in with [`VALUES`], as PyYAML reads them.
pub(super) fn filled(text: &str) -> Vec<Value> {
    let text = VALUES.iter().fold(text.to_owned(), |text, (key, value)| text.replace(&format!("@{key}@"), value));
    assert!(!text.contains('@'), "{text}");
    pyyaml(&text.split("\n---\n").map(str::to_owned).collect::<Vec<_>>())
}

/// Values that a cluster may have, for all templates.
pub(super) const VALUES: [(&str, &str); 26] = [
    ("ALLOCATE_NODE_CIDRS", "true"),
    ("API_ENDPOINT", "kubernetes.kubenet:6443"),
    ("API_PORT", "6443"),
    ("CLUSTER_CIDR", "10.0.0.0/12"),
    ("CLUSTER_DNS", "10.32.0.10"),
    ("CLUSTER_DOMAIN", "cluster.local"),
    ("CLUSTER_NAME", "kubenet"),
    ("DNS_NODES", "2"),
    ("ETCD_INITIAL_CLUSTER", "control0=https://192.168.3.11:2380,control1=https://192.168.3.12:2380"),
    ("ETCD_INITIAL_CLUSTER_STATE", "new"),
    ("ETCD_INITIAL_CLUSTER_TOKEN", "kbake-kubenet"),
    ("ETCD_SERVERS", "https://192.168.3.11:2379,https://192.168.3.12:2379"),
    ("KUBEADM_PROXY_MODE", "nftables"),
    ("LEADER_ELECT", "true"),
    ("LIVENESS_FAILURES", "8"),
    ("LOAD_BALANCER_POOL", "192.168.3.30-192.168.3.254"),
    ("NFS_PATH", "/srv/nfs/kubenet"),
    ("NFS_SERVER", "192.168.3.1"),
    ("NODE_CIDR_MASK_SIZE", "24"),
    ("NODE_NAME", "control0"),
    ("PROBE_TIMEOUT", "15"),
    ("PROXY_DISABLED", "false"),
    ("PROXY_MODE", "nftables"),
    ("SERVICE_ACCOUNT_ISSUER", "https://kubernetes.default.svc.cluster.local"),
    ("SERVICE_CIDR", "10.32.0.0/16"),
    ("STARTUP_FAILURES", "60"),
];

/// Fails unless systemd accepts `unit`, in a root with the host's own units and `files`.
pub(super) fn systemd_accepts(unit: &str, files: &BTreeMap<String, String>, programs: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("usr/lib/systemd/system");
    std::fs::create_dir_all(&units).unwrap();
    std::os::unix::fs::symlink("usr/lib", root.path().join("lib")).unwrap();
    let listed = std::fs::read_dir("/usr/lib/systemd/system").unwrap_or_else(|_| panic!("systemd is missing: run tests/setup.sh"));
    for entry in listed.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
        std::fs::copy(entry.path(), units.join(entry.file_name())).unwrap();
    }
    for program in programs {
        put(root.path(), program, "#!/bin/sh\n", 0o755);
    }
    for (path, text) in files {
        put(root.path(), path, text, if path.starts_with("/usr/lib/kbake") { 0o755 } else { 0o644 });
    }
    let out = systemd_analyze(root.path(), &["verify", "--man=no", unit]);
    let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
    let ours: Vec<&str> =
        complaint.lines().filter(|line| line.contains(unit) || line.contains("kbake") || line.contains("kubeadm")).collect();
    assert!(out.status.success() && ours.is_empty(), "{unit}: {complaint}");
}

/// The entries of these parts in an image of the channel `upstream`.
pub(crate) fn node_entries(parts: &[Part]) -> Vec<Entry> {
    let facts = facts("upstream");
    parts.iter().flat_map(|part| part_entries(*part, &facts).unwrap()).collect()
}

/// A root with the files and folders of these parts.
pub(crate) fn image_root(parts: &[Part]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for entry in node_entries(parts) {
        match entry {
            Entry::File { path, mode, bytes, .. } => {
                put(root.path(), &path.to_string(), &bytes, u32::from(mode));
            }
            Entry::Dir { path, mode, .. } => {
                let path = root.path().join(&path.to_string()[1..]);
                std::fs::create_dir_all(&path).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(u32::from(mode))).unwrap();
            }
            Entry::Symlink { .. } | Entry::Absent { .. } => {}
        }
    }
    root
}

/// Fills the seed's values into the templates, as the node does at boot.
pub(crate) fn fill(root: &Path) {
    if root.join("etc/kubernetes/cluster.env").exists() {
        let done = run(Command::new("dash").arg(root.join("usr/lib/kbake/settings")).arg(root));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}
