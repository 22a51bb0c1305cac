//! The parts of roles that kbake's own code renders, one module each: files, units and links that depend on what the
//! channel has, or are too long for a recipe.

pub(super) mod addons;
pub(super) mod containerd;
pub(super) mod control_plane;
pub(super) mod crio;
pub(super) mod etcd;
pub(super) mod gateway;
mod images;
#[cfg(test)]
pub(crate) mod judge;
pub(super) mod kube_proxy;
pub(super) mod kubeadm;
pub(super) mod kubelet;
mod manifest;
#[cfg(test)]
mod tests;

use super::{Entry, Owner, text};
use crate::value::TreePath;

/// Where files lie that the cluster's values are put into at boot, by group; `settings` of part kubelet does it.
const TEMPLATES: &str = "usr/share/kbake/templates";

/// A template, by its group and the path that it is for.
fn template(path: &str, content: &str) -> Entry {
    text(&format!("{TEMPLATES}/{path}"), content.as_bytes())
}

/// A template of a file that only root may read, as kubeadm and hardening guides have it. There is no secret in it.
fn private_template(path: &str, content: &str) -> Entry {
    let path = TreePath::fixed(&format!("{TEMPLATES}/{path}"));
    Entry::File { path, mode: 0o600, owner: Owner::ROOT, bytes: content.as_bytes().to_vec() }
}

/// A text that is run.
fn program(path: &str, content: &str) -> Entry {
    Entry::File { path: TreePath::fixed(path), mode: 0o755, owner: Owner::ROOT, bytes: content.as_bytes().to_vec() }
}
