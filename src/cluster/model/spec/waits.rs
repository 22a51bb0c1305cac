//! Keys that people expect and that kbake does not have yet: each is refused with a message of its own.

use crate::common::document::Section;
use crate::common::error::Result;

/// Keys at the file's top level.
pub(super) const ROOT: &[(&str, &str)] = &[KERNEL, SWAP];
/// Keys of [network].
pub(super) const NETWORK: &[(&str, &str)] = &[("cidr6", IPV6), ("ipv6", IPV6)];
/// Keys of [[node]].
pub(super) const NODE: &[(&str, &str)] = &[
    ("address6", IPV6),
    ("ipv6", IPV6),
    ("interfaces", NIC),
    ("network", NIC),
    ("networks", NIC),
    ("nic", NIC),
    ("nics", NIC),
    KERNEL,
    SWAP,
];

const IPV6: &str = "nodes have one IPv4 address so far; IPv6 and dual stack wait";
const NIC: &str = "a node has one interface so far; further ones wait. Add one to what `kbake domain-xml` prints, and its \
                   configuration by `user-data`";
const KERNEL: (&str, &str) = (
    "kernel-args",
    "the kernel's arguments are the image's, in its GRUB configuration: `kernel-args` is a key of recipes in recipes/roles/",
);
const SWAP: (&str, &str) = ("swap", "a node has no swap so far: the kubelet's configuration in the image would not start with it");

/// Refuses the planned keys in `table`. Called before the check for unknown keys, which would only call them unknown.
pub(super) fn refuse(section: &Section, table: &[(&str, &str)]) -> Result<()> {
    match table.iter().find_map(|(key, why)| Some((key, why, section.key_place(key)?))) {
        Some((key, why, place)) => Err(place.error(format!("kbake has no `{key}` here")).hint(*why)),
        None => Ok(()),
    }
}
