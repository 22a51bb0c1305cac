//! A cluster's own settings of Kubernetes' programs, which are put over kbake's: `[kubernetes]` in the cluster file.
//!
//! Keys are those of the programs themselves: of their configuration files' types, or flags without the dashes. Which ones a version
//! has is not known here; which ones would break what kbake promises of a cluster is.

mod preset;
pub(super) mod promises;

use std::collections::BTreeMap;
use std::fmt;

pub use preset::{Preset, Probes};

use super::{Cluster, Node};
use crate::document::{Located, Table, Value};
use crate::error::Result;

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
    /// All of them, in the order in which they are shown.
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

/// The settings as they were written.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Values for a kind of hosts, below those that are given.
    pub preset: Option<Preset>,
    /// The values that are given for all nodes.
    pub given: BTreeMap<Component, Table>,
}

impl Cluster {
    /// The settings of a component on a node: the preset's, over them the cluster's, over them the node's. Tables are merged key by
    /// key; of anything else the last one counts.
    ///
    /// # Errors
    /// A preset that cannot be read, which is kbake's own mistake.
    pub fn settings_of(&self, component: Component, node: &Node) -> Result<Table> {
        let settings = &self.settings;
        let mut whole = settings.preset.map(|preset| preset.table(component)).transpose()?.unwrap_or_default();
        let own = (component == Component::Kubelet).then_some(&node.kubelet);
        for table in settings.given.get(&component).into_iter().chain(own) {
            merge(&mut whole, table);
        }
        Ok(whole)
    }

    /// All tables of settings that the file gives, each with its component and the name that it has there.
    pub fn given_settings(&self) -> impl Iterator<Item = (Component, String, &Table)> {
        let whole = self.settings.given.iter().map(|(component, table)| (*component, format!("[kubernetes.{component}]"), table));
        let own = self.nodes.iter().map(|node| (Component::Kubelet, format!("`kubelet` of node `{}`", node.name), &node.kubelet));
        whole.chain(own).filter(|(_, _, table)| !table.is_empty())
    }

    /// How long health is asked for in vain before a program counts as dead.
    pub fn probes(&self) -> Option<Probes> {
        self.settings.preset.map(Preset::probes)
    }
}

/// Puts `above` over `below`.
fn merge(below: &mut Table, above: &Table) {
    for (key, item) in above {
        match (below.get_mut(key).map(|item| &mut item.value), &item.value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            _ => _ = below.insert(key.clone(), item.clone()),
        }
    }
}

/// The value at a path of keys; none where a part of it is missing or no table.
fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Located<Value>> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    // Some of Kubernetes' readers take a key in any case.
    let (_, item) = table.iter().find(|(key, _)| key.eq_ignore_ascii_case(first))?;
    match (rest, &item.value) {
        (None, _) => Some(item),
        (Some(rest), Value::Table(table)) => at(table, rest),
        (Some(_), _) => None,
    }
}
