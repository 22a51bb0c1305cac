//! The nodes' routes in addition to those that the cluster needs.

use super::super::check::refuse_repeats;
use super::super::spec::{NetworkSpec, RouteSpec};
use super::super::{Network, Node, Pods, Range, Services};
use super::network::{refuse_reserved_address, reserved};
use super::nodes::Draft;
use crate::common::document::Place;
use crate::common::error::{Error, Result};

/// Refuses routes that cannot work or that would divert the cluster's own packets.
pub(super) fn check(
    nodes: &[Node],
    drafts: &[Draft<'_>],
    (network, spec): (&Network, &NetworkSpec),
    services: &Services,
    pods: &Pods,
) -> Result<()> {
    for (node, draft) in nodes.iter().zip(drafts) {
        for route in &draft.spec.routes {
            refuse_hop(node, route, network, spec)?;
        }
        // The rest is the same for all nodes of a group.
        if draft.nth > 0 {
            continue;
        }
        refuse_repeats(
            draft.spec.routes.iter().map(|route| (route.to.value, format!("the route to {}", route.to.value), &route.to.place)),
        )?;
        for route in &draft.spec.routes {
            let own = [("the nodes' network", network.cidr), ("the service network", services.cidr), ("the pod network", pods.cidr)];
            for (what, net) in own {
                if net.contains_net(route.to.value) {
                    let message = format!("a route to {} would take the packets of {what} {net}", route.to.value);
                    return Err(route.to.place.error(message).hint("routes within the cluster are kbake's; leave this one out"));
                }
            }
            if let Some((other, why)) = reserved(route.to.value.range())?.filter(|(other, _)| other.contains_net(route.to.value)) {
                return Err(route.to.place.error(format!("there is no route to {}: {other} is {why}", route.to.value)));
            }
        }
    }
    Ok(())
}

/// The next hop must be another machine of the nodes' network with a fixed address.
fn refuse_hop(node: &Node, route: &RouteSpec, network: &Network, spec: &NetworkSpec) -> Result<()> {
    let via = route.via.value;
    refuse_reserved_address("next hop", &route.via)?;
    let refused = |why: String, place: &Place, what: &str| -> Result<(), Error> {
        let error = route.via.place.error(format!("a route of node `{}` cannot go through {via}: {why}", node.name));
        Err(place.note(error, what).hint("the next hop is another machine in the nodes' network, with an address of its own"))
    };
    let cidr = &spec.cidr.place;
    if !network.cidr.contains(via) {
        return refused(format!("it is outside the nodes' network {}", network.cidr), cidr, "the network is here");
    }
    if via == network.cidr.first() || via == network.cidr.last() {
        return refused(format!("it is the own or the broadcast address of {}", network.cidr), cidr, "the network is here");
    }
    if via == node.address {
        return refused("it is the node's own address".to_owned(), cidr, "the network is here");
    }
    match &spec.dhcp {
        Some(dhcp) if dhcp.value.overlaps(Range::one(via)) => {
            refused(format!("it lies within the DHCP range ({})", dhcp.value), &dhcp.place, "the DHCP range is here")
        }
        _ => Ok(()),
    }
}
