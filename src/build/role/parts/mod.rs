//! The parts of roles that kbake's own code renders, one module each: files, units and links that depend on the channel's
//! versions, or are too long for a recipe.

pub(super) mod addons;
pub(super) mod containerd;
pub(super) mod control_plane;
pub(super) mod crio;
pub(super) mod etcd;
pub(super) mod gateway;
mod images;
pub(super) mod kube_proxy;
pub(super) mod kubeadm;
pub(super) mod kubelet;
mod manifest;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use super::{Entry, Owner, text};
use crate::common::value::TreePath;

/// The folder of templates that are filled with the cluster's values at boot, by group; part kubelet's `settings` does it.
const TEMPLATES: &str = "usr/share/kbake/templates";

/// A template, by its group and the path of the filled file.
fn template(path: &str, content: &str) -> Entry {
    text(&format!("{TEMPLATES}/{path}"), content.as_bytes())
}

/// A template of a file that only root may read, as kubeadm and hardening guides have it. There is no secret in it.
fn private_template(path: &str, content: &str) -> Entry {
    let path = TreePath::fixed(&format!("{TEMPLATES}/{path}"));
    Entry::File { path, mode: 0o600, owner: Owner::ROOT, bytes: content.as_bytes().to_vec() }
}

/// An executable text.
fn program(path: &str, content: &str) -> Entry {
    Entry::File { path: TreePath::fixed(path), mode: 0o755, owner: Owner::ROOT, bytes: content.as_bytes().to_vec() }
}
