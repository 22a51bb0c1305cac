//! The nodes' shares of the pod network.

use super::super::check::{Claim, Layer};
use super::super::spec::PodsSpec;
use super::super::{Net, Node, PodNetwork, Pods, Range};
use super::free::{self, Taken};
use super::network::refuse_share;
use super::nodes::Draft;
use crate::common::document::Located;
use crate::common::error::Result;

/// The smallest share, in bits of its prefix: its own address, the broadcast's, the bridge's, and a few pods'.
const SHARE_MAX: u8 = 28;

/// Gives each kubelet its share: the written one, else the first free one. Claims the written ones.
pub(super) fn shares(nodes: &mut [Node], drafts: &[Draft<'_>], pods: &Pods, spec: &PodsSpec, claims: &mut Vec<Claim>) -> Result<()> {
    let mut taken: Vec<Range> = Vec::new();
    for (node, draft) in nodes.iter_mut().zip(drafts) {
        let Some(given) = &draft.spec.pods else { continue };
        refuse_share(pods.network, &given.place, spec)?;
        let share = share(draft, given, pods, spec)?;
        let owner = format!("the pod share of node `{}`", node.name);
        claims.push(Claim { owner, range: share.range(), place: given.place.clone(), layer: Layer::Shares, default_of: None });
        taken.push(share.range());
        node.pods = Some(share);
    }
    if pods.network == PodNetwork::None {
        return Ok(());
    }
    let taken = Taken::new(taken);
    let mut free = free::subnets(&taken, pods.cidr, pods.node_prefix);
    for (node, draft) in nodes.iter_mut().zip(drafts) {
        if node.pods.is_some() || !node.role.has_kubelet() {
            continue;
        }
        let share = free.next().ok_or_else(|| {
            let (cidr, bits) = (pods.cidr, pods.node_prefix);
            let error =
                draft.spec.place.error(format!("no share of {bits} bits is left in the pod network {cidr} for node `{}`", node.name));
            let error = match &spec.cidr {
                Some(cidr) => cidr.place.note(error, "the pod network is here"),
                None => error,
            };
            error.hint("give [pods] a larger `cidr`, or a larger `node-prefix` for smaller shares")
        })?;
        node.pods = Some(share);
    }
    Ok(())
}

/// The written share of a node; for the n-th node of a group, n shares further on.
fn share(draft: &Draft<'_>, given: &Located<Net>, pods: &Pods, spec: &PodsSpec) -> Result<Net> {
    if !draft.spec.role.value.has_kubelet() {
        let error =
            given.place.error(format!("node `{}` runs no pods: a node of role {} has no kubelet", draft.name, draft.spec.role.value));
        return Err(draft.spec.role.place.note(error, "the role is here"));
    }
    if given.value.prefix() > SHARE_MAX {
        return Err(given.place.error(format!("a node's share of the pods has at most {SHARE_MAX} bits, {} has more", given.value)));
    }
    given.value.forth(draft.nth).filter(|share| pods.cidr.contains_net(*share)).ok_or_else(|| {
        let share = given.value.forth(draft.nth).map_or_else(|| "beyond all addresses".to_owned(), |share| share.to_string());
        let error =
            given.place.error(format!("the pod share of node `{}` ({share}) is not within the pod network {}", draft.name, pods.cidr));
        match &spec.cidr {
            Some(cidr) => cidr.place.note(error, "the pod network is here"),
            None => error.hint("the pod network is the default; `cidr` in [pods] replaces it"),
        }
    })
}
