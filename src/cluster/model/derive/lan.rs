//! A bridge that the host has already, in a network that kbake does not manage: required settings, and forbidden ones.

use super::super::spec::{ModeName, NetworkSpec, Spec};
use crate::common::document::Place;
use crate::common::error::{Error, Result};

/// Refuses settings that contradict the mode, in both directions.
pub(super) fn check(spec: &Spec) -> Result<()> {
    let network = &spec.network;
    let Some(mode) = network.mode.as_ref().filter(|mode| mode.value == ModeName::Bridge) else { return refuse_gateway(network) };
    let needs = |what: &str, hint: &str| Err(mode.place.error(format!("mode = \"bridge\" needs {what}")).hint(hint));
    if network.bridge.is_none() {
        return needs("the name of a bridge that the host has", "`bridge = \"br0\"` in [network]; `ip link show type bridge` shows them");
    }
    if network.gateway.is_none() {
        return needs("the address of that network's router", "`gateway = …` in [network]; `ip route show default` shows it on the host");
    }
    refuse_ours(network, &mode.place)?;
    if let (Some((path, _)), None) = (spec.exports.first(), &network.host) {
        let error = path.place.error("an export needs the host's own address in the network of the bridge");
        return Err(mode.place.note(error, "the mode is here").hint("`host = …` in [network]; `ip address` shows it on the host"));
    }
    match spec.nodes.iter().find(|node| node.address.is_none()) {
        Some(node) => Err(mode
            .place
            .note(node.place.error("a node on an existing bridge needs an `address`"), "the mode is here")
            .hint("kbake cannot know which addresses are free there; with `count`, it is the first one's")),
        None => Ok(()),
    }
}

fn refuse_gateway(network: &NetworkSpec) -> Result<()> {
    match &network.gateway {
        Some(gateway) => {
            let error = gateway.place.error("`gateway` is only for mode = \"bridge\"");
            Err(error.hint("otherwise the host is the nodes' gateway: `host`"))
        }
        None => Ok(()),
    }
}

/// Refuses settings that the owner of the bridge decides.
fn refuse_ours(network: &NetworkSpec, mode: &Place) -> Result<()> {
    let place = |given: Option<&Place>| given.cloned();
    let found = [
        ("mac", place(network.mac.as_ref().map(|given| &given.place))),
        ("uplink", place(network.uplink.as_ref().map(|given| &given.place))),
        ("nat-ports", place(network.nat_ports.as_ref().map(|given| &given.place))),
        ("local-only", place(network.local_only.as_ref().map(|given| &given.place))),
    ];
    match found.into_iter().find_map(|(key, place)| Some((key, place?))) {
        Some((key, place)) => {
            let error: Error = place.error(format!("`{key}` has no effect with mode = \"bridge\": the bridge exists already"));
            Err(mode.note(error, "the mode is here").hint("leave it out"))
        }
        None => Ok(()),
    }
}
