//! A member of etcd on a control-plane node.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::manifest::http_get;
use super::pod::{Component, HOST_IP, Kind, Mount, NODE_NAME, Probes};
use crate::common::value::{Reference, ReleaseVersion};

/// A comment in the manifest.
pub(super) const ABOUT: &str = "This node's member of etcd. It listens on the node's address and on loopback, to certificates of etcd's own
authority only; health and metrics are on loopback.";

/// The pod of this container image.
pub(super) fn pod(image: &Reference) -> Pod {
    let version = version(image);
    let probe = |path| http_get("HTTP", Some("127.0.0.1"), IntOrString::Int(2381), path);
    let (live, ready) = health(version);
    super::pod::pod(Component {
        name: "etcd",
        image: &image.to_string(),
        arguments: arguments(version),
        fields: &[HOST_IP, NODE_NAME],
        mounts: &[
            Mount { name: "data", path: "/var/lib/etcd", kind: Kind::Data },
            Mount { name: "pki", path: "/etc/kubernetes/pki/etcd", kind: Kind::Folder },
        ],
        requests: &[("cpu", "100m"), ("memory", "100Mi")],
        capabilities: &[],
        // It has started when it serves; only then the liveness probe begins.
        probes: Probes { startup: probe(ready), liveness: probe(live), readiness: Some(probe(ready)) },
    })
}

/// The version in the image's tag (`v3.5.9`, `3.6.8-0`): the channel's etcd program may have another one. A tag without a
/// version counts as new.
fn version(image: &Reference) -> (u64, u64, u64) {
    let tag = image.tag();
    let number = tag.strip_prefix('v').unwrap_or(tag).split('-').next().unwrap_or_default();
    let version = number.parse::<ReleaseVersion>().ok();
    version.map_or((3, 6, 0), |version| (version.major(), version.minor(), version.patch()))
}

/// The paths of the liveness and readiness probes. Before these two had paths of their own, `/health` needed a quorum: members
/// would be killed for others' absence, so it needs high thresholds, not a weaker probe.
fn health(version: (u64, u64, u64)) -> (&'static str, &'static str) {
    match version {
        (3, 4, patch) if patch < 29 => ("/health", "/health"),
        (3, 5, patch) if patch < 11 => ("/health?serializable=true", "/health"),
        (major, minor, _) if (major, minor) < (3, 4) => ("/health", "/health"),
        _ => ("/livez", "/readyz"),
    }
}

fn arguments(version: (u64, u64, u64)) -> Vec<(&'static str, String)> {
    let pki = |name: &str| format!("/etc/kubernetes/pki/etcd/{name}");
    let mut flags: Vec<(&'static str, String)> = [
        ("name", "$(NODE_NAME)"),
        ("data-dir", "/var/lib/etcd"),
        ("listen-client-urls", "https://127.0.0.1:2379,https://$(HOST_IP):2379"),
        ("advertise-client-urls", "https://$(HOST_IP):2379"),
        ("listen-peer-urls", "https://$(HOST_IP):2380"),
        ("initial-advertise-peer-urls", "https://$(HOST_IP):2380"),
        ("initial-cluster", "@ETCD_INITIAL_CLUSTER@"),
        ("initial-cluster-state", "@ETCD_INITIAL_CLUSTER_STATE@"),
        ("initial-cluster-token", "@ETCD_INITIAL_CLUSTER_TOKEN@"),
        ("listen-metrics-urls", "http://127.0.0.1:2381"),
        ("snapshot-count", "10000"),
    ]
    .map(|(flag, value)| (flag, value.to_owned()))
    .into();
    // A trusted authority without `client-cert-auth` would leave client certificates optional.
    flags.extend([
        ("cert-file", pki("server.crt")),
        ("key-file", pki("server.key")),
        ("trusted-ca-file", pki("ca.crt")),
        ("client-cert-auth", "true".to_owned()),
        ("peer-cert-file", pki("peer.crt")),
        ("peer-key-file", pki("peer.key")),
        ("peer-trusted-ca-file", pki("ca.crt")),
        ("peer-client-cert-auth", "true".to_owned()),
    ]);
    flags.extend(by_version(version).iter().map(|(flag, value)| (*flag, (*value).to_owned())));
    flags
}

/// A member whose data differ from the others' must not start; watchers get a progress notification at least every five
/// seconds. Experimental flags got their final names in 3.6.
fn by_version((major, minor, _): (u64, u64, u64)) -> &'static [(&'static str, &'static str)] {
    match (major, minor) {
        (3, ..=4) => &[("experimental-initial-corrupt-check", "true"), ("logger", "zap")],
        (3, 5) => &[("experimental-initial-corrupt-check", "true"), ("experimental-watch-progress-notify-interval", "5s")],
        _ => &[("feature-gates", "InitialCorruptCheck=true"), ("watch-progress-notify-interval", "5s")],
    }
}
