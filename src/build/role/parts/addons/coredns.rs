//! CoreDNS, under the names that programs expect of a cluster's DNS: the service is called `kube-dns`.
//!
//! It runs on two nodes of any kind whose images have it preloaded: with both on the only control-plane node, no name would be
//! found while that one restarts.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, NodeAffinity, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SecurityContext, Service, ServiceAccount, ServicePort,
    ServiceSpec, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::super::manifest::{
    capabilities, default_seccomp, http_get, meta, meta_in, object, pairs, preloaded, quantities, selector, texts,
};
use super::rbac::{account, cluster_role};
use crate::common::error::{Error, Result};

pub(super) const ABOUT: &str =
    "The cluster's DNS: two CoreDNS on nodes that kbake-addons has labelled, on different ones where there are two that let it in.
Names outside of the cluster are asked for where the node asks.";

const NAMESPACE: &str = "kube-system";
const ROLE: &str = "system:coredns";
/// The label and the taint of a control-plane node, and a worker's label.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const WORKER: &str = "node-role.kubernetes.io/worker";
/// The labels by which the service finds its pods.
const LABELS: [(&str, &str); 1] = [("k8s-app", "kube-dns")];

/// All objects.
pub(super) fn objects(image: &str) -> Result<Vec<Value>> {
    let corefile = BTreeMap::from([("Corefile".to_owned(), include_str!("Corefile").to_owned())]);
    Ok(vec![
        object(&ServiceAccount { metadata: named("coredns"), ..ServiceAccount::default() })?,
        object(&ClusterRole { metadata: meta(ROLE, &[]), rules: Some(rules()), ..ClusterRole::default() })?,
        object(&ClusterRoleBinding {
            metadata: meta(ROLE, &[]),
            role_ref: cluster_role(ROLE),
            subjects: Some(vec![account(NAMESPACE, "coredns")]),
        })?,
        object(&ConfigMap { metadata: named("coredns"), data: Some(corefile), ..ConfigMap::default() })?,
        spread(object(&deployment(image))?)?,
        object(&service())?,
        object(&budget())?,
    ])
}

fn named(name: &str) -> ObjectMeta {
    meta_in(NAMESPACE, name, &LABELS)
}

/// The plugin `kubernetes` watches these. Pods are not among them, since `pods insecure` trusts the name.
fn rules() -> Vec<PolicyRule> {
    let rule = |group: &str, resources: &[&str]| PolicyRule {
        api_groups: texts(&[group]),
        resources: texts(resources),
        verbs: ["list", "watch"].map(str::to_owned).into(),
        ..PolicyRule::default()
    };
    vec![rule("", &["namespaces", "services"]), rule("discovery.k8s.io", &["endpointslices"])]
}

