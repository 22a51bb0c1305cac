//! Documents of Kubernetes with keys in them: kubeconfigs, and how secrets are encrypted in etcd.

use secrecy::SecretString;

use super::yaml::Yaml;

/// Who calls an API server, and where: the contents of a
/// [kubeconfig](https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/).
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The cluster's name, for people with more than one.
    pub cluster: &'a str,
    /// The user's name in the file. The API server takes it from the certificate.
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

/// A kubeconfig with one context, which is the current one. Certificates and key are in it, so that it can be moved.
pub fn kubeconfig(caller: &Caller) -> SecretString {
    let context = format!("{}@{}", caller.user, caller.cluster);
    let cluster = vec![("certificate-authority-data", Yaml::Base64(caller.authority.as_bytes())), ("server", Yaml::text(caller.server))];
    let user = vec![
        ("client-certificate-data", Yaml::Base64(caller.certificate.as_bytes())),
        ("client-key-data", Yaml::PrivateBase64(caller.key)),
    ];
    let named = |name: &str, key, value| Yaml::List(vec![Yaml::Map(vec![("name", Yaml::text(name)), (key, Yaml::Map(value))])]);
    let pair = vec![("cluster", Yaml::text(caller.cluster)), ("user", Yaml::text(caller.user))];
    Yaml::Map(vec![
        ("apiVersion", Yaml::text("v1")),
        ("kind", Yaml::text("Config")),
        ("clusters", named(caller.cluster, "cluster", cluster)),
        ("contexts", named(&context, "context", pair)),
        ("current-context", Yaml::text(&context)),
        ("users", named(caller.user, "user", user)),
    ])
    .private_document("")
}

/// The [EncryptionConfiguration](https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/) of the API
/// server. `key` is 32 bytes in base64.
///
/// `secretbox` writes; Kubernetes's own documentation calls `aescbc` weak. `identity` still reads what was written
/// before there was a key.
pub fn encryption(key: &SecretString) -> SecretString {
    let keys = Yaml::List(vec![Yaml::Map(vec![("name", Yaml::text("key1")), ("secret", Yaml::Private(key))])]);
    let providers =
        vec![Yaml::Map(vec![("secretbox", Yaml::Map(vec![("keys", keys)]))]), Yaml::Map(vec![("identity", Yaml::Map(Vec::new()))])];
    let resources = Yaml::Map(vec![("resources", Yaml::texts(["secrets"])), ("providers", Yaml::List(providers))]);
    Yaml::Map(vec![
        ("apiVersion", Yaml::text("apiserver.config.k8s.io/v1")),
        ("kind", Yaml::text("EncryptionConfiguration")),
        ("resources", Yaml::List(vec![resources])),
    ])
    .private_document("")
}
