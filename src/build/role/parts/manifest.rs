//! Objects of Kubernetes' API, as types, and their templates.
//!
//! The types are those of the oldest version in any channel: a field that it lacks does not compile. Keys are sorted, as in
//! `kubectl`'s output.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Capabilities, HTTPGetAction, PodSecurityContext, Probe, SeccompProfile, SecurityContext};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use serde_json::Value;

use crate::common::error::{Error, Result};
use crate::common::yaml::Yaml;

/// Placeholders for numbers, booleans and lists: quoted, as texts are, they would become texts.
const NO_TEXTS: [(&str, &str); 7] = [
    ("@API_PORT@", "@API_PORT@"),
    ("@DNS_NODES@", "@DNS_NODES@"),
    ("@ETCD_SERVERS@", "[@ETCD_SERVERS@]"),
    ("@LIVENESS_FAILURES@", "@LIVENESS_FAILURES@"),
    ("@PROXY_DISABLED@", "@PROXY_DISABLED@"),
    ("@PROBE_TIMEOUT@", "@PROBE_TIMEOUT@"),
    ("@STARTUP_FAILURES@", "@STARTUP_FAILURES@"),
];

/// Documents of one file. `about` is a comment for people, of one or more lines.
pub(super) fn documents(about: &str, documents: &[Value]) -> Result<String> {
    let mut text: String = about.lines().map(|line| format!("# {line}\n")).collect();
    for (place, document) in documents.iter().enumerate() {
        text.push_str(if place == 0 { "" } else { "---\n" });
        text.push_str(&yaml(document)?.document());
    }
    Ok(text)
}

/// An object as a value, with `apiVersion` and `kind`.
pub(super) fn object(object: &impl Serialize) -> Result<Value> {
    serde_json::to_value(object).map_err(|e| Error::internal(format!("cannot write a Kubernetes object: {e}")))
}

fn yaml(value: &Value) -> Result<Yaml<'static>> {
    Ok(match value {
        Value::Bool(value) => Yaml::Bool(*value),
        Value::Number(number) => {
            let small = number.as_u64().and_then(|number| u32::try_from(number).ok());
            Yaml::Int(small.ok_or_else(|| Error::internal(format!("a Kubernetes object has the number {number}")))?)
        }
        Value::String(text) => match NO_TEXTS.iter().find(|(known, _)| known == text) {
            Some((_, plain)) => Yaml::Plain(plain),
            None => Yaml::text(text),
        },
        Value::Array(items) => Yaml::List(items.iter().map(yaml).collect::<Result<_>>()?),
        Value::Object(pairs) => Yaml::Object(pairs.iter().map(|(key, value)| Ok((key.clone(), yaml(value)?))).collect::<Result<_>>()?),
        Value::Null => return Err(Error::internal("a Kubernetes object has a null")),
    })
}

/// Name, and labels.
pub(super) fn meta(name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), labels: pairs(labels), ..ObjectMeta::default() }
}

/// Name, namespace, and labels.
pub(super) fn meta_in(namespace: &str, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.to_owned()), ..meta(name, labels) }
}

/// Labels or annotations; none if the list is empty.
pub(super) fn pairs(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    let pairs: BTreeMap<String, String> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    (!pairs.is_empty()).then_some(pairs)
}

/// A selector of objects with these labels.
pub(super) fn selector(labels: &[(&str, &str)]) -> LabelSelector {
    LabelSelector { match_labels: pairs(labels), ..LabelSelector::default() }
}

/// Amounts of resources, by name.
pub(super) fn quantities(amounts: &[(&str, &str)]) -> Option<BTreeMap<String, Quantity>> {
    Some(amounts.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect())
}

/// Texts in the form of the types' fields.
pub(super) fn texts(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

/// The pull policy of preloaded images: they are never pulled, since a registry may have another image of that name than the
/// lockfile. A pod that starts before its image is there is tried again every ten seconds.
pub(super) fn preloaded() -> Option<String> {
    Some("Never".to_owned())
}

/// An HTTP probe, without thresholds.
pub(super) fn http_get(scheme: &str, host: Option<&str>, port: IntOrString, path: &str) -> Probe {
    let http_get = HTTPGetAction {
        host: host.map(str::to_owned),
        path: Some(path.to_owned()),
        port,
        scheme: Some(scheme.to_owned()),
        http_headers: None,
    };
    Probe { http_get: Some(http_get), ..Probe::default() }
}

/// The runtime's default seccomp profile, which a static pod gets only on request.
pub(super) fn default_seccomp() -> PodSecurityContext {
    let profile = SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None };
    PodSecurityContext { seccomp_profile: Some(profile), ..PodSecurityContext::default() }
}

/// Only the named capabilities, and no way to gain more.
pub(super) fn capabilities(kept: &[&str]) -> SecurityContext {
    let add = if kept.is_empty() { None } else { texts(kept) };
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add, drop: texts(&["ALL"]) }),
        ..SecurityContext::default()
    }
}
