//! A cluster's own settings of Kubernetes' programs, which override kbake's: `[kubernetes]` in the cluster file.
//!
//! Keys are the programs' own: fields of their configuration files, or flags without the dashes. This module does not know the
//! keys of each version; it knows which settings would break kbake's guarantees.

mod preset;
pub(super) mod restrictions;

use std::collections::BTreeMap;
use std::fmt;

pub(crate) use preset::{Preset, Probes};

use super::{Cluster, Node};
use crate::common::document::{Located, Table, Value};
use crate::common::error::Result;

/// A program of Kubernetes that has settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// Keys of its [KubeletConfiguration](https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/).
    Kubelet,
    /// [Flags](https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/).
    ApiServer,
    /// [Flags](https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/).
    ControllerManager,
    /// Keys of its [KubeSchedulerConfiguration](https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/).
    Scheduler,
    /// Keys of its [KubeProxyConfiguration](https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/).
    Proxy,
    /// [Flags](https://etcd.io/docs/v3.6/op-guide/configuration/).
    Etcd,
}

impl Component {
    /// All components, in display order.
    pub const ALL: [Component; 6] =
        [Component::Kubelet, Component::ApiServer, Component::ControllerManager, Component::Scheduler, Component::Proxy, Component::Etcd];

    /// Its table below `[kubernetes]`.
    pub fn as_str(self) -> &'static str {
        match self {
            Component::Kubelet => "kubelet",
            Component::ApiServer => "api-server",
            Component::ControllerManager => "controller-manager",
            Component::Scheduler => "scheduler",
            Component::Proxy => "proxy",
            Component::Etcd => "etcd",
        }
    }

    /// The program.
    pub fn program(self) -> &'static str {
        match self {
            Component::Kubelet => "kubelet",
            Component::ApiServer => "kube-apiserver",
            Component::ControllerManager => "kube-controller-manager",
            Component::Scheduler => "kube-scheduler",
            Component::Proxy => "kube-proxy",
            Component::Etcd => "etcd",
        }
    }

    /// True for flags, false for keys of a configuration file.
    pub fn has_flags(self) -> bool {
        matches!(self, Component::ApiServer | Component::ControllerManager | Component::Etcd)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The settings, as written.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Values for a kind of host; the values in `given` override them.
    pub preset: Option<Preset>,
    /// The values for all nodes.
    pub given: BTreeMap<Component, Table>,
}

impl Cluster {
    /// The settings of a component on a node: the preset's, overridden by the cluster's, overridden by the node's. Tables are
    /// merged key by key; any other value replaces the one below.
    ///
    /// # Errors
    /// An unreadable preset, which is a mistake in kbake.
    pub fn settings_of(&self, component: Component, node: &Node) -> Result<Table> {
        let settings = &self.settings;
        let mut whole = settings.preset.map(|preset| preset.table(component)).transpose()?.unwrap_or_default();
        let own = (component == Component::Kubelet).then_some(&node.kubelet);
        for table in settings.given.get(&component).into_iter().chain(own) {
            merge(&mut whole, table);
        }
        Ok(whole)
    }

    /// All tables of settings in the file, each with its component and its name in the file.
    pub fn given_settings(&self) -> impl Iterator<Item = (Component, String, &Table)> {
        let whole = self.settings.given.iter().map(|(component, table)| (*component, format!("[kubernetes.{component}]"), table));
        let own = self.nodes.iter().map(|node| (Component::Kubelet, format!("`kubelet` of node `{}`", node.name), &node.kubelet));
        whole.chain(own).filter(|(_, _, table)| !table.is_empty())
    }

    /// The health probes' thresholds, if a preset changes them.
    pub fn probes(&self) -> Option<Probes> {
        self.settings.preset.map(Preset::probes)
    }
}

/// Merges `above` into `below`, whose values it overrides.
fn merge(below: &mut Table, above: &Table) {
    for (key, item) in above {
        match (below.get_mut(key).map(|item| &mut item.value), &item.value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            _ => _ = below.insert(key.clone(), item.clone()),
        }
    }
}

/// The value at a path of keys; none if a part of it is missing or not a table.
fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Located<Value>> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    // Some of Kubernetes' readers ignore the case of a key.
    let (_, item) = table.iter().find(|(key, _)| key.eq_ignore_ascii_case(first))?;
    match (rest, &item.value) {
        (None, _) => Some(item),
        (Some(rest), Value::Table(table)) => at(table, rest),
        (Some(_), _) => None,
    }
}
