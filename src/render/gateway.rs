//! The gateway's haproxy: connections to the API are passed on, unopened, to a control-plane node that is ready.
//!
//! Made for haproxy 2.6, Debian 12's ([manual](https://docs.haproxy.org/2.6/configuration.html)). The image's haproxy
//! starts only where this file is.

#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use super::NodeFile;
use crate::cluster::{Api, Cluster, Node, Role};

/// Where Debian's unit looks.
const CONFIG: &str = "/etc/haproxy/haproxy.cfg";

/// The certificate of the authority that the API servers' certificates are checked by.
pub const GATEWAY_CA: &str = "/etc/haproxy/ca.crt";

/// What does not depend on the cluster.
///
/// Each connection of a client is one for as long as it lives, with watches and `kubectl exec` on it: it may be silent
/// for hours, and keep-alive packets tell whether anybody is still there. haproxy logs through /dev/log, which Debian's
/// unit shows it in its own root.
const COMMON: &str = "\
# Written from the node's seed; read by haproxy.service.
global
    log /dev/log local0 info
    chroot /var/lib/haproxy
    user haproxy
    group haproxy
    maxconn 10000

defaults
    log global
    mode tcp
    option tcplog
    option dontlognull
    option clitcpka
    option srvtcpka
    option redispatch
    retries 3
    timeout connect 5s
    timeout check 15s
    timeout queue 30s
    timeout client 4h
    timeout server 4h
    timeout client-fin 1m
    timeout server-fin 1m
";

/// For a person on the gateway itself. It shows nothing to others.
const STATS: &str = "
listen stats
    bind 127.0.0.1:9000
    mode http
    timeout client 30s
    timeout server 30s
    stats enable
    stats uri /
    stats hide-version
";

/// The configuration of `node`; none when it is no gateway, or there is nothing to stand before.
pub(super) fn haproxy(cluster: &Cluster, node: &Node) -> Option<NodeFile<'static>> {
    let api = cluster.api.as_ref().filter(|_| is_balancer(cluster, node))?;
    let servers: String = cluster.with_role(Role::ControlPlane).map(|node| server(node, api)).collect();
    let balance = balance(listens_on(api, node), api);
    Some(NodeFile::public(CONFIG, format!("{COMMON}{balance}{servers}{STATS}")))
}

/// Whether `node` balances connections to the API.
pub fn is_balancer(cluster: &Cluster, node: &Node) -> bool {
    node.role == Role::Gateway && cluster.with_role(Role::ControlPlane).next().is_some()
}

/// The API's virtual address or, where there is none, the gateway's own.
fn listens_on(api: &Api, node: &Node) -> Ipv4Addr {
    api.address.filter(|_| api.is_vip).unwrap_or(node.address)
}

/// A node is asked whether it is ready (`/readyz` is open to all,
/// [by RBAC's defaults](https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles)), by TLS, and has
/// to prove its name: whatever else answers at its address is not ready. What leaves loses its connections, so that
/// clients come back to another one and do not wait for the dead.
fn balance(address: Ipv4Addr, api: &Api) -> String {
    format!(
        "
frontend api
    bind {address}:{port}
    default_backend control-planes

backend control-planes
    balance leastconn
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host {name}
    http-check expect status 200
    default-server inter 2s fastinter 1s downinter 2s fall 3 rise 2 on-marked-down shutdown-sessions
    default-server check check-ssl verify required ca-file {GATEWAY_CA}
",
        port = api.port,
        name = api.name,
    )
}

/// haproxy looks for `verifyhost` among a certificate's DNS names only, so it is the node's name, not its address.
fn server(node: &Node, api: &Api) -> String {
    format!("    server {name} {address}:{port} verifyhost {name}\n", name = node.name, address = node.address, port = api.port)
}
