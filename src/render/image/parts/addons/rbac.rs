//! What the API server may do at kubelets.
//!
//! kube-proxy's identity has its rights by default: `system:node-proxier` is bound to `system:kube-proxy`.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use serde_json::Value;

use super::super::manifest::{meta, object};
use crate::error::Result;

pub(super) const ABOUT: &str = "Lets the API server into kubelets, for logs, exec and metrics. Its certificate has a name and no group.";

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
