//! A member's settings for etcd 3.4 and newer, as the environment file that the image's unit reads. The door to version 2 of its API is
//! shut by default since 3.4, and gone since 3.6, which complains about a setting of it.

use std::net::Ipv4Addr;

use super::components::values;
use crate::cluster::{Cluster, Component, Node};
use crate::error::Result;

/// Where the unit looks for them. Without this file etcd is not started.
pub(super) const ETCD_ENV: &str = "/etc/etcd/etcd.env";

/// Where the seed of a node of role etcd puts the member's certificates and keys.
pub const ETCD_PKI: &str = "/etc/etcd/pki";

/// How large the database may grow before etcd refuses writes, in bytes: its own default, said aloud.
const QUOTA: u64 = 2 << 30;

/// What a member does that has no data yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdStart {
    /// It forms the cluster, together with the others of the file.
    New,
    /// It joins a cluster that runs, to which `etcdctl member add` has made it known.
    Join,
}

impl EtcdStart {
    /// What etcd calls it (`--initial-cluster-state`).
    pub(super) fn as_str(self) -> &'static str {
        match self {
            EtcdStart::New => "new",
            EtcdStart::Join => "existing",
        }
    }
}

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// Where clients reach the member at this address.
pub(super) fn client_url(address: Ipv4Addr) -> String {
    format!("https://{address}:{CLIENT_PORT}")
}

fn peer_url(member: &Node) -> String {
    format!("https://{}:{PEER_PORT}", member.address)
}

/// All members and where they reach each other (`--initial-cluster`).
pub(super) fn initial_cluster(cluster: &Cluster) -> String {
    cluster.etcd_members().map(|member| format!("{}={}", member.name, peer_url(member))).collect::<Vec<_>>().join(",")
}

/// Keeps the members of two clusters apart that meet on one network (`--initial-cluster-token`).
pub(super) fn token(cluster: &Cluster) -> String {
    format!("kbake-{}", cluster.name)
}

/// The environment file of a node of role etcd.
///
/// One line per setting, `NAME=value` with values of URL characters only, which systemd takes without quotes. Clients
/// and peers need a certificate of etcd's own authority; there is no listener without TLS but the one on loopback,
/// which tells health and metrics and takes no data.
pub fn etcd_env(cluster: &Cluster, node: &Node, start: EtcdStart) -> Result<String> {
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

/// The cluster file's own settings, which take the place of kbake's: flags, by the names of their variables.
fn own(cluster: &Cluster, node: &Node) -> Result<Vec<(String, String)>> {
    let table = cluster.settings_of(Component::Etcd, node)?;
    let name = |flag: &str| flag.to_ascii_uppercase().replace('-', "_");
    Ok(table
        .iter()
        .flat_map(|(flag, item)| values(Component::Etcd, &item.value).into_iter().map(move |value| (name(flag), value)))
        .collect())
}

/// A value of an `EnvironmentFile`, whatever is in it (systemd.exec(5)).
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

/// A trusted authority without `CLIENT_CERT_AUTH` would only offer to check; both are needed, for clients and peers.
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
