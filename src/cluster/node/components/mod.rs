//! A cluster's own settings of Kubernetes' programs, in the formats that nodes read.
//!
//! The kubelet reads a drop-in beside its configuration. For all other programs the image's `/usr/lib/kbake/settings` merges
//! the settings into its templates: lines of tab-separated fields, `PROGRAM flag NAME VALUE` or `PROGRAM key KEY KEY VALUE`,
//! with values in JSON, which is valid YAML. The second key is `-` where the value belongs to the first.

#[cfg(test)]
mod tests;

use serde_json::{Map, Number, Value as Json};

use super::NodeFile;
use crate::cluster::model::{Cluster, Component, Node, ProxyMode, Role};
use crate::common::document::{Table, Value};
use crate::common::error::{Error, Result};
use crate::common::yaml::Yaml;

/// The settings' file. The image's `settings` reads it if cluster.env says so.
const COMPONENTS: &str = "/etc/kubernetes/components.conf";
/// The folder of the kubelet's drop-ins, whose names end in `.conf`.
pub(super) const KUBELET_FOLDER: &str = "/etc/kubernetes/kubelet.conf.d";

/// The files of a node with a kubelet.
pub(super) fn files(cluster: &Cluster, node: &Node) -> Result<Vec<NodeFile<'static>>> {
    let mut files = Vec::new();
    if let Some(text) = kubelet(cluster, node)? {
        files.push(NodeFile::public(format!("{KUBELET_FOLDER}/50-kbake.conf"), text));
    }
    files.extend(components(cluster, node)?.map(|text| NodeFile::public(COMPONENTS, text)));
    Ok(files)
}

/// The drop-in of the kubelet; none without settings.
pub(super) fn kubelet(cluster: &Cluster, node: &Node) -> Result<Option<String>> {
    let table = cluster.settings_of(Component::Kubelet, node)?;
    if table.is_empty() {
        return Ok(None);
    }
    let mut pairs = vec![
        ("apiVersion".to_owned(), Yaml::text("kubelet.config.k8s.io/v1beta1")),
        ("kind".to_owned(), Yaml::text("KubeletConfiguration")),
    ];
    pairs.extend(table.iter().map(|(key, item)| (key.clone(), yaml(&item.value))));
    Ok(Some(format!("# Written from the node's seed: settings over those of the image.\n{}", Yaml::Object(pairs).document())))
}

/// The lines for the image's templates; none without settings.
pub(super) fn components(cluster: &Cluster, node: &Node) -> Result<Option<String>> {
    let mut text = String::new();
    for component in read_by(cluster, node) {
        let table = cluster.settings_of(component, node)?;
        for fields in if component.has_flags() { flags(component, &table)? } else { keys(&table)? } {
            text.push_str(&format!("{}\t{}\n", component.program(), fields.join("\t")));
        }
    }
    Ok((!text.is_empty()).then(|| format!("# Written from the node's seed: settings over those of the image's templates.\n{text}")))
}

/// The programs of a node that are set by templates.
fn read_by(cluster: &Cluster, node: &Node) -> Vec<Component> {
    let mut found = Vec::new();
    if node.role == Role::ControlPlane {
        found.extend([Component::ApiServer, Component::ControllerManager, Component::Scheduler]);
        found.extend(cluster.is_etcd_member(node).then_some(Component::Etcd));
    }
    found.extend((cluster.services.proxy != ProxyMode::None).then_some(Component::Proxy));
    found
}

/// Flags with their values, one line per value.
fn flags(component: Component, table: &Table) -> Result<Vec<Vec<String>>> {
    let mut lines = Vec::new();
    for (name, item) in table {
        for value in values(component, &item.value) {
            // The kubelet would expand `$(NAME)` as a variable of the pod's.
            let quoted = json_text(&Json::String(value.replace('$', "$$")))?;
            lines.push(vec!["flag".to_owned(), name.clone(), quoted]);
        }
    }
    Ok(lines)
}

/// The values of a flag, one for each occurrence. etcd keeps only a flag's last occurrence and separates lists by commas; the
/// other programs accumulate occurrences.
pub(super) fn values(component: Component, value: &Value) -> Vec<String> {
    match value {
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| item.value.to_string()).collect();
            if component == Component::Etcd || items.is_empty() { vec![items.join(",")] } else { items }
        }
        Value::Table(table) => {
            let pairs: Vec<String> = table.iter().map(|(key, item)| format!("{key}={}", item.value)).collect();
            vec![pairs.join(",")]
        }
        other => vec![other.to_string()],
    }
}

/// Keys of a configuration. Tables are split into their keys, so that the template's other keys stay.
fn keys(table: &Table) -> Result<Vec<Vec<String>>> {
    let mut lines = Vec::new();
    let is_plain = |key: &String| !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric());
    for (key, item) in table {
        match &item.value {
            Value::Table(below) if !below.is_empty() && below.keys().all(is_plain) => {
                for (second, item) in below {
                    lines.push(vec!["key".to_owned(), key.clone(), second.clone(), json_text(&json(&item.value)?)?]);
                }
            }
            value => lines.push(vec!["key".to_owned(), key.clone(), "-".to_owned(), json_text(&json(value)?)?]),
        }
    }
    Ok(lines)
}

/// Settings as JSON.
///
/// # Errors
/// A number that JSON cannot represent.
pub(crate) fn settings_json(table: &Table) -> Result<Json> {
    json(&Value::Table(table.clone()))
}

fn json_text(value: &Json) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal(format!("cannot write a setting: {e}")))
}

fn json(value: &Value) -> Result<Json> {
    Ok(match value {
        Value::Text(text) => Json::String(text.clone()),
        Value::Number(number) => {
            let number: Option<Number> = number.parse().ok();
            Json::Number(number.ok_or_else(|| Error::internal("a setting is not a JSON number"))?)
        }
        Value::Flag(value) => Json::Bool(*value),
        Value::List(items) => Json::Array(items.iter().map(|item| json(&item.value)).collect::<Result<_>>()?),
        Value::Table(table) => {
            Json::Object(table.iter().map(|(key, item)| Ok((key.clone(), json(&item.value)?))).collect::<Result<Map<_, _>>>()?)
        }
    })
}

fn yaml(value: &Value) -> Yaml<'static> {
    match value {
        Value::Text(text) => Yaml::text(text),
        Value::Number(number) => Yaml::Number(number.clone()),
        Value::Flag(value) => Yaml::Bool(*value),
        Value::List(items) => Yaml::List(items.iter().map(|item| yaml(&item.value)).collect()),
        Value::Table(table) => Yaml::Object(table.iter().map(|(key, item)| (key.clone(), yaml(&item.value))).collect()),
    }
}
