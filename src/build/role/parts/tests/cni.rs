//! The pod network of the seeds, set up by the real plugins between two nodes and the outside.

use std::path::Path;

use super::*;
use crate::cluster::model::Cluster;
use crate::cluster::testing::{example, seed_texts};

/// The folder of Debian's containernetworking-plugins.
const PLUGINS: &str = "/usr/lib/cni";

fn conflist(cluster: &Cluster, node: &str) -> String {
    let files = seed_texts(cluster, cluster.node(node).unwrap());
    files.into_iter().find(|(path, _)| path == "/etc/cni/net.d/10-bridge.conflist").unwrap().1
}

/// The scenario is in cni.py: it needs namespaces of users, mounts and networks, and nothing of the host's.
#[test]
fn pods_reach_each_other_as_themselves_and_the_world_as_their_node() {
    assert!(Path::new(PLUGINS).join("portmap").exists(), "containernetworking-plugins is missing: run tests/setup.sh");
    let dir = tempfile::tempdir().unwrap();
    let cluster = example("kubenet");
    for (file, node) in [("a.conflist", "worker0"), ("b.conflist", "worker1")] {
        put(dir.path(), file, conflist(&cluster, node).as_bytes(), 0o644);
    }
    let rules = content(&entries(&[Part::Kubelet], &upstream()), &format!("{TEMPLATES}/node/etc/nftables.d/kbake-masquerade.nft"));
    put(dir.path(), "masquerade.nft", rules.replace("@CLUSTER_CIDR@", &cluster.pods.cidr.to_string()).as_bytes(), 0o644);
    put(dir.path(), "cni.py", include_bytes!("cni.py"), 0o644);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "python3", "cni.py"]);
    let out = command.arg(PLUGINS).current_dir(dir.path()).env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").output();
    let out = out.unwrap_or_else(|e| panic!("unshare is missing: run tests/setup.sh ({e})"));
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.ends_with("all is well\n"), "is the user allowed namespaces?\n{said}");
}
