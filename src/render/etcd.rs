//! A node's settings for etcd 3.4, as the environment file that the image's unit reads.

use std::net::IpAddr;

use crate::cluster::{Addressing, EtcdListen, LoneNode};

/// Where the unit looks for them. Without this file etcd is not started.
pub(super) const ETCD_ENV: &str = "/etc/etcd/etcd.env";

/// How large the database may grow before etcd refuses writes, in bytes: its own default, said aloud.
const QUOTA: u64 = 2 << 30;

/// The environment file; none for a node without etcd.
///
/// One line per setting, `NAME=value` with values of URL characters only, which systemd takes without quotes.
pub fn etcd_env(node: &LoneNode) -> Option<String> {
    let etcd = node.etcd.as_ref()?;
    let name = &node.name;
    let (listen, advertise) = match etcd.listen {
        EtcdListen::Loopback => ("http://127.0.0.1:2379", "http://127.0.0.1:2379".to_owned()),
        EtcdListen::All => (listen_all(node), format!("http://{}:2379", reached_as(node))),
    };
    // A single member talks to no peer: nobody else needs to reach its peer port.
    let peer = "http://127.0.0.1:2380";
    let settings = [
        ("NAME", name.to_string()),
        ("DATA_DIR", "/var/lib/etcd".to_owned()),
        ("LISTEN_CLIENT_URLS", listen.to_owned()),
        ("ADVERTISE_CLIENT_URLS", advertise),
        ("LISTEN_PEER_URLS", peer.to_owned()),
        ("INITIAL_ADVERTISE_PEER_URLS", peer.to_owned()),
        ("INITIAL_CLUSTER", format!("{name}={peer}")),
        ("INITIAL_CLUSTER_STATE", "new".to_owned()),
        ("INITIAL_CLUSTER_TOKEN", format!("kbake-{name}")),
        // Health and metrics for whoever is on the machine; this port has no TLS even when clients have.
        ("LISTEN_METRICS_URLS", "http://127.0.0.1:2381".to_owned()),
        // Kubernetes speaks version 3 only; version 2 would be a second, unguarded door.
        ("ENABLE_V2", "false".to_owned()),
        ("AUTO_COMPACTION_MODE", "periodic".to_owned()),
        ("AUTO_COMPACTION_RETENTION", "1h".to_owned()),
        ("QUOTA_BACKEND_BYTES", QUOTA.to_string()),
        ("LOGGER", "zap".to_owned()),
        ("LOG_OUTPUTS", "stderr".to_owned()),
    ];
    let mut text = "# Written from the node's seed; read by etcd.service.\n".to_owned();
    for (name, value) in settings {
        text.push_str(&format!("ETCD_{name}={value}\n"));
    }
    Some(text)
}

/// etcd listens on addresses, not on names. Go serves IPv4 only on `0.0.0.0`, and needs IPv6 in the kernel for `::`.
fn listen_all(node: &LoneNode) -> &'static str {
    match &node.network {
        Addressing::Static(network) if network.address().address().is_ipv6() => "http://[::]:2379",
        _ => "http://0.0.0.0:2379",
    }
}

/// What others reach the node by: its address if it is known, else its name.
fn reached_as(node: &LoneNode) -> String {
    match &node.network {
        Addressing::Dhcp => node.fqdn(),
        Addressing::Static(network) => match network.address().address() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        },
    }
}
