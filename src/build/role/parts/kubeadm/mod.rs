//! kubeadm as an alternative: its configuration and its requirements on a node.
//!
//! Nodes have certificates, kubeconfigs and a kubelet from their seed already, and kubeadm uses existing ones. So workers need
//! no `kubeadm join`, and etcd runs as a static pod of kbake's, which kubeadm's configuration names as an external one: only
//! the host holds the key of etcd's authority, without which kubeadm creates no member of its own.

mod config;

use crate::build::role::{Entry, Facts, text};
use crate::common::error::Result;

/// The part's files.
///
/// # Errors
/// A control plane without a container runtime.
pub(crate) fn entries(facts: &Facts) -> Result<Vec<Entry>> {
    let mut entries = vec![text("etc/systemd/system/kubelet.service.d/10-kubeadm.conf", include_bytes!("10-kubeadm.conf"))];
    // Among the roles with this part, only the control plane's has its image.
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
