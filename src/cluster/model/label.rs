//! Kubernetes labels and taints
//! ([syntax](https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set)).

use std::str::FromStr;

use crate::common::value::shown_as_text;

/// The longest name or value, in bytes.
const NAME_MAX: usize = 63;
/// The longest prefix, in bytes: a DNS subdomain's whole length, whatever its labels have.
const PREFIX_MAX: usize = 253;

/// A label's key: `NAME` or `PREFIX/NAME`, the prefix a DNS name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelKey(String);

/// A label's value; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelValue(String);

/// A taint: `KEY=VALUE:EFFECT` or `KEY:EFFECT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint(String);

shown_as_text!(LabelKey, LabelValue, Taint);

impl Taint {
    /// Key and effect: Kubernetes identifies a node's taints by these two.
    pub(super) fn identity(&self) -> (&str, &str) {
        let (what, effect) = self.0.rsplit_once(':').unwrap_or((&self.0, ""));
        (what.split_once('=').map_or(what, |(key, _)| key), effect)
    }

    /// True for a taint that keeps no pod off the node: its effect is only a preference.
    pub fn is_preference(&self) -> bool {
        self.identity().1 == "PreferNoSchedule"
    }
}

/// The keys below `kubernetes.io` and `k8s.io` that a kubelet may give its own node; with any other it does not start.
/// (`node-role.kubernetes.io/…` is for an administrator to set.)
const KUBELET_KEYS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

impl LabelKey {
    /// True for a label that a kubelet may give its own node.
    pub(super) fn suits_kubelet(&self) -> bool {
        let Some((prefix, _)) = self.0.split_once('/') else { return true };
        let below = |domain: &str| prefix.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'));
        let free = !below("kubernetes.io") && !below("k8s.io");
        free || below("kubelet.kubernetes.io") || below("node.kubernetes.io") || KUBELET_KEYS.contains(&self.0.as_str())
    }
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= NAME_MAX && text.chars().all(inner) && ends(text.chars().next()) && ends(text.chars().next_back())
}

/// The API server's `IsDNS1123Subdomain`. Not a host name: single labels may be longer than in DNS, and no word is reserved.
fn why_no_prefix(prefix: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_part = |part: &str| !part.is_empty() && part.chars().all(allowed) && !part.starts_with('-') && !part.ends_with('-');
    match prefix.len() {
        length if length > PREFIX_MAX => Some(format!("its prefix has {length} bytes; {PREFIX_MAX} are allowed")),
        _ if prefix.split('.').all(is_part) => None,
        _ => Some("its prefix must be a DNS name in lower case: parts of a-z, 0-9 and inner `-`, with dots between".to_owned()),
    }
}

impl FromStr for LabelKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("label key `{}`: {why}", text.escape_debug()));
        let name = match text.split_once('/') {
            None => text,
            Some((prefix, name)) => match why_no_prefix(prefix) {
                None => name,
                Some(why) => return wrong(&why),
            },
        };
        match is_name(name) {
            true => Ok(LabelKey(text.to_owned())),
            false => wrong("its name must be 1 to 63 letters, digits and inner `-`, `_`, `.`"),
        }
    }
}

impl FromStr for LabelValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.is_empty() || is_name(text) {
            true => Ok(LabelValue(text.to_owned())),
            false => Err(format!("label value `{}`: it must be at most 63 letters, digits and inner `-`, `_`, `.`", text.escape_debug())),
        }
    }
}

impl FromStr for Taint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: String| Err(format!("taint `{}`: {why}", text.escape_debug()));
        let Some((what, effect)) = text.rsplit_once(':') else {
            return wrong("it lacks its effect, as in `gpu=yes:NoSchedule`".to_owned());
        };
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return wrong(format!("unknown effect `{}`; known: NoSchedule, PreferNoSchedule, NoExecute", effect.escape_debug()));
        }
        let (key, value) = what.split_once('=').unwrap_or((what, ""));
        if let Err(why) = key.parse::<LabelKey>().map(drop).and_then(|()| value.parse::<LabelValue>().map(drop)) {
            return wrong(why);
        }
        Ok(Taint(text.to_owned()))
    }
}
