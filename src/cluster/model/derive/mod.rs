//! From the written values to all values: defaults, addresses by order, MACs and UUIDs by name.
//!
//! Every derived value depends on names and on the order of the nodes alone: it is the same on every host, and does not change
//! with unrelated lines.

mod api;
pub(super) mod free;
mod lan;
mod network;
mod nodes;
mod routes;
mod shares;

use super::check::{refuse_overlaps, refuse_repeats};
use super::settings::restrictions;
use super::spec::Spec;
use super::{Cluster, Domain, Export, Mac, Range, Role, Route, Services};
use crate::common::document::Located;
use crate::common::error::Result;
use crate::spec::recipe::ChannelName;

/// Options of an export without its own.
const EXPORT_OPTIONS: &str = "rw,sync,root_squash,no_subtree_check";

/// The cluster that a file describes.
pub(super) fn resolve(file: &str, spec: Spec) -> Result<Cluster> {
    let name = &spec.name.value;
    let is_kubernetes = spec.nodes.iter().any(|node| node.role.value != Role::Etcd);
    let mut claims = Vec::new();
    lan::check(&spec)?;
    let network = network::network(name, &spec.network, &mut claims)?;
    let drafts = nodes::drafts(&spec.nodes)?;
    nodes::refuse_duplicate_names(&drafts)?;
    let services = network::services(&spec.services, &spec.network, is_kubernetes, &mut claims)?;
    let domain = domain(&spec, &services)?;
    let pods = network::pods(&spec.pods, &spec.network, is_kubernetes, &mut claims)?;
    if let Some(vip) = &spec.api.vip {
        claims.push(network::claim(&spec.network, "the API's virtual address", vip)?);
    }
    let mut nodes = nodes::nodes((name, &domain), &drafts, &spec.network, &mut claims)?;
    // Before dependent checks: a collision is the cause, and a lack of free addresses its consequence.
    refuse_overlaps(&claims)?;
    shares::shares(&mut nodes, &drafts, &pods, &spec.pods, &mut claims)?;
    nodes::refuse_duplicate_macs(&nodes, &drafts, &network, &spec.network)?;
    routes::check(&nodes, &drafts, (&network, &spec.network), &services, &pods)?;
    let api = api::api(&spec.api, (&domain, &services.domain), &drafts, &nodes)?;
    let cluster = Cluster {
        file: file.to_owned(),
        checked: refuse_overlaps(&claims)?,
        exports: exports(&spec)?,
        ssh_keys: ssh_keys(&spec)?,
        name: spec.name.value,
        domain,
        arch: spec.arch,
        channel: spec.channel.unwrap_or_else(ChannelName::usual),
        network,
        api,
        services,
        pods,
        nodes,
        validity: spec.validity,
        site: spec.site,
        settings: spec.settings,
    };
    restrictions::check(&cluster)?;
    Ok(cluster)
}

/// The nodes' domain. It must differ from the services' domain, whose DNS answers for all of it.
fn domain(spec: &Spec, services: &Services) -> Result<Domain> {
    let Some(domain) = &spec.domain else {
        // Reserved for private use by ICANN in 2024; `.local` belongs to multicast DNS.
        return format!("{}.internal", spec.name.value).parse().map_err(|why: String| spec.name.place.error(why));
    };
    if domain.value.within(&services.domain).is_none() {
        return Ok(domain.value.clone());
    }
    let message =
        format!("the nodes' domain {} is the services' domain {} or in it, so pods could not look up nodes", domain.value, services.domain);
    let error = domain.place.error(message);
    let error = match &spec.services.domain {
        Some(other) => other.place.note(error, "the services' domain is here"),
        None => error.detail(format!("the services' domain is {} by default", services.domain)),
    };
    Err(error.hint(format!("take one such as {}.internal", spec.name.value)))
}

fn exports(spec: &Spec) -> Result<Vec<Export>> {
    refuse_repeats(spec.exports.iter().map(|(path, _)| (&path.value, format!("the export {}", path.value), &path.place)))?;
    let options = |given: &Option<String>| given.clone().unwrap_or_else(|| EXPORT_OPTIONS.to_owned());
    Ok(spec.exports.iter().map(|(path, given)| Export { path: path.value.clone(), options: options(given) }).collect())
}

fn ssh_keys(spec: &Spec) -> Result<Vec<super::SshKey>> {
    refuse_repeats(spec.ssh_keys.iter().map(|key| (key.value.identity(), "this ssh key".to_owned(), &key.place)))?;
    Ok(spec.ssh_keys.iter().map(|key| key.value.clone()).collect())
}

/// Refuses MACs that libvirt refuses: on the host's side of an interface it replaces the first byte by fe.
fn refuse_tap_mac(mac: &Located<Mac>) -> Result<()> {
    match mac.value.to_string().starts_with("fe:") {
        true => Err(mac
            .place
            .error(format!("{} is not a MAC for a machine: libvirt reserves those that begin with fe", mac.value))
            .hint("leave `mac` out, or take one such as 52:54:00:12:34:56")),
        false => Ok(()),
    }
}
