//! Results as JSON values for `--json` (docs/ci.md).

use serde_json::{Map, Value, json};

use crate::build::{Before, Reason, Why};
use crate::cluster::model::{Api, Cluster, Mirror, Mode, Node, Preset, Proxy, Settings, Site, WebUrl};
use crate::cluster::node::settings_json;
use crate::cluster::pki::{self, Row, State};
use crate::common::error::Result;
use crate::common::value::RoleName;
use crate::storage::store::Owner;
use crate::storage::store::inventory::{Liveness, Rest};
use crate::storage::store::usage::{Class, RootUsage, Tally, Usage};

/// The cluster with all defaults resolved.
pub(super) fn cluster(cluster: &Cluster) -> Result<Value> {
    Ok(json!({
        "name": cluster.name.as_str(),
        "domain": cluster.domain.to_string(),
        "arch": cluster.arch.to_string(),
        "channel": cluster.channel.as_str(),
        "network": {
            "cidr": cluster.network.cidr.to_string(),
            "host": cluster.network.host.to_string(),
            "gateway": cluster.network.gateway.to_string(),
            "dns": texts(&cluster.network.dns),
            "bridge": cluster.network.bridge.to_string(),
            "mac": cluster.network.mac.to_string(),
            "mode": mode(&cluster.network.mode),
            "mtu": cluster.network.mtu,
            "dhcp": cluster.network.dhcp.map(|range| range.to_string()),
            "local_only": cluster.network.local_only,
        },
        "api": cluster.api.as_ref().map(|api| endpoint(cluster, api)),
        "services": {
            "cidr": cluster.services.cidr.to_string(),
            "dns": cluster.services.dns.to_string(),
            "domain": cluster.services.domain.to_string(),
            "proxy": cluster.services.proxy.to_string(),
            "load_balancer": cluster.services.load_balancer.map(|range| range.to_string()),
        },
        "pods": {
            "cidr": cluster.pods.cidr.to_string(),
            "node_prefix": cluster.pods.node_prefix,
            "network": cluster.pods.network.to_string(),
        },
        "etcd": cluster.etcd_members().map(|node| node.name.as_str()).collect::<Vec<_>>(),
        "exports": cluster.exports.iter().map(|export| json!({"path": export.path, "options": export.options})).collect::<Vec<_>>(),
        "site": site(&cluster.site),
        "kubernetes": kubernetes(&cluster.settings)?,
        "nodes": cluster.nodes.iter().map(node).collect::<Result<Vec<_>>>()?,
    }))
}

/// The given settings by program, with the preset's name.
fn kubernetes(settings: &Settings) -> Result<Value> {
    let given = settings.given.iter().map(|(component, table)| Ok((component.to_string(), settings_json(table)?)));
    let mut data: Map<String, Value> = given.collect::<Result<_>>()?;
    data.insert("preset".to_owned(), json!(settings.preset.map(Preset::as_str)));
    Ok(data.into())
}

fn site(site: &Site) -> Value {
    let url = |url: &Option<WebUrl>| url.as_ref().map(ToString::to_string);
    let proxy = |proxy: &Proxy| json!({"http": url(&proxy.http), "https": url(&proxy.https), "no_proxy": texts(&proxy.direct)});
    let mirror = |mirror: &Mirror| json!({"registry": mirror.registry.to_string(), "urls": texts(&mirror.urls)});
    json!({
        "ntp": texts(&site.ntp),
        "ca_certificates": site.authorities,
        "proxy": site.proxy.as_ref().map(proxy),
        "registry_mirrors": site.mirrors.iter().map(mirror).collect::<Vec<_>>(),
    })
}

fn mode(mode: &Mode) -> &'static str {
    match mode {
        Mode::Nat { .. } => "nat",
        Mode::Route { .. } => "route",
        Mode::Isolated => "isolated",
        Mode::Open => "open",
        Mode::Bridged => "bridge",
    }
}

fn endpoint(cluster: &Cluster, api: &Api) -> Value {
    json!({
        "url": cluster.api_url(),
        "name": api.name.fqdn(&cluster.domain),
        "address": api.address.map(|address| address.to_string()),
        "port": api.port,
        "virtual": api.is_vip,
        "sans": texts(&api.sans),
    })
}

fn node(node: &Node) -> Result<Value> {
    let labels: Map<String, Value> = node.labels.iter().map(|(key, value)| (key.to_string(), json!(value.to_string()))).collect();
    Ok(json!({
        "name": node.name.as_str(),
        "fqdn": node.fqdn,
        "role": node.role.as_str(),
        "image": node.image.as_str(),
        "address": node.address.to_string(),
        "mac": node.mac.to_string(),
        "uuid": node.uuid.to_string(),
        "vcpus": node.vcpus,
        "memory_bytes": node.memory.0,
        "disk_bytes": node.disk.0,
        "data_disk": node.data.as_ref().map(|data| json!({"bytes": data.size.0, "mount": data.mount.to_string()})),
        "user_data": node.user_data,
        "firmware": node.firmware.as_str(),
        "pods": node.pods.map(|pods| pods.to_string()),
        "labels": labels,
        "taints": texts(&node.taints),
        "kubelet": settings_json(&node.kubelet)?,
    }))
}

