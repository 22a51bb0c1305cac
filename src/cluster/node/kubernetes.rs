//! Documents of Kubernetes with keys in them: kubeconfigs, and the encryption configuration of etcd's secrets.

use secrecy::SecretString;

use super::secret::{Secret, private_document};
use crate::common::yaml::Yaml;

/// A client of an API server: the contents of a [kubeconfig](https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The cluster's name, for users with more than one.
    pub cluster: &'a str,
    /// The user's name in the file. The API server reads it from the certificate.
    pub user: &'a str,
    /// The API server's URL.
    pub server: &'a str,
    /// The certificate of the authority that signed the server's, as PEM.
    pub authority: &'a str,
    /// The user's certificate as PEM.
    pub certificate: &'a str,
    /// The user's private key as PEM.
    pub key: &'a SecretString,
}

/// A kubeconfig with one context, which is the current one. Certificates and key are embedded, so that the file can be moved.
pub(crate) fn kubeconfig(caller: &Caller) -> SecretString {
    let context = format!("{}@{}", caller.user, caller.cluster);
    let cluster = vec![("certificate-authority-data", Yaml::Base64(caller.authority.as_bytes())), ("server", Yaml::text(caller.server))];
    let user = vec![
        ("client-certificate-data", Yaml::Base64(caller.certificate.as_bytes())),
        ("client-key-data", Yaml::Leaf(Secret::Base64(caller.key))),
    ];
    let named = |name: &str, key, value| Yaml::List(vec![Yaml::Map(vec![("name", Yaml::text(name)), (key, Yaml::Map(value))])]);
    let pair = vec![("cluster", Yaml::text(caller.cluster)), ("user", Yaml::text(caller.user))];
    let config = Yaml::Map(vec![
        ("apiVersion", Yaml::text("v1")),
        ("kind", Yaml::text("Config")),
        ("clusters", named(caller.cluster, "cluster", cluster)),
        ("contexts", named(&context, "context", pair)),
        ("current-context", Yaml::text(&context)),
        ("users", named(caller.user, "user", user)),
    ]);
    private_document("", &config)
}

/// The [EncryptionConfiguration](https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/) of the API server. `key`
/// is 32 bytes in base64.
///
/// `secretbox` is for writing; Kubernetes' own documentation calls `aescbc` weak. `identity` still reads secrets that were
/// written before there was a key.
pub(crate) fn encryption(key: &SecretString) -> SecretString {
    let keys = Yaml::List(vec![Yaml::Map(vec![("name", Yaml::text("key1")), ("secret", Yaml::Leaf(Secret::Text(key)))])]);
    let providers =
        vec![Yaml::Map(vec![("secretbox", Yaml::Map(vec![("keys", keys)]))]), Yaml::Map(vec![("identity", Yaml::Map(Vec::new()))])];
    let resources = Yaml::Map(vec![("resources", Yaml::texts(["secrets"])), ("providers", Yaml::List(providers))]);
    let config = Yaml::Map(vec![
        ("apiVersion", Yaml::text("apiserver.config.k8s.io/v1")),
        ("kind", Yaml::text("EncryptionConfiguration")),
        ("resources", Yaml::List(vec![resources])),
    ]);
    private_document("", &config)
}
