//! Compares two disks byte by byte, and counts the bytes that differ by kind of place.

use std::collections::BTreeMap;

use super::{Halt, NOTHING, Reporter, Side};
use crate::common::value::Cancel;
use crate::formats::inspect::disk::{Disk, Part};
use crate::formats::inspect::ranges::{Ranges, Use};
use crate::formats::inspect::table::{Partition, TableKind};
use crate::formats::inspect::volume::Volume;

/// Bytes that are compared at a time.
const CHUNK: u64 = 256 << 10;
/// The granularity of places in bytes: no named structure is smaller.
const UNIT: u64 = 512;

/// Differing bytes in one kind of place.
struct Tally {
    bytes: u64,
    first: u64,
    /// The bytes of the two disks at `first`.
    left: u8,
    right: u8,
}

/// Reports for each kind of place the number of bytes that differ, and the first one. Bytes of files are reported only when all
/// files are the same: they then lie elsewhere.
pub(super) fn compare(sides: &[Side; 2], ranges: &[Ranges; 2], cancel: &Cancel, reporter: &mut Reporter<'_>) -> Result<(), Halt> {
    let volumes = open_all(&sides[0], cancel)?;
    let mut tallies: BTreeMap<(u64, String, &'static str), Tally> = BTreeMap::new();
    let disks = sides.each_ref().map(|side| &side.disk);
    let end = disks[0].size().min(disks[1].size());
    let mut buffers = [vec![0; CHUNK as usize], vec![0; CHUNK as usize]];
    let mut at = 0;
    while let Some(next) = next_data(disks, at)?.filter(|next| *next < end) {
        cancel.check()?;
        let len = (end - next).min(CHUNK) as usize;
        let [left, right] = &mut buffers;
        disks[0].read_at(next, &mut left[..len])?;
        disks[1].read_at(next, &mut right[..len])?;
        let mut inside = 0;
        while inside < len && left[inside..len] != right[inside..len] {
            inside += left[inside..len].iter().zip(&right[inside..len]).position(|(a, b)| a != b).unwrap_or(0);
            let offset = next + inside as u64;
            let (order, partition, place, until) = place(sides, &volumes, ranges, offset)?;
            let until = ((until - next) as usize).min(len);
            let bytes = left[inside..until].iter().zip(&right[inside..until]).filter(|(a, b)| a != b).count() as u64;
            let (a, b) = (left[inside], right[inside]);
            let tally = tallies.entry((order, partition, place)).or_insert(Tally { bytes: 0, first: offset, left: a, right: b });
            tally.bytes += bytes;
            inside = until;
        }
        at = next + len as u64;
    }
    tails(disks, end, cancel, reporter)?;
    for ((_, partition, place), tally) in tallies {
        if place == Use::File.word() && reporter.contents_differ {
            continue;
        }
        let side = |byte: u8| format!("byte {} of the disk is {byte:#04x}", tally.first);
        let field = format!("{} bytes in {place}", tally.bytes);
        reporter.report(&partition, None, &field, side(tally.left), side(tally.right))?;
    }
    Ok(())
}

/// Reports data in the part that only the larger disk has.
fn tails(disks: [&Disk; 2], end: u64, cancel: &Cancel, reporter: &mut Reporter<'_>) -> Result<(), Halt> {
    for (side, disk) in disks.into_iter().enumerate() {
        let tail = Part { disk, start: end, size: disk.size() - end };
        if tail.size > 0 && !crate::formats::inspect::volume::is_empty(tail, cancel)? {
            let mut said = [NOTHING.to_owned(), NOTHING.to_owned()];
            said[side] = "not only zeros".into();
            let [left, right] = said;
            reporter.report("disk", None, &format!("bytes from {end} on"), left, right)?;
        }
    }
    Ok(())
}

/// The first offset from `at` on at which a disk may have data.
fn next_data(disks: [&Disk; 2], at: u64) -> Result<Option<u64>, Halt> {
    let [a, b] = disks.map(|disk| disk.next_data(at));
    Ok(match (a?, b?) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    })
}

fn open_all<'a>(side: &'a Side, cancel: &Cancel) -> Result<Vec<(&'a Partition, Volume<'a>)>, Halt> {
    side.table.partitions.iter().map(|partition| Ok((partition, Volume::open(partition, &side.disk, cancel)?))).collect()
}

/// The end of an MBR's boot code, in bytes.
const BOOT_CODE: u64 = 440;
/// The length of an MBR, in bytes.
const MBR: u64 = 512;
/// The length of the tables at the front of a GPT disk, in bytes: MBR, header, and 32 sectors of entries.
const GPT_FRONT: u64 = 34 * 512;
/// The length of the tables at the end of a GPT disk, in bytes: 32 sectors of entries, and the header.
const GPT_BACKUP: u64 = 33 * 512;

/// The kind of place at `offset`: its order, partition and name, and its end.
fn place(
    sides: &[Side; 2],
    volumes: &[(&Partition, Volume<'_>)],
    ranges: &[Ranges; 2],
    offset: u64,
) -> Result<(u64, String, &'static str, u64), Halt> {
    let unit = (offset / UNIT + 1) * UNIT;
    let Some((partition, volume)) = volumes.iter().find(|(p, _)| (p.start..p.start + p.size).contains(&offset)) else {
        let next = volumes.iter().map(|(p, _)| p.start).find(|start| *start > offset).unwrap_or(u64::MAX);
        let backup = sides[0].disk.size().saturating_sub(GPT_BACKUP);
        let table = match sides[0].table.kind {
            TableKind::Gpt => GPT_FRONT,
            TableKind::Mbr | TableKind::None => MBR,
        };
        return Ok(match offset {
            0..BOOT_CODE => (0, "disk".into(), "boot code", BOOT_CODE),
            _ if offset < table => (0, "disk".into(), "the partition table", table),
            _ if sides[0].table.kind == TableKind::Gpt && offset >= backup => (0, "disk".into(), "the partition table's backup", u64::MAX),
            _ => (0, "disk".into(), "space that is in no partition", next),
        });
    };
    let (order, name) = (partition.start + 1, partition.name());
    let (left, right) = (ranges[0].at(offset), ranges[1].at(offset));
    let until = left.1.min(right.1).min(partition.start + partition.size);
    if let Some(found) = strongest(left.0, right.0) {
        return Ok((order, name, found.word(), until));
    }
    let word = match volume {
        Volume::Files(fs) => match fs.place(offset - partition.start) {
            Ok(word) => word,
            Err(error) => error.broken().map(|_| "blocks of a broken filesystem")?,
        },
        _ => "a partition without files",
    };
    Ok((order, name, word, until.min(unit)))
}

/// The use to report where the two sides differ: a file's bytes come first.
fn strongest(left: Option<Use>, right: Option<Use>) -> Option<Use> {
    let either = |what: Use| (left == Some(what) || right == Some(what)).then_some(what);
    either(Use::File).or(either(Use::Names)).or(either(Use::Attribute)).or(either(Use::Slack))
}
