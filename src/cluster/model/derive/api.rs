//! The API server's endpoint: its name and its address.

use std::ops::RangeInclusive;

use super::super::check::refuse_repeats;
use super::super::spec::ApiSpec;
use super::super::{Api, ApiName, Domain, HostRef, Node, Role};
use super::nodes::Draft;
use crate::common::document::Located;
use crate::common::error::{Error, Result};

/// The port of the API server.
const API_PORT: u16 = 6443;

/// TCP ports that other programs use on a control-plane node.
const TAKEN: [(RangeInclusive<u64>, &str); 9] = [
    (22..=22, "ssh's"),
    (2379..=2381, "etcd's"),
    (7472..=7472, "MetalLB's"),
    (7946..=7946, "MetalLB's"),
    (10248..=10248, "the kubelet's"),
    (10249..=10249, "kube-proxy's"),
    (10250..=10250, "the kubelet's"),
    (10256..=10259, "kube-proxy's, the controller manager's or the scheduler's"),
    (30000..=32767, "for services of type NodePort"),
];

/// The endpoint; none in a cluster of etcd members only, unless it asks for one.
pub(super) fn api(spec: &ApiSpec, (domain, services): (&Domain, &Domain), drafts: &[Draft<'_>], nodes: &[Node]) -> Result<Option<Api>> {
    if spec.place.is_none() && nodes.iter().all(|node| node.role == Role::Etcd) {
        return Ok(None);
    }
    let name = name(spec, domain, services)?;
    refuse_twin(&name, spec, drafts)?;
    let port = port(spec)?;
    refuse_repeats(spec.sans.iter().map(|san| (&san.value, format!("the name {}", san.value), &san.place)))?;
    let sans: Vec<HostRef> = spec.sans.iter().map(|san| san.value.clone()).collect();
    let gateways: Vec<(&Draft<'_>, &Node)> = with(Role::Gateway, drafts, nodes);
    if let Some(vip) = &spec.vip {
        check_vip(vip, &gateways)?;
        return Ok(Some(Api { name, address: Some(vip.value), is_vip: true, port, sans }));
    }
    if matches!(name, ApiName::Full(_)) {
        return Ok(Some(Api { name, address: None, is_vip: false, port, sans }));
    }
    let control = with(Role::ControlPlane, drafts, nodes);
    match (gateways.as_slice(), control.as_slice()) {
        ([(_, front)], _) | ([], [(_, front)]) => Ok(Some(Api { name, address: Some(front.address), is_vip: false, port, sans })),
        _ => Err(no_endpoint(spec, drafts, &gateways, &control)),
    }
}

fn with<'a, 'b>(role: Role, drafts: &'a [Draft<'b>], nodes: &'a [Node]) -> Vec<(&'a Draft<'b>, &'a Node)> {
    drafts.iter().zip(nodes).filter(|(_, node)| node.role == role).collect()
}

/// A full name in the cluster's domain counts as a short one: only the host's DNS answers for that domain.
fn name(spec: &ApiSpec, domain: &Domain, services: &Domain) -> Result<ApiName> {
    let Some(given) = &spec.name else { return Ok(ApiName::Short("kubernetes".parse().map_err(Error::internal)?)) };
    let ApiName::Full(full) = &given.value else { return Ok(given.value.clone()) };
    if full.within(services).is_some() {
        return Err(given
            .place
            .error(format!("`{full}` is a name of services in {services}, which only pods can resolve"))
            .hint("give a short name, which is put before the cluster's domain, or a full one that is resolved elsewhere"));
    }
    match full.within(domain) {
        None => Ok(given.value.clone()),
        Some(label) if !label.is_empty() && !label.contains('.') => label.parse().map(ApiName::Short).map_err(|why| given.place.error(why)),
        Some(_) => Err(given
            .place
            .error(format!("`{full}` cannot be the API server's name: names in the cluster's domain {domain} are NAME.{domain}"))
            .hint(format!("take a name such as `api.{domain}`, or one that is resolved elsewhere"))),
    }
}

fn refuse_twin(name: &ApiName, spec: &ApiSpec, drafts: &[Draft<'_>]) -> Result<()> {
    let ApiName::Short(name) = name else { return Ok(()) };
    let Some(twin) = drafts.iter().find(|draft| draft.name == *name) else { return Ok(()) };
    let error = twin.spec.name.place.error(format!("node `{name}` and the API server have the same name"));
    Err(match &spec.name {
        Some(given) => given.place.note(error, "the API server's name is here"),
        None => error.detail(format!("the API server's name is `{name}` by default")),
    }
    .hint("rename the node, or set `name` in [api]"))
}

fn port(spec: &ApiSpec) -> Result<u16> {
    let Some(given) = &spec.port else { return Ok(API_PORT) };
    if let Some((_, whose)) = TAKEN.iter().find(|(ports, _)| ports.contains(&given.value)) {
        let error = given.place.error(format!("the API server cannot have port {}: it is {whose}", given.value));
        return Err(error.hint(format!("without `port` it is {API_PORT}")));
    }
    u16::try_from(given.value).map_err(|_| given.place.error("a port is 1 to 65535"))
}

fn check_vip(vip: &Located<std::net::Ipv4Addr>, gateways: &[(&Draft<'_>, &Node)]) -> Result<()> {
    match gateways {
        [_] => Ok(()),
        [] => Err(vip
            .place
            .error("the API's virtual address needs a node of role gateway, and there is none")
            .hint("add a [[node]] with role = \"gateway\", or leave `vip` out")),
        [.., (draft, last)] => {
            let error = vip.place.error(format!("{} nodes of role gateway cannot share one virtual address", gateways.len()));
            let error = draft.spec.role.place.note(error, &format!("node `{}` is here", last.name));
            Err(error.hint("keep one gateway"))
        }
    }
}

/// The error for a cluster in which no address can be the endpoint's.
fn no_endpoint(spec: &ApiSpec, drafts: &[Draft<'_>], gateways: &[(&Draft<'_>, &Node)], control: &[(&Draft<'_>, &Node)]) -> Error {
    const ELSEWHERE: &str = "give `name` in [api] the full DNS name of an address that is known elsewhere";
    let (message, first, remedy) = match (gateways, control) {
        ([], []) => ("no node runs an API server".to_owned(), drafts.first(), "add a node of role control-plane"),
        ([], [(draft, _), ..]) => (
            format!("{} control-plane nodes have no address in common for the API server", control.len()),
            Some(*draft),
            "add one node of role gateway",
        ),
        ([(draft, _), ..], _) => (
            format!("{} nodes of role gateway have no address in common for the API server", gateways.len()),
            Some(*draft),
            "keep one gateway",
        ),
    };
    // All nodes of one group share one place.
    let is_elsewhere = |last: &Draft<'_>| first.is_some_and(|first| !std::ptr::eq(first.spec, last.spec));
    let last = gateways.last().or(control.last()).filter(|(last, _)| is_elsewhere(last));
    let mut error = match (first, &spec.place) {
        (Some(first), _) => first.spec.role.place.error(message),
        (None, Some(place)) => place.error(message),
        (None, None) => Error::user(message),
    };
    if let Some((draft, node)) = last {
        error = draft.spec.role.place.note(error, &format!("node `{}` is here", node.name));
    }
    error.hint(format!("{remedy}, or {ELSEWHERE}"))
}