/// The roles with their descriptions.
pub(super) fn roles<'a>(roles: impl Iterator<Item = (&'a RoleName, &'a str)>) -> Value {
    roles.map(|(role, description)| json!({"name": role.as_str(), "description": description})).collect()
}

/// The reason why a role must be rebuilt, or was rebuilt the last time.
pub(super) fn why(role: &RoleName, channel: &str, why: &Why) -> Value {
    let (state, build, rest) = match why {
        Why::NeverBuilt { in_store } => ("never-built", !in_store, json!({})),
        Why::Forgotten => ("forgotten", true, json!({})),
        Why::Changed { reasons, in_store } => ("changed", !in_store, json!({"changes": changes(reasons)})),
        Why::Lost { miss, before } => ("lost", true, json!({"miss": miss.to_string(), "before": earlier(before)})),
        Why::Current { before } => ("current", false, json!({"before": earlier(before)})),
    };
    let mut data = json!({"role": role.as_str(), "channel": channel, "state": state, "build": build});
    if let (Value::Object(data), Value::Object(rest)) = (&mut data, rest) {
        data.extend(rest);
    }
    data
}

fn earlier(before: &Before) -> Value {
    match before {
        Before::First => json!({"state": "first"}),
        Before::Forgotten => json!({"state": "forgotten"}),
        Before::Changed(reasons) => json!({"state": "changed", "changes": changes(reasons)}),
    }
}

fn changes(reasons: &[Reason]) -> Vec<Value> {
    let change = |reason: &Reason| {
        let change = &reason.change;
        json!({"line": change.subject.to_string(), "old": change.old, "new": change.new, "cause": reason.cause})
    };
    reasons.iter().map(change).collect()
}

/// The usage of a store by class and by root. `free` is in bytes; `lower` are the lower stores, each with the number and total size of its
/// blobs.
pub(super) fn store(folder: &str, usage: &Usage, free: u64, lower: &[(String, Tally)]) -> Value {
    let both = |[all, unneeded]: [Tally; 2]| json!({"count": all.count, "bytes": all.bytes, "unneeded_count": unneeded.count, "unneeded_bytes": unneeded.bytes});
    let class = |(class, tallies): (&Class, &[Tally; 2])| {
        let mut value = both(*tallies);
        value["class"] = json!(word(class));
        value
    };
    json!({
        "folder": folder,
        "free_bytes": free,
        "total": both(usage.total()),
        "classes": usage.classes.iter().map(class).collect::<Vec<_>>(),
        "roots": usage.roots.iter().map(root).collect::<Vec<_>>(),
        "lower": lower.iter().map(|(folder, tally)| json!({"folder": folder, "count": tally.count, "bytes": tally.bytes})).collect::<Vec<_>>(),
    })
}

/// The name of a class; part of the interface.
fn word(class: &Class) -> &str {
    match class {
        Class::Input => "input",
        Class::Output(kind) => kind,
        Class::Plan => "plan",
        Class::Loose => "loose",
        Class::Entry => "entry",
        Class::Rest(rest) => match rest {
            Rest::Partial => "partial",
            Rest::Quarantine => "quarantine",
            Rest::Stamp => "stamp",
            Rest::StaleStamp => "stale-stamp",
            Rest::Lock => "lock",
            Rest::Distrust => "distrust",
            Rest::Work => "work",
            Rest::Odd => "odd",
        },
    }
}

fn root(root: &RootUsage) -> Value {
    let Owner { project, channel, role } = &root.owner;
    let kept_by = match root.life {
        Liveness::Output => "image",
        Liveness::Project => "lockfile",
        Liveness::Awaited => "awaited",
        Liveness::Dead => "nothing",
    };
    json!({
        "role": role.as_str(),
        "channel": channel,
        "project": project.as_ref().map(|path| path.display().to_string()),
        "alone_bytes": root.alone,
        "shared_bytes": root.shared,
        "kept_by": kept_by,
    })
}

/// The certificates and keys with their states. Contains no secret.
pub(super) fn pki(rows: &[Row]) -> Value {
    rows.iter().map(certificate).collect()
}

fn certificate(row: &Row) -> Value {
    let (state, problems) = match &row.state {
        State::Good => ("good", Vec::new()),
        State::WithoutKey => ("without-key", Vec::new()),
        State::Expiring(problem) => ("expiring", vec![problem]),
        State::Lasting(problem) => ("not-revocable", vec![problem]),
        State::Missing => ("missing", Vec::new()),
        State::Bad(problems) => ("bad", problems.iter().collect()),
    };
    json!({
        "name": row.name,
        "state": state,
        "problems": problems.iter().map(|problem| json!({"what": problem.what, "mend": problem.remedy})).collect::<Vec<_>>(),
        "subject": row.subject,
        "issuer": row.issuer,
        "sans": row.sans,
        "not_after": row.not_after,
        "ends": row.not_after.map(pki::date),
    })
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
