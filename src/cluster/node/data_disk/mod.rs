//! A node's second disk: the command with which cloud-init mounts it before services start.

use crate::cluster::model::{DataDisk, Node};
use crate::common::yaml::Yaml;

/// The serial number that identifies the disk on the node, at any position of any bus. Virtio has 20 bytes for it.
pub(in crate::cluster) const DATA_SERIAL: &str = "kbake-data";

/// The script; its arguments are the disk and the folder.
const SCRIPT: &str = include_str!("../data_disk.sh");

/// The items of `bootcmd`, which cloud-init runs at each boot before it writes files: some of those lie on the disk.
pub(in crate::cluster) fn boot_commands<L>(node: &Node) -> Option<Yaml<'static, L>> {
    node.data.as_ref().map(|data| Yaml::List(vec![boot_command(data)]))
}

fn boot_command<L>(data: &DataDisk) -> Yaml<'static, L> {
    let disk = format!("/dev/disk/by-id/virtio-{DATA_SERIAL}");
    Yaml::texts(["sh", "-c", SCRIPT, "kbake-data-disk", &disk, &data.mount.to_string()])
}

#[cfg(test)]
mod tests;
