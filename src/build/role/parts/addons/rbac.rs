//! Rights of people with the certificate `admin` in the cluster, and of the API server at kubelets.
//!
//! kube-proxy's identity has its rights by default: `system:node-proxier` is bound to `system:kube-proxy`.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use serde_json::Value;

use super::super::manifest::{meta, object};
use crate::common::error::Result;

/// The group of the certificate `admin`, and the name of its binding.
const ADMINS: &str = "kbake:cluster-admins";

pub(super) const ABOUT: &str = "Lets the API server into kubelets, for logs, exec and metrics. Its certificate has a name and no group.";

/// A comment in the manifest of the group for daily use.
pub(super) const ABOUT_ADMINS: &str =
    "Gives all rights to the group of the certificate `admin`, as long as this stands. It is made when it is not there,
and never changed: to take the rights away for good, remove the subjects and leave the binding.";

/// The binding of the group for daily use. The group `system:masters`, of the certificate `super-admin`, needs none and cannot
/// lose its rights.
pub(super) fn admins() -> Result<Vec<Value>> {
    let group = Subject {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: "Group".to_owned(),
        name: ADMINS.to_owned(),
        namespace: None,
    };
    let binding = ClusterRoleBinding { metadata: meta(ADMINS, &[]), role_ref: cluster_role("cluster-admin"), subjects: Some(vec![group]) };
    Ok(vec![object(&binding)?])
}

/// All objects.
pub(super) fn objects() -> Result<Vec<Value>> {
    // The name is that of the certificate `apiserver-kubelet-client`.
    let user = Subject {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: "User".to_owned(),
        name: "kube-apiserver-kubelet-client".to_owned(),
        namespace: None,
    };
    Ok(vec![object(&ClusterRoleBinding {
        metadata: meta("kbake:kube-apiserver-kubelet-client", &[]),
        role_ref: cluster_role("system:kubelet-api-admin"),
        subjects: Some(vec![user]),
    })?])
}

/// A reference to a role of the whole cluster.
pub(super) fn cluster_role(name: &str) -> RoleRef {
    RoleRef { api_group: "rbac.authorization.k8s.io".to_owned(), kind: "ClusterRole".to_owned(), name: name.to_owned() }
}

/// A service account as a subject.
pub(super) fn account(namespace: &str, name: &str) -> Subject {
    Subject { api_group: None, kind: "ServiceAccount".to_owned(), name: name.to_owned(), namespace: Some(namespace.to_owned()) }
}
