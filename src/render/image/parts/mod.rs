//! The parts of roles that kbake's own code renders, one module each: files, units and links that depend on what the
//! channel has, or are too long for a recipe.

pub(super) mod addons;
pub(super) mod containerd;
pub(super) mod control_plane;
pub(super) mod crio;
pub(super) mod etcd;
pub(super) mod gateway;
pub(super) mod kube_proxy;
pub(super) mod kubeadm;
pub(super) mod kubelet;
mod manifest;
