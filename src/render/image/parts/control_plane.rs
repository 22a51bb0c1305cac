//! The control plane as static pods: manifests' templates, and the files that they mount.
//!
//! A manifest is the same on all control-plane nodes of all clusters. What is the node's own comes by the downward API,
//! what is the cluster's from the node's seed. A component whose container image the channel lacks has no manifest.

mod components;
mod etcd;
mod pod;

use crate::error::Result;
use crate::render::image::{Entry, Facts, Owner, text};
use crate::value::TreePath;

use super::manifest::{Group, object, template};

/// The part's files.
pub fn entries(facts: &Facts) -> Result<Vec<Entry>> {
    let mut entries = vec![
        text("etc/kubernetes/audit-policy.yaml", include_bytes!("control_plane/audit-policy.yaml")),
        text("etc/kubernetes/scheduler.yaml", include_bytes!("control_plane/scheduler.yaml")),
        // Who did what, and to which secret: for root only.
        Entry::Dir { path: TreePath::fixed("var/log/kubernetes"), mode: 0o700, owner: Owner::ROOT },
    ];
    for component in components::ALL {
        if let Some(image) = facts.image(component.name) {
            let pod = object(&(component.pod)(&image.to_string()))?;
            entries.push(template(Group::ControlPlane, &manifest_path(component.name), component.about, &[pod])?);
        }
    }
    entries.extend(stacked_etcd(facts)?);
    Ok(entries)
}

/// A member of etcd on each control-plane node, and its folder, if the role has etcd's image.
pub(super) fn stacked_etcd(facts: &Facts) -> Result<Vec<Entry>> {
    let Some(image) = facts.image("etcd") else { return Ok(Vec::new()) };
    let pod = object(&etcd::pod(&image.to_string(), facts.version("etcd")))?;
    Ok(vec![
        template(Group::StackedEtcd, &manifest_path("etcd"), etcd::ABOUT, &[pod])?,
        // The kubelet would make it, for everyone to look into.
        Entry::Dir { path: TreePath::fixed("var/lib/etcd"), mode: 0o700, owner: Owner::ROOT },
    ])
}

fn manifest_path(name: &str) -> String {
    format!("etc/kubernetes/manifests/{name}.yaml")
}

#[cfg(test)]
mod tests;
