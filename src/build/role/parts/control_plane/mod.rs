//! The control plane as static pods: templates of manifests, and the files that they mount.
//!
//! A manifest is the same on all control-plane nodes of all clusters. The node's values come from the downward API, the
//! cluster's from the node's seed. A component whose container image the channel lacks has no manifest.

pub(super) mod components;
mod etcd;
mod pod;

use serde_json::Value;

use crate::build::role::{Entry, Facts, Owner, text};
use crate::common::error::Result;
use crate::common::value::TreePath;

use super::manifest::{documents, object};
use super::{private_template, template};

/// The scheduler's configuration, for kbake's and kubeadm's control planes.
pub(super) const SCHEDULER: &str = include_str!("scheduler.yaml");

/// The part's files.
pub(crate) fn entries(facts: &Facts) -> Result<Vec<Entry>> {
    let mut entries = vec![
        text("etc/kubernetes/audit-policy.yaml", include_bytes!("audit-policy.yaml")),
        template("control-plane/etc/kubernetes/scheduler.yaml", SCHEDULER),
        // Audit logs: who did what, and to which secret. For root only.
        Entry::Dir { path: TreePath::fixed("var/log/kubernetes"), mode: 0o700, owner: Owner::ROOT },
        text("etc/systemd/system/system.slice.d/50-kbake.conf", include_bytes!("system-slice.conf")),
    ];
    for component in components::ALL {
        if let Some(image) = facts.image(component.name) {
            let pod = with_patience(object(&(component.pod)(&image.to_string()))?);
            entries.push(manifest("control-plane", component.name, &documents(component.about, &[pod])?));
        }
    }
    entries.extend(stacked_etcd(facts)?);
    Ok(entries)
}

/// A member of etcd on each control-plane node, and its folder, if the role has etcd's image.
pub(super) fn stacked_etcd(facts: &Facts) -> Result<Vec<Entry>> {
    let Some(image) = facts.image("etcd") else { return Ok(Vec::new()) };
    let pod = with_patience(object(&etcd::pod(image))?);
    Ok(vec![
        manifest("stacked-etcd", "etcd", &documents(etcd::ABOUT, &[pod])?),
        // The kubelet would create it world-readable.
        Entry::Dir { path: TreePath::fixed("var/lib/etcd"), mode: 0o700, owner: Owner::ROOT },
    ])
}

/// Thresholds of a pod's probes that a cluster may set, and the keys of its settings.
const PATIENCE: [(&str, &str); 5] = [
    ("/spec/containers/0/startupProbe/failureThreshold", "@STARTUP_FAILURES@"),
    ("/spec/containers/0/startupProbe/timeoutSeconds", "@PROBE_TIMEOUT@"),
    ("/spec/containers/0/livenessProbe/failureThreshold", "@LIVENESS_FAILURES@"),
    ("/spec/containers/0/livenessProbe/timeoutSeconds", "@PROBE_TIMEOUT@"),
    ("/spec/containers/0/readinessProbe/timeoutSeconds", "@PROBE_TIMEOUT@"),
];

/// The pod with placeholders for its probes' thresholds, which the node fills in.
fn with_patience(mut pod: Value) -> Value {
    for (place, key) in PATIENCE {
        if let Some(number) = pod.pointer_mut(place) {
            *number = Value::from(key);
        }
    }
    pod
}

/// The template of a static pod's manifest.
fn manifest(group: &str, name: &str, content: &str) -> Entry {
    private_template(&format!("{group}/etc/kubernetes/manifests/{name}.yaml"), content)
}

#[cfg(test)]
mod tests;
