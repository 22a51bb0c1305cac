//! Mount points of a disk's partitions: the rules are for paths on a running machine.

use super::super::disk::ReadError;
use super::super::filesystem::{Filesystem, Kind};
use super::super::table::Partition;
use super::super::volume::Volume;
use crate::common::error::Result;

/// The largest fstab that is read, in bytes.
const FSTAB_MAX: usize = 64 << 10;

/// Mount points of partition types ([discoverable partitions](https://uapi-group.org/specifications/specs/discoverable_partitions_specification/)).
const TYPES: &[(&str, &str)] = &[
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "boot/efi"),
    ("bc13c2ff-59e6-4262-a352-b275fd6f7172", "boot"),
    ("933ac7e1-2eb4-4f13-b844-0e14e2aef915", "home"),
    ("3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "srv"),
    ("4d21b016-b534-45c2-a9fb-5c16e091fd2d", "var"),
    ("7ec6f557-3bc5-4aca-b293-16ef5df639d1", "var/tmp"),
];

/// The mount point of each volume, without leading slash: empty for a root, none where it is unknown.
pub(super) fn points(volumes: &[(&Partition, Volume<'_>)]) -> Result<Vec<Option<String>>> {
    let mut lines = Vec::new();
    for fs in volumes.iter().filter_map(|(_, volume)| volume.files()) {
        match fstab(fs) {
            Ok(text) => lines.extend(text.lines().map(str::to_owned)),
            // The audit of the files reports it.
            Err(error) => _ = error.broken()?,
        }
    }
    Ok(volumes.iter().map(|(partition, volume)| point(partition, volume, &lines)).collect())
}

fn point(partition: &Partition, volume: &Volume<'_>, fstab: &[String]) -> Option<String> {
    let fs = volume.files()?;
    let names: Vec<Vec<u8>> =
        fs.root().and_then(|root| fs.list(&root)).map(|list| list.into_iter().map(|(name, _)| name).collect()).unwrap_or_default();
    if names.iter().any(|name| name == b"etc") {
        return Some(String::new());
    }
    let facts = fs.facts();
    let fact =
        |wanted: &str| facts.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    let plain = |text: &str| text.to_lowercase().replace('-', "");
    let is_this = |device: &str| {
        let (name, value) = device.split_once('=').unwrap_or(("", device));
        let value = value.trim_matches('"');
        match name {
            "UUID" => [fact("UUID"), fact("serial number").and_then(|serial| serial.strip_prefix("0x"))]
                .into_iter()
                .flatten()
                .any(|id| plain(id) == plain(value)),
            "LABEL" => fact("label").is_some_and(|label| label.trim_end() == value),
            "PARTUUID" => partition.guid.eq_ignore_ascii_case(value),
            "PARTLABEL" => partition.label == value,
            _ => {
                device.starts_with("/dev/")
                    && device.ends_with(&partition.number.to_string())
                    && device.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with(['a', 'p'])
            }
        }
    };
    let listed = fstab.iter().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (device, point) = (words.next()?, words.next()?);
        (!device.starts_with('#') && point.starts_with('/') && is_this(device)).then(|| point.to_owned())
    });
    let typed = TYPES.iter().find(|(kind, _)| *kind == partition.kind).map(|(_, point)| (*point).to_owned());
    let last = fact("last mounted on").map(str::to_owned);
    listed.chain(typed).chain(last).next().map(|point| point.trim_matches('/').to_owned())
}

/// The text of `/etc/fstab`; empty where the file is missing.
fn fstab(fs: &dyn Filesystem) -> Result<String, ReadError> {
    let mut node = fs.root()?;
    for wanted in [&b"etc"[..], b"fstab"] {
        match fs.list(&node)?.into_iter().find(|(name, _)| name == wanted) {
            Some((_, found)) => node = found,
            None => return Ok(String::new()),
        }
    }
    if node.kind != Kind::File {
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&fs.content(&node)?.head(fs.part(), node.size, FSTAB_MAX)?).into_owned())
}
