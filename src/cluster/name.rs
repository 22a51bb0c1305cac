//! Host and domain names: RFC 1123 section 2.1, in the lower case that Kubernetes asks of node names.

use std::fmt;
use std::str::FromStr;

use crate::value::{Sha256, shown_as_text};

/// The longest label of a domain name (RFC 1035 section 2.3.4), in bytes.
const LABEL_MAX: usize = 63;
/// The longest domain that leaves room for the longest host name and a dot in a name of 253 bytes.
const DOMAIN_MAX: usize = 253 - LABEL_MAX - 1;

/// A machine's short name: one DNS label, not only digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// A DNS domain of one or more labels, without final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

/// A cluster's name: one DNS label of at most 40 bytes, so that names made of it have room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(String);

/// The name under which the API server is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiName {
    /// A host name in the cluster's domain.
    Short(HostName),
    /// A full name; who knows it is not the cluster's matter.
    Full(Domain),
}

/// A network interface's name, as the Linux kernel takes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface(String);

/// The name of a bridge to be made on the host: an interface's.
pub type Bridge = Interface;

/// The longest name of a cluster, in bytes.
const CLUSTER_MAX: usize = 40;
/// The longest name of an interface, in bytes (IFNAMSIZ of the kernel, less the final zero).
const INTERFACE_MAX: usize = 15;

/// Says why `label` is none; `None` when it is one.
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

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        if text.contains('.') {
            return Err(format!("host name `{shown}` holds a dot: give the short name, and what follows as the domain"));
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
            return Err(format!("host name `{shown}` means something else already, in /etc/hosts or for Ansible"));
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
    /// `kb-` and the cluster's name or, where that is too long, the start of it and of a digest.
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

shown_as_text!(ClusterName, Interface);

impl Domain {
    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before `other` in a name of that domain, without the dot: nothing when both are the same. `None` when
    /// the name is not in that domain.
    pub(super) fn within(&self, other: &Domain) -> Option<&str> {
        let front = self.0.strip_suffix(&other.0)?;
        if front.is_empty() { Some("") } else { front.strip_suffix('.') }
    }

    /// Whether it belongs to multicast DNS (RFC 6762 section 3).
    pub fn is_mdns(&self) -> bool {
        self.0.rsplit('.').next() == Some("local")
    }
}

/// Top-level names that no registry of the world sells: RFC 2606, RFC 6761, RFC 6762 appendix G, RFC 8375, RFC 9476, and
/// ICANN's decisions on `internal`, `corp`, `home` and `mail`.
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
    /// True when it may be somebody's registered domain: two labels or more, below a top-level one that the world's DNS knows.
    /// A single label is the start of no name that anyone has registered.
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
            return Err(format!("the domain has {} bytes; with {DOMAIN_MAX} at most every host name still fits", text.len()));
        }
        if let Some(why) = text.split('.').find_map(why_no_label) {
            return Err(format!("domain `{shown}`: {why}"));
        }
        // RFC 6761 section 6.3: resolvers answer for all names in it without asking anybody.
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

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ApiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
