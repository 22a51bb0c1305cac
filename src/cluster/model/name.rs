//! Host and domain names: RFC 1123 section 2.1, in the lower case that Kubernetes asks of node names.

use std::fmt;
use std::str::FromStr;

use crate::common::value::{Sha256, shown_as_text};

/// The longest label of a domain name (RFC 1035 section 2.3.4), in bytes.
const LABEL_MAX: usize = 63;
/// The longest domain that leaves room for the longest host name and a dot in a name of 253 bytes.
const DOMAIN_MAX: usize = 253 - LABEL_MAX - 1;

/// A machine's short name: one DNS label, not only digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// A DNS domain of one or more labels, without the final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

/// A cluster's name: one DNS label of at most 40 bytes, which leaves room for names derived from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(String);

/// The name of the API server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiName {
    /// A host name in the cluster's domain.
    Short(HostName),
    /// A full name, resolved outside of the cluster.
    Full(Domain),
}

/// A network interface's name, as the Linux kernel takes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface(String);

/// The name of a bridge that is created on the host: an interface name.
pub(crate) type Bridge = Interface;

/// The longest name of a cluster, in bytes.
const CLUSTER_MAX: usize = 40;
/// The longest name of an interface, in bytes (IFNAMSIZ of the kernel, less the final zero).
const INTERFACE_MAX: usize = 15;

/// The reason that `label` is not a DNS label; `None` when it is one.
fn why_no_label(label: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if label.is_empty() {
        return Some("a name between dots is empty".to_owned());
    }
    if label.len() > LABEL_MAX {
        return Some(format!("a label may have {LABEL_MAX} bytes, this has {}", label.len()));
    }
    if let Some(bad) = label.chars().find(|&c| !allowed(c)) {
        return Some(match bad {
            'A'..='Z' => format!("`{bad}` is upper case; Kubernetes takes lower-case names only"),
            '_' => "`_` is not allowed in host names; use `-`".to_owned(),
            _ => format!("`{}` is not allowed; use a-z, 0-9 and `-`", bad.escape_debug()),
        });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Some("it starts or ends with `-`".to_owned());
    }
    None
}

fn only_digits(label: &str) -> bool {
    label.bytes().all(|c| c.is_ascii_digit())
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        if text.contains('.') {
            return Err(format!("host name `{shown}` has a dot: give the short name, and the rest as `domain`"));
        }
        if text.is_empty() {
            return Err("the host name is empty".to_owned());
        }
        if let Some(why) = why_no_label(text) {
            return Err(format!("host name `{shown}`: {why}"));
        }
        // The resolver reads `10` as the address 0.0.0.10 before it looks for a host of that name.
        if only_digits(text) {
            return Err(format!("host name `{shown}` has only digits, so it would be read as an address"));
        }
        // The first two stand in every node's /etc/hosts, the others are Ansible's own groups.
        if ["ip6-localhost", "ip6-loopback", "all", "ungrouped"].contains(&text) {
            return Err(format!("host name `{shown}` is reserved, in /etc/hosts or by Ansible"));
        }
        if text == "localhost" {
            return Err("host name `localhost` always means the machine that asks".to_owned());
        }
        Ok(HostName(text.to_owned()))
    }
}

impl FromStr for ClusterName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let why = match why_no_label(text) {
            None if text.len() > CLUSTER_MAX => Some(format!("it may have {CLUSTER_MAX} bytes, this has {}", text.len())),
            other => other,
        };
        match why {
            None => Ok(ClusterName(text.to_owned())),
            Some(why) => Err(format!("cluster name `{shown}`: {why}")),
        }
    }
}

impl ApiName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        match self {
            ApiName::Short(name) => name.as_str(),
            ApiName::Full(name) => name.as_str(),
        }
    }

    /// The full name, given the cluster's domain.
    pub fn fqdn(&self, domain: &Domain) -> String {
        match self {
            ApiName::Short(name) => format!("{name}.{domain}"),
            ApiName::Full(name) => name.to_string(),
        }
    }
}

impl FromStr for ApiName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains('.') {
            true => text.parse().map(ApiName::Full),
            false => text.parse().map(ApiName::Short),
        }
    }
}

impl Interface {
    /// `kb-` and the cluster's name or, if that is too long, its start and the start of a digest.
    pub(super) fn derived(cluster: &ClusterName) -> Self {
        let name = format!("kb-{cluster}");
        if name.len() <= INTERFACE_MAX {
            return Interface(name);
        }
        let digest = Sha256::of(cluster.as_str()).to_string();
        Interface(format!("{}-{}", &name[..INTERFACE_MAX - 7], &digest[..6]))
    }
}

impl FromStr for Interface {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > INTERFACE_MAX {
            return Err(format!("interface name `{shown}`: it must have 1 to {INTERFACE_MAX} bytes"));
        }
        if !text.chars().all(allowed) || text.starts_with(['-', '.']) {
            return Err(format!("interface name `{shown}`: use letters, digits, `-`, `_` and `.`, the first a letter or digit"));
        }
        Ok(Interface(text.to_owned()))
    }
}

shown_as_text!(HostName, Domain, ClusterName, Interface);

impl Domain {
    /// The part of `other` in front of this domain, without the dot: empty when both are the same, `None` when `other` is not
    /// in this domain.
    pub(super) fn within(&self, other: &Domain) -> Option<&str> {
        let front = self.0.strip_suffix(&other.0)?;
        if front.is_empty() { Some("") } else { front.strip_suffix('.') }
    }

    /// True for a name of multicast DNS (RFC 6762 section 3).
    pub fn is_mdns(&self) -> bool {
        self.0.rsplit('.').next() == Some("local")
    }
}

/// Top-level names that no public registry delegates: RFC 2606, RFC 6761, RFC 6762 appendix G, RFC 8375, RFC 9476, and ICANN's
/// decisions on `internal`, `corp`, `home` and `mail`.
const NOBODYS: [&str; 15] = [
    "alt",
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "mail",
    "onion",
    "private",
    "test",
];

impl Domain {
    /// True for a name that may be a registered domain: two labels or more, below a public top-level name. No registered name
    /// begins as a single label.
    pub(super) fn may_be_registered(&self) -> bool {
        self.0.rsplit_once('.').is_some_and(|(_, top)| !NOBODYS.contains(&top))
    }
}

impl FromStr for Domain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        if text.is_empty() {
            return Err("the domain is empty".to_owned());
        }
        if text.len() > DOMAIN_MAX {
            return Err(format!("the domain has {} bytes; at most {DOMAIN_MAX} leave room for every host name", text.len()));
        }
        if let Some(why) = text.split('.').find_map(why_no_label) {
            return Err(format!("domain `{shown}`: {why}"));
        }
        // RFC 6761 section 6.3: resolvers answer for all names in it themselves.
        if text.rsplit('.').next() == Some("localhost") {
            return Err(format!("domain `{shown}`: names in `localhost` always mean the machine that asks"));
        }
        // RFC 3696 section 2: a name that ends in digits could be an IPv4 address.
        if text.rsplit('.').next().is_some_and(only_digits) {
            return Err(format!("domain `{shown}` ends in a name of only digits, so it could be read as an address"));
        }
        Ok(Domain(text.to_owned()))
    }
}

impl fmt::Display for ApiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
