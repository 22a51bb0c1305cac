//! How the host reaches a machine that has QEMU's own network: its ports, and the API server behind one of them.

use std::net::{Ipv4Addr, TcpListener};
use std::str::FromStr;

use super::Session;
use super::args::{Kubeconfig, Net, Qemu};
use super::host::cluster_option;
use crate::cluster::{Cluster, Node, Role};
use crate::error::{Class, Error, Result};
use crate::pki::{Name, Purpose, wanted};
use crate::render::host::{Forward, Link};

/// The URL of an API server: `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    text: String,
    host: String,
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || Err("it must be https://HOST:PORT, as https://127.0.0.1:26000".to_owned());
        let text = text.strip_suffix('/').unwrap_or(text);
        let Some(rest) = text.strip_prefix("https://") else { return refused() };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        let is_port = |port: &str| port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
        let is_host = !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || b".-".contains(&c));
        match is_host && port.is_none_or(is_port) {
            true => Ok(ServerUrl { text: text.to_owned(), host: host.to_ascii_lowercase() }),
            false => refused(),
        }
    }
}

impl Session<'_> {
    /// How a machine under plain QEMU reaches the others and is reached.
    pub fn link(&self, args: &Qemu, cluster: &Cluster, node: &Node) -> Result<Link> {
        if args.ports.is_some() && args.net != Net::User {
            return Err(Error::new(
                Class::Usage,
                "`--ports` goes with `--net user`: with other networks no port of the host leads to a node",
            ));
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

    /// Which ports somebody has already, for QEMU would end; and where the API server will be.
    fn say_how_it_is_reached(&self, args: &Qemu, cluster: &Cluster, node: &Node, forwards: &[Forward]) -> Result<()> {
        let option = cluster_option(&args.machine.cluster);
        let taken: Vec<String> = forwards.iter().filter(|forward| !is_free(forward.host)).map(|forward| forward.host.to_string()).collect();
        if !taken.is_empty() {
            let what = if taken.len() == 1 { "port" } else { "ports" };
            let other = others(cluster, node)?.map_or_else(
                || "`--ports` takes others".to_owned(),
                |first| format!("`kbake qemu {}{option} --net user --ports {first}` takes others", node.name),
            );
            self.shell.notice(&format!(
                "warning: {what} {} of 127.0.0.1 cannot be listened on, by this machine if it runs already: QEMU will not start; {other}",
                taken.join(", ")
            ));
        }
        let api = cluster.api.as_ref().filter(|_| node.role == Role::ControlPlane);
        if let Some(forward) = forwards.iter().find(|forward| api.is_some_and(|api| api.port == forward.node)) {
            let server = format!("https://127.0.0.1:{}", forward.host);
            self.shell.notice(&format!("note: its API server is at {server}; `kbake kubeconfig{option} --server {server}` is for it"));
        }
        Ok(())
    }

    /// The URL at which the kubeconfig finds the API server: the one that the cluster's nodes use, or the one that the user gives.
    pub fn server(&self, args: &Kubeconfig, cluster: &Cluster) -> Result<String> {
        let Some(own) = cluster.api_url() else {
            return Err(Error::user(format!("{} has no API server to talk to", cluster.file))
                .hint("a kubeconfig is for clusters with a node of role control-plane, or with [api]"));
        };
        let Some(given) = &args.server else { return Ok(own) };
        let servers = wanted(cluster).into_iter().filter(|wanted| matches!(wanted.name, Name::Node(_, Purpose::Apiserver)));
        let mut names: Vec<String> = Vec::new();
        for server in servers {
            names.extend(server.dns);
            names.extend(server.addresses.iter().map(ToString::to_string));
        }
        // Without a control plane in the file, its certificates are made elsewhere.
        match names.is_empty() || names.contains(&given.host) {
            true => Ok(given.text.clone()),
            false => Err(Error::user(format!("no API server's certificate answers for {}, so nobody would believe it there", given.host))
                .hint(format!("add it to `sans` in [api] of {}; `kbake pki show` then says what to renew", cluster.file))),
        }
    }
}

/// A first port whose ports of the node are all free.
fn others(cluster: &Cluster, node: &Node) -> Result<Option<u16>> {
    for first in (Forward::FIRST..=Forward::FIRST_MAX).step_by(100) {
        if Forward::from(first, cluster, node)?.iter().all(|forward| is_free(forward.host)) {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

/// Asked of the kernel: nobody else knows.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_host_and_a_port() {
        for good in ["https://127.0.0.1:26000", "https://api.example.test", "https://API.example.test:443/"] {
            let url: ServerUrl = good.parse().unwrap();
            assert!(good.starts_with(&url.text) && !url.text.ends_with('/'), "{good}");
            assert_eq!(url.host, url.host.to_lowercase());
        }
        for bad in [
            "",
            "127.0.0.1:26000",
            "http://127.0.0.1",
            "https://",
            "https://a:0",
            "https://a:99999",
            "https://a/b",
            "https://u@a",
            "https://[::1]:1",
        ] {
            assert!(bad.parse::<ServerUrl>().is_err(), "{bad}");
        }
    }
}
