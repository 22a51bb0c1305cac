//! Helpers for tests of clusters, and of images with a seed over them: example files, a node's parts, and its seed's files.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::model::{Cluster, Node, ProxyMode, Role};
use super::node::file::Content;
use super::node::{Caller, EtcdStart, encryption, kubeconfig, public_files};
use crate::spec::recipe::Part;

/// The names of the shipped cluster files.
pub(crate) const EXAMPLES: [&str; 9] =
    ["cilium", "etcd", "external-etcd", "from-scratch", "hard-way", "kubenet", "lab", "one-node", "two-node"];

/// The shipped cluster file `recipes/clusters/NAME.toml`.
pub(crate) fn example(name: &str) -> Cluster {
    Cluster::read(&format!("{name}.toml"), &example_text(name)).unwrap()
}

/// The text of the shipped cluster file `recipes/clusters/NAME.toml`.
pub(crate) fn example_text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recipes/clusters/{name}.toml"));
    std::fs::read_to_string(path).unwrap()
}

/// The public files of a node's seed: absolute paths and texts.
pub(crate) fn seed_texts(cluster: &Cluster, node: &Node) -> Vec<(String, String)> {
    let files = public_files(cluster, node, EtcdStart::New).unwrap().into_iter();
    files.filter_map(|file| if let Content::Public(text) = file.content { Some((file.path, text.into_owned())) } else { None }).collect()
}

/// The encryption configuration and the kubelet's kubeconfig of a control-plane node, with fake keys: absolute paths and texts.
pub(crate) fn fake_private_texts() -> [(&'static str, String); 2] {
    let key = SecretString::from("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned());
    let caller = Caller { cluster: "x", user: "u", server: "https://192.0.2.1:6443", authority: "a", certificate: "c", key: &key };
    let text = |secret: SecretString| secret.expose_secret().to_owned();
    [("/etc/kubernetes/encryption.yaml", text(encryption(&key))), ("/etc/kubernetes/kubelet.conf", text(kubeconfig(&caller)))]
}

/// The parts that put Kubernetes' files into the image of a node's role.
pub(crate) fn node_parts(cluster: &Cluster, node: &Node, kubeadm: bool) -> Vec<Part> {
    let mut parts = match node.role {
        Role::ControlPlane if kubeadm => vec![Part::Kubelet, Part::Kubeadm],
        Role::ControlPlane => vec![Part::Kubelet, Part::KubeProxy, Part::ControlPlane, Part::Addons],
        Role::Worker => vec![Part::Kubelet, Part::KubeProxy],
        Role::Etcd => vec![Part::Etcd],
        Role::Gateway => Vec::new(),
    };
    // Clusters without kube-proxy have no unit of it.
    parts.retain(|part| cluster.services.proxy != ProxyMode::None || *part != Part::KubeProxy);
    parts
}
