//! The network of `kbake qemu`, and with `--net user` the forwarded ports of the host.

use std::net::{Ipv4Addr, TcpListener};

use super::Session;
use super::args::{Net, Qemu};
use super::cluster::cluster_option;
use crate::cluster::host::{Forward, Link};
use crate::cluster::model::{Cluster, Node, Role};
use crate::common::error::{Class, Error, Result};

impl Session<'_> {
    /// The network link of a machine under plain QEMU.
    pub(super) fn link(&self, args: &Qemu, cluster: &Cluster, node: &Node) -> Result<Link> {
        if args.ports.is_some() && args.net != Net::User {
            return Err(Error::new(Class::Usage, "`--ports` needs `--net user`: other networks forward no ports of the host"));
        }
        Ok(match args.net {
            Net::Bridge => Link::Bridge,
            Net::Vmnet => Link::Vmnet,
            Net::Multicast => Link::Multicast,
            Net::User => {
                let forwards = Forward::from(args.ports.unwrap_or(Forward::FIRST), cluster, node)?;
                self.say_how_it_is_reached(args, cluster, node, &forwards)?;
                Link::User { forwards }
            }
        })
    }

    /// Warns of ports in use, with which QEMU would not start, and prints the API server's address.
    fn say_how_it_is_reached(&self, args: &Qemu, cluster: &Cluster, node: &Node, forwards: &[Forward]) -> Result<()> {
        let option = cluster_option(&args.machine.cluster);
        let taken: Vec<String> = forwards.iter().filter(|forward| !is_free(forward.host)).map(|forward| forward.host.to_string()).collect();
        if !taken.is_empty() {
            let what = if taken.len() == 1 { "port" } else { "ports" };
            let other = others(cluster, node)?.map_or_else(
                || "choose others with `--ports`".to_owned(),
                |first| format!("`kbake qemu {}{option} --net user --ports {first}` uses others", node.name),
            );
            self.shell.notice(&format!(
                "warning: {what} {} of 127.0.0.1 in use (by this machine, if it is running): QEMU will not start; {other}",
                taken.join(", ")
            ));
        }
        let api = cluster.api.as_ref().filter(|_| node.role == Role::ControlPlane);
        if let Some(forward) = forwards.iter().find(|forward| api.is_some_and(|api| api.port == forward.node)) {
            let server = format!("https://127.0.0.1:{}", forward.host);
            self.shell.notice(&format!(
                "note: its API server will be at {server}; `kbake kubeconfig{option} --server {server}` prints its kubeconfig"
            ));
        }
        Ok(())
    }
}

/// A first port with which all ports of the node are free.
fn others(cluster: &Cluster, node: &Node) -> Result<Option<u16>> {
    for first in (Forward::FIRST..=Forward::FIRST_MAX).step_by(100) {
        if Forward::from(first, cluster, node)?.iter().all(|forward| is_free(forward.host)) {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

/// True if the port can be bound.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
