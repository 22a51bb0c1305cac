//! For those who want kubeadm to do the rest: its configuration and what it expects of a node.
//!
//! Nodes have certificates, kubeconfigs and a kubelet from their seed already, and kubeadm takes what it finds. So workers
//! need no `kubeadm join`, and etcd runs as a static pod of kbake's, which kubeadm is told of as of one elsewhere: nobody
//! but the host holds the key of etcd's authority, without which kubeadm makes no member of its own.

mod config;

use crate::error::Result;
use crate::render::image::{Entry, Facts, text};

/// The part's files.
///
/// # Errors
/// A control plane without a container runtime.
pub fn entries(facts: &Facts) -> Result<Vec<Entry>> {
    let mut entries = vec![text("etc/systemd/system/kubelet.service.d/10-kubeadm.conf", include_bytes!("kubeadm/10-kubeadm.conf"))];
    // Of the roles with this part, the control plane's has its image.
    if facts.image("kube-apiserver").is_some() {
        entries.push(super::template("kubeadm/etc/kubernetes/kubeadm.yaml", &config::text(facts)?));
        entries.push(super::template("kubeadm/etc/kubernetes/scheduler.yaml", super::control_plane::SCHEDULER));
        entries.extend(super::addons::rbac()?);
        entries.extend(super::control_plane::stacked_etcd(facts)?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
