//! The gateway's haproxy: it passes connections to the API through, without decrypting them, to a ready control-plane node.
//!
//! Made for haproxy 2.6, Debian 12's ([manual](https://docs.haproxy.org/2.6/configuration.html)). The image's haproxy starts
//! only if this file exists.

#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use super::NodeFile;
use crate::cluster::model::{Api, Cluster, Node, Role};

/// The path in Debian's unit.
const CONFIG: &str = "/etc/haproxy/haproxy.cfg";

/// The certificate of the authority that verifies the API servers' certificates.
pub(crate) const GATEWAY_CA: &str = "/etc/haproxy/ca.crt";

/// The part that does not depend on the cluster.
///
/// A client's connection stays open as long as it lives, with watches and `kubectl exec` on it: it may be silent for hours, and
/// keep-alive packets detect a dead peer. haproxy logs through /dev/log, which Debian's unit bind-mounts into its chroot.
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

/// Statistics for a person on the gateway itself, and for nobody else.
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

/// The configuration of `node`; none if it is not a gateway, or if there is nothing to balance.
pub(super) fn haproxy(cluster: &Cluster, node: &Node) -> Option<NodeFile<'static>> {
    let api = cluster.api.as_ref().filter(|_| is_balancer(cluster, node))?;
    let servers: String = cluster.with_role(Role::ControlPlane).map(|node| server(node, api)).collect();
    let balance = balance(listens_on(api, node), api);
    Some(NodeFile::public(CONFIG, format!("{COMMON}{balance}{servers}{STATS}")))
}

/// True if `node` balances connections to the API.
pub(crate) fn is_balancer(cluster: &Cluster, node: &Node) -> bool {
    node.role == Role::Gateway && cluster.with_role(Role::ControlPlane).next().is_some()
}

/// The API's virtual address or, if there is none, the gateway's own.
fn listens_on(api: &Api, node: &Node) -> Ipv4Addr {
    api.address.filter(|_| api.is_vip).unwrap_or(node.address)
}

/// Each node is probed for readiness over TLS (`/readyz` is open to everyone, [by RBAC's
/// defaults](https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles)) and must prove its name: another
/// server at its address does not count as ready. A node that goes down has its connections closed, so that clients reconnect
/// to another one instead of waiting for it.
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

/// haproxy compares `verifyhost` with a certificate's DNS names only, so it is the node's name, not its address.
fn server(node: &Node, api: &Api) -> String {
    format!("    server {name} {address}:{port} verifyhost {name}\n", name = node.name, address = node.address, port = api.port)
}
