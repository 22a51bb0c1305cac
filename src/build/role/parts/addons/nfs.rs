//! Volumes on an NFS export, provisioned on demand, and their class, which is the default.
//!
//! The [provisioner](https://github.com/kubernetes-sigs/nfs-subdir-external-provisioner) runs on a control-plane node,
//! whose image has it preloaded. The volumes are mounted by the node that runs the pod.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, NFSVolumeSource, Namespace, PodSpec, PodTemplateSpec, ResourceRequirements, ServiceAccount, Volume, VolumeMount,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::super::manifest::{default_seccomp, meta, meta_in, object, pairs, preloaded, quantities, selector, texts};
use super::coredns::on_the_control_plane;
use super::rbac::{account, cluster_role};
use crate::common::error::Result;

pub(super) const ABOUT: &str = "Makes a folder on the NFS export for each claimed volume. The storage class `nfs` is the default one.
A volume's folder goes with its claim.";

const NAME: &str = "nfs-provisioner";
const PROVISIONER: &str = "k8s-sigs.io/nfs-subdir-external-provisioner";
const LABELS: [(&str, &str); 1] = [("app.kubernetes.io/name", NAME)];

/// All objects.
pub(super) fn objects(image: &str) -> Result<Vec<Value>> {
    let account = || Some(vec![account(NAME, NAME)]);
    Ok(vec![
        object(&Namespace { metadata: meta(NAME, &LABELS), ..Namespace::default() })?,
        object(&ServiceAccount { metadata: named(), ..ServiceAccount::default() })?,
        object(&ClusterRole { metadata: meta(NAME, &LABELS), rules: Some(cluster_rules()), ..ClusterRole::default() })?,
        object(&ClusterRoleBinding { metadata: meta(NAME, &LABELS), role_ref: cluster_role(NAME), subjects: account() })?,
        object(&deployment(image))?,
        object(&class())?,
    ])
}

fn named() -> ObjectMeta {
    meta_in(NAME, NAME, &LABELS)
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
    PolicyRule { api_groups: texts(&[group]), resources: texts(resources), verbs, ..PolicyRule::default() }
}

fn cluster_rules() -> Vec<PolicyRule> {
    let see = ["get", "list", "watch"];
    vec![
        rule("", &["nodes"], &see),
        rule("", &["persistentvolumes"], &["get", "list", "watch", "create", "delete"]),
        rule("", &["persistentvolumeclaims"], &["get", "list", "watch", "update"]),
        rule("storage.k8s.io", &["storageclasses"], &see),
        rule("", &["events"], &["create", "update", "patch"]),
    ]
}

fn deployment(image: &str) -> Deployment {
    Deployment {
        metadata: named(),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: selector(&LABELS),
            strategy: Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: pairs(&LABELS), ..ObjectMeta::default() }),
                spec: Some(pod(image)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(image: &str) -> PodSpec {
    let export = NFSVolumeSource { server: "@NFS_SERVER@".to_owned(), path: "@NFS_PATH@".to_owned(), read_only: None };
    on_the_control_plane(PodSpec {
        containers: vec![container(image)],
        security_context: Some(default_seccomp()),
        service_account_name: Some(NAME.to_owned()),
        volumes: Some(vec![Volume { name: "export".to_owned(), nfs: Some(export), ..Volume::default() }]),
        ..PodSpec::default()
    })
}

fn container(image: &str) -> Container {
    let env = |(name, value): (&str, &str)| EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None };
    let settings = [
        ("PROVISIONER_NAME", PROVISIONER),
        ("NFS_SERVER", "@NFS_SERVER@"),
        ("NFS_PATH", "@NFS_PATH@"),
        // A single replica gains nothing from an election, and would end when it loses a lease.
        ("ENABLE_LEADER_ELECTION", "false"),
    ];
    Container {
        name: NAME.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: preloaded(),
        env: Some(settings.map(env).into()),
        resources: Some(ResourceRequirements {
            requests: quantities(&[("cpu", "10m"), ("memory", "32Mi")]),
            ..ResourceRequirements::default()
        }),
        // The provisioner's path for the export.
        volume_mounts: Some(vec![VolumeMount {
            name: "export".to_owned(),
            mount_path: "/persistentvolumes".to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn class() -> StorageClass {
    StorageClass {
        metadata: ObjectMeta { annotations: pairs(&[("storageclass.kubernetes.io/is-default-class", "true")]), ..meta("nfs", &LABELS) },
        provisioner: PROVISIONER.to_owned(),
        parameters: pairs(&[("archiveOnDelete", "false")]),
        ..StorageClass::default()
    }
}
