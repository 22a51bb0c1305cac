//! The site of the nodes: time servers, web proxy, registry mirrors, certificate authorities.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::Domain;
use crate::common::value::shown_as_text;

/// The nodes' site settings; empty if nodes need none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// Time servers instead of the image's own.
    pub ntp: Vec<HostRef>,
    /// The web proxy for programs that pull container images.
    pub proxy: Option<Proxy>,
    /// Mirrors of registries, in the order of the file.
    pub mirrors: Vec<Mirror>,
    /// Files with certificate authorities that nodes trust, relative to the cluster file.
    pub authorities: Vec<String>,
}

/// A machine by its name or address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostRef {
    /// A DNS name.
    Name(Domain),
    /// An address.
    Address(Ipv4Addr),
}

/// HTTP proxies by scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// For `http:` addresses.
    pub http: Option<WebUrl>,
    /// For `https:` addresses.
    pub https: Option<WebUrl>,
    /// Hosts that are reached directly, in addition to the cluster's own.
    pub direct: Vec<Direct>,
}

/// A registry and the mirrors to ask first for its container images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The registry, as in image names.
    pub registry: Registry,
    /// Its mirrors, in the order in which they are asked.
    pub urls: Vec<WebUrl>,
}

/// A registry's name: `HOST` or `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registry(String);

/// An address `SCHEME://HOST[:PORT][/PATH]` without login, query and final `/`, of characters without a meaning to shells,
/// systemd and TOML.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WebUrl(String);

/// An entry of `NO_PROXY` as Go's programs read it: a name, a domain with a leading dot, an address or a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Direct(String);

shown_as_text!(Registry, WebUrl, Direct);

impl WebUrl {
    /// True for encrypted connections.
    pub fn is_tls(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Scheme, host and port: all before the path.
    pub fn origin(&self) -> &str {
        &self.0[..self.0.len() - self.path().len()]
    }

    /// The path with its first `/`; empty when there is none.
    pub fn path(&self) -> &str {
        let rest = self.without_scheme();
        rest.find('/').map_or("", |at| &rest[at..])
    }

    /// `HOST[:PORT][/PATH]`.
    pub fn without_scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, rest)| rest)
    }
}

impl FromStr for HostRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(format!("`{}` is an IPv6 address; clusters have IPv4 addresses so far", text.escape_debug()));
        }
        text.parse().map(HostRef::Address).or_else(|_| text.parse().map(HostRef::Name))
    }
}

impl fmt::Display for HostRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostRef::Name(name) => name.fmt(f),
            HostRef::Address(address) => address.fmt(f),
        }
    }
}

/// Refuses anything but `HOST` or `HOST:PORT`.
fn check_authority(text: &str) -> Result<(), String> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    host.parse::<HostRef>()?;
    let is_port = |port: &str| port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    match port {
        Some(port) if !is_port(port) => Err("its port must be a number from 1 to 65535".to_owned()),
        _ => Ok(()),
    }
}

impl FromStr for Registry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match check_authority(text) {
            Ok(()) => Ok(Registry(text.to_owned())),
            Err(why) => Err(format!("a registry is HOST or HOST:PORT, as image names begin: {why}")),
        }
    }
}

/// The messages repeat no part of the text: such addresses may contain logins.
impl FromStr for WebUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| Err(format!("it must be http://HOST:PORT/PATH or the like: {why}"));
        let Some((scheme, rest)) = text.split_once("://") else { return refused("it has no scheme") };
        if !["http", "https"].contains(&scheme) {
            return refused("the scheme is http or https");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return refused("a login in it would be in every seed, and in a file that is reviewed");
        }
        if check_authority(authority).is_err() {
            return refused("its host must be a name in lower case or an IPv4 address, its port a number");
        }
        let path = path.trim_end_matches('/');
        let is_plain =
            |part: &str| !["", ".", ".."].contains(&part) && part.chars().all(|c| c.is_ascii_alphanumeric() || "._~-".contains(c));
        if !path.is_empty() && !path[1..].split('/').all(is_plain) {
            return refused("its path has letters, digits and `._~-` only, without empty parts");
        }
        Ok(WebUrl(format!("{scheme}://{authority}{path}")))
    }
}

impl FromStr for Direct {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix('.').unwrap_or(text);
        match text.parse::<super::Net>().is_ok() || check_authority(name).is_ok() {
            true => Ok(Direct(text.to_owned())),
            false => Err(format!(
                "`{}` is not a host: expected a name, a domain like .example.test, an IPv4 address or a network like 192.0.2.0/24",
                text.escape_debug()
            )),
        }
    }
}
