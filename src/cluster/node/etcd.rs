//! A member's settings for etcd 3.4 and newer, as the environment file that the image's unit reads. Version 2 of etcd's API is
//! off by default since 3.4 and removed in 3.6, which warns about the setting.

use std::net::Ipv4Addr;

use super::components::values;
use crate::cluster::model::{Cluster, Component, Node};
use crate::common::error::Result;

/// The environment file of the unit. Without it etcd does not start.
pub(super) const ETCD_ENV: &str = "/etc/etcd/etcd.env";

/// The folder of the member's certificates and keys on a node of role etcd.
pub(crate) const ETCD_PKI: &str = "/etc/etcd/pki";

/// The size of the database from which on etcd refuses writes, in bytes: its own default, made explicit.
const QUOTA: u64 = 2 << 30;

/// The action of a member without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EtcdStart {
    /// It forms a new cluster with the other members of the file.
    New,
    /// It joins a running cluster, after `etcdctl member add`.
    Join,
}

impl EtcdStart {
    /// etcd's word for it (`--initial-cluster-state`).
    pub(super) fn as_str(self) -> &'static str {
        match self {
            EtcdStart::New => "new",
            EtcdStart::Join => "existing",
        }
    }
}

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// The member's URL for clients at this address.
pub(super) fn client_url(address: Ipv4Addr) -> String {
    format!("https://{address}:{CLIENT_PORT}")
}

fn peer_url(member: &Node) -> String {
    format!("https://{}:{PEER_PORT}", member.address)
}

/// All members with their peer URLs (`--initial-cluster`).
pub(super) fn initial_cluster(cluster: &Cluster) -> String {
    cluster.etcd_members().map(|member| format!("{}={}", member.name, peer_url(member))).collect::<Vec<_>>().join(",")
}

/// A token that keeps the members of two clusters on one network apart (`--initial-cluster-token`).
pub(super) fn token(cluster: &Cluster) -> String {
    format!("kbake-{}", cluster.name)
}

/// The environment file of a node of role etcd.
///
/// One line per setting, `NAME=value` with values of URL characters only, which systemd accepts without quotes. Clients and
/// peers need a certificate of etcd's own authority; the only listener without TLS is the one on loopback, which serves health
/// and metrics and accepts no data.
pub(crate) fn etcd_env(cluster: &Cluster, node: &Node, start: EtcdStart) -> Result<String> {
    let client = client_url(node.address);
    let mut settings = vec![
        ("NAME", node.name.to_string()),
        ("DATA_DIR", "/var/lib/etcd".to_owned()),
        ("LISTEN_CLIENT_URLS", format!("{client},{}", client_url(Ipv4Addr::LOCALHOST))),
        ("ADVERTISE_CLIENT_URLS", client),
        ("LISTEN_PEER_URLS", peer_url(node)),
        ("INITIAL_ADVERTISE_PEER_URLS", peer_url(node)),
        ("INITIAL_CLUSTER", initial_cluster(cluster)),
        ("INITIAL_CLUSTER_STATE", start.as_str().to_owned()),
        ("INITIAL_CLUSTER_TOKEN", token(cluster)),
        ("LISTEN_METRICS_URLS", "http://127.0.0.1:2381".to_owned()),
        ("AUTO_COMPACTION_MODE", "periodic".to_owned()),
        ("AUTO_COMPACTION_RETENTION", "1h".to_owned()),
        ("QUOTA_BACKEND_BYTES", QUOTA.to_string()),
        ("LOGGER", "zap".to_owned()),
        ("LOG_OUTPUTS", "stderr".to_owned()),
    ];
    settings.extend(tls());
    let own = own(cluster, node)?;
    let is_own = |name: &str| own.iter().any(|(known, _)| known == name);
    let mut text = "# Written from the node's seed; read by etcd.service.\n".to_owned();
    for (name, value) in settings.into_iter().filter(|(name, _)| !is_own(name)) {
        text.push_str(&format!("ETCD_{name}={value}\n"));
    }
    for (name, value) in own {
        text.push_str(&format!("ETCD_{name}={}\n", quoted(&value)));
    }
    Ok(text)
}

/// The cluster file's own settings, which override kbake's: flags, as names of environment variables.
fn own(cluster: &Cluster, node: &Node) -> Result<Vec<(String, String)>> {
    let table = cluster.settings_of(Component::Etcd, node)?;
    let name = |flag: &str| flag.to_ascii_uppercase().replace('-', "_");
    Ok(table
        .iter()
        .flat_map(|(flag, item)| values(Component::Etcd, &item.value).into_iter().map(move |value| (name(flag), value)))
        .collect())
}

/// A value of an `EnvironmentFile`, with any content (systemd.exec(5)).
fn quoted(value: &str) -> String {
    let is_plain = !value.is_empty() && value.bytes().all(|c| c.is_ascii_alphanumeric() || b"._:/,=@+-".contains(&c));
    if is_plain {
        return value.to_owned();
    }
    let escape = |c| match c {
        '"' | '\\' | '`' | '$' => format!("\\{c}"),
        c => c.to_string(),
    };
    format!("\"{}\"", value.chars().map(escape).collect::<String>())
}

/// TLS settings. A trusted authority without `CLIENT_CERT_AUTH` would leave client certificates optional; clients and peers
/// need both.
fn tls() -> [(&'static str, String); 8] {
    let file = |name: &str| format!("{ETCD_PKI}/{name}");
    [
        ("CERT_FILE", file("server.crt")),
        ("KEY_FILE", file("server.key")),
        ("TRUSTED_CA_FILE", file("ca.crt")),
        ("CLIENT_CERT_AUTH", "true".to_owned()),
        ("PEER_CERT_FILE", file("peer.crt")),
        ("PEER_KEY_FILE", file("peer.key")),
        ("PEER_TRUSTED_CA_FILE", file("ca.crt")),
        ("PEER_CLIENT_CERT_AUTH", "true".to_owned()),
    ]
}
