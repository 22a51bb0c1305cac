//! A node's second disk: the command with which cloud-init mounts it before services start.

use super::yaml::Yaml;
use crate::cluster::{DataDisk, Node};

/// The serial number by which the node knows the disk, on whatever bus and place it is. Virtio has 20 bytes for it.
pub(super) const DATA_SERIAL: &str = "kbake-data";

/// Run with the disk and the folder as arguments.
const SCRIPT: &str = include_str!("data_disk.sh");

/// The items of `bootcmd`, which cloud-init runs at each boot, before it writes files: some of those lie on the disk.
pub(super) fn boot_commands(node: &Node) -> Option<Yaml<'static>> {
    node.data.as_ref().map(|data| Yaml::List(vec![boot_command(data)]))
}

fn boot_command(data: &DataDisk) -> Yaml<'static> {
    let disk = format!("/dev/disk/by-id/virtio-{DATA_SERIAL}");
    Yaml::texts(["sh", "-c", SCRIPT, "kbake-data-disk", &disk, &data.mount.to_string()])
}

#[cfg(test)]
mod tests;