fn deployment(image: &str) -> Deployment {
    let one = || Some(IntOrString::Int(1));
    Deployment {
        metadata: named("coredns"),
        spec: Some(DeploymentSpec {
            replicas: Some(2),
            selector: selector(&LABELS),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment { max_unavailable: one(), max_surge: None }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: pairs(&LABELS), ..ObjectMeta::default() }),
                spec: Some(pod(image)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// Adds the number of nodes that it must run on, a placeholder. The type accepts numbers only.
fn spread(mut deployment: Value) -> Result<Value> {
    let constraint = deployment.pointer_mut("/spec/template/spec/topologySpreadConstraints/0");
    let constraint = constraint.ok_or_else(|| Error::internal("the DNS is not spread"))?;
    constraint["minDomains"] = Value::from("@DNS_NODES@");
    Ok(deployment)
}

/// Keeps to control-plane nodes.
pub(super) fn on_the_control_plane(pod: PodSpec) -> PodSpec {
    PodSpec { node_selector: pairs(&[("kubernetes.io/os", "linux"), (CONTROL_PLANE, "")]), ..bearing_the_control_plane(pod) }
}

/// Tolerates the control plane's taint.
fn bearing_the_control_plane(pod: PodSpec) -> PodSpec {
    let bears = |key: &str, effect: Option<&str>| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: effect.map(str::to_owned),
        ..Toleration::default()
    };
    PodSpec { tolerations: Some(vec![bears("CriticalAddonsOnly", None), bears(CONTROL_PLANE, Some("NoSchedule"))]), ..pod }
}

/// Nodes with the label of a role, which kbake's seeds make. Another node's image may lack CoreDNS.
fn on_labelled_nodes() -> Affinity {
    let has = |label: &str| NodeSelectorTerm {
        match_expressions: Some(vec![NodeSelectorRequirement {
            key: label.to_owned(),
            operator: "Exists".to_owned(),
            ..NodeSelectorRequirement::default()
        }]),
        ..NodeSelectorTerm::default()
    };
    let required = NodeSelector { node_selector_terms: vec![has(CONTROL_PLANE), has(WORKER)] };
    let node = NodeAffinity { required_during_scheduling_ignored_during_execution: Some(required), ..NodeAffinity::default() };
    Affinity { node_affinity: Some(node), ..Affinity::default() }
}

fn pod(image: &str) -> PodSpec {
    let spread = TopologySpreadConstraint {
        label_selector: Some(selector(&LABELS)),
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        // A new version may have a pod beside each old one.
        match_label_keys: texts(&["pod-template-hash"]),
        // Nodes whose taint excludes the pods do not count for the spread.
        node_taints_policy: Some("Honor".to_owned()),
        when_unsatisfiable: "DoNotSchedule".to_owned(),
        ..TopologySpreadConstraint::default()
    };
    let config = ConfigMapVolumeSource { name: "coredns".to_owned(), ..ConfigMapVolumeSource::default() };
    bearing_the_control_plane(PodSpec {
        affinity: Some(on_labelled_nodes()),
        containers: vec![container(image)],
        // It forwards to the node's name servers, not to itself.
        dns_policy: Some("Default".to_owned()),
        node_selector: pairs(&[("kubernetes.io/os", "linux")]),
        priority_class_name: Some("system-cluster-critical".to_owned()),
        security_context: Some(default_seccomp()),
        service_account_name: Some("coredns".to_owned()),
        topology_spread_constraints: Some(vec![spread]),
        volumes: Some(vec![Volume { name: "config".to_owned(), config_map: Some(config), ..Volume::default() }]),
        ..PodSpec::default()
    })
}

fn container(image: &str) -> Container {
    let port = |name: &str, number, protocol: &str| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some(protocol.to_owned()),
        ..ContainerPort::default()
    };
    let probe = |port, path| http_get("HTTP", None, IntOrString::Int(port), path);
    let seconds = |delay, timeout, failures, probe| Probe {
        initial_delay_seconds: delay,
        timeout_seconds: timeout,
        failure_threshold: failures,
        ..probe
    };
    Container {
        name: "coredns".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: preloaded(),
        args: texts(&["-conf", "/etc/coredns/Corefile"]),
        liveness_probe: Some(seconds(Some(60), Some(5), Some(5), probe(8080, "/health"))),
        readiness_probe: Some(probe(8181, "/ready")),
        ports: Some(vec![port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")]),
        resources: Some(ResourceRequirements {
            limits: quantities(&[("memory", "170Mi")]),
            requests: quantities(&[("cpu", "100m"), ("memory", "70Mi")]),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext { read_only_root_filesystem: Some(true), ..capabilities(&["NET_BIND_SERVICE"]) }),
        volume_mounts: Some(vec![VolumeMount {
            name: "config".to_owned(),
            mount_path: "/etc/coredns".to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn service() -> Service {
    let port = |name: &str, port, protocol: &str| ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(port)),
        ..ServicePort::default()
    };
    let labels = [LABELS[0], ("kubernetes.io/cluster-service", "true"), ("kubernetes.io/name", "CoreDNS")];
    let annotations = pairs(&[("prometheus.io/port", "9153"), ("prometheus.io/scrape", "true")]);
    Service {
        metadata: ObjectMeta { annotations, ..meta_in(NAMESPACE, "kube-dns", &labels) },
        spec: Some(ServiceSpec {
            cluster_ip: Some("@CLUSTER_DNS@".to_owned()),
            ports: Some(vec![port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")]),
            selector: pairs(&LABELS),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Limits a drain to one pod at a time.
fn budget() -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: named("coredns"),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(1)),
            selector: Some(selector(&LABELS)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
