//! Compares two disk images: partition by partition and file by file, then the bytes outside of files, last the image files
//! themselves.

mod files;
mod raw;

use std::ops::ControlFlow;
use std::path::Path;

use super::disk::{Disk, ReadError};
use super::ranges::Ranges;
use super::table::{Partition, Table};
use super::volume::{self, Volume};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::Cancel;

/// Stands for a missing value.
const NOTHING: &str = "-";

/// One difference between two images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `partition 2 (root)`; `disk` outside of partitions, `image file` for the stored form of the disk.
    pub partition: String,
    /// The file, absolute and escaped; none outside of files.
    pub path: Option<String>,
    /// The field that differs.
    pub field: String,
    /// The value in the first image.
    pub left: String,
    /// The value in the second image.
    pub right: String,
}

/// Reports every difference between two disk images, qcow2 or raw, until `report` breaks. No difference means the same bytes on
/// the disk, and for two files of the same format also the same bytes in the files.
///
/// The order is that of the disk: for each partition its files in the order of their paths; then everything outside of files: the
/// table, superblocks, and other bytes, once for each kind of place.
///
/// # Errors
/// A file that cannot be read, or is no disk image. Filesystems that cannot be read are compared byte by byte.
pub(crate) fn compare(left: &Path, right: &Path, cancel: &Cancel, report: &mut dyn FnMut(Difference) -> ControlFlow<()>) -> Result<()> {
    let mut reporter = Reporter { report, reported: false, contents_differ: false };
    let sides = [Side::open(left, cancel)?, Side::open(right, cancel)?];
    match run(&sides, cancel, &mut reporter) {
        Ok(()) | Err(Halt::Stop) => Ok(()),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// One of the two images.
struct Side {
    disk: Disk,
    table: Table,
}

impl Side {
    fn open(path: &Path, _: &Cancel) -> Result<Self> {
        let disk = Disk::open(path)?;
        let table = volume::table(&disk)?;
        Ok(Side { disk, table })
    }

    fn find(&self, number: u32) -> Option<&Partition> {
        self.table.partitions.iter().find(|partition| partition.number == number)
    }
}

/// Reports differences to the caller.
struct Reporter<'a> {
    report: &'a mut dyn FnMut(Difference) -> ControlFlow<()>,
    /// Something was reported.
    reported: bool,
    /// A file's bytes differ, or their places may.
    contents_differ: bool,
}

impl Reporter<'_> {
    fn report(&mut self, partition: &str, path: Option<String>, field: &str, left: String, right: String) -> Result<(), Halt> {
        self.reported = true;
        let difference = Difference { partition: partition.into(), path, field: field.into(), left, right };
        match (self.report)(difference) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Stop),
        }
    }

    /// Reports the differences between two lists of names and values.
    fn facts<N: AsRef<str>>(
        &mut self,
        partition: &str,
        path: Option<&str>,
        left: &[(N, String)],
        right: &[(N, String)],
    ) -> Result<(), Halt> {
        let find =
            |list: &[(N, String)], name: &str| list.iter().find(|(n, _)| n.as_ref() == name).map_or(NOTHING.into(), |(_, v)| v.clone());
        for (name, value) in left {
            let other = find(right, name.as_ref());
            if *value != other {
                self.report(partition, path.map(Into::into), name.as_ref(), value.clone(), other)?;
            }
        }
        for (name, value) in right.iter().filter(|(name, _)| !left.iter().any(|(n, _)| n.as_ref() == name.as_ref())) {
            self.report(partition, path.map(Into::into), name.as_ref(), NOTHING.into(), value.clone())?;
        }
        Ok(())
    }
}

/// The reason for an early end.
enum Halt {
    /// The caller stopped.
    Stop,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

fn run(sides: &[Side; 2], cancel: &Cancel, reporter: &mut Reporter<'_>) -> Result<(), Halt> {
    let [left, right] = sides;
    let mut numbers: Vec<(u64, u32)> = sides.iter().flat_map(|side| side.table.partitions.iter().map(|p| (p.start, p.number))).collect();
    numbers.sort_unstable();
    let mut seen = Vec::new();
    let mut ranges = [Ranges::default(), Ranges::default()];
    for (_, number) in numbers {
        if seen.contains(&number) {
            continue;
        }
        seen.push(number);
        if let (Some(a), Some(b)) = (left.find(number), right.find(number)) {
            partition(sides, [a, b], cancel, reporter, &mut ranges)?;
        }
    }
    outside(sides, &seen, cancel, reporter)?;
    raw::compare(sides, &ranges, cancel, reporter)?;
    image_files(sides, cancel, reporter)
}

/// Compares two partitions of the same number.
fn partition(
    sides: &[Side; 2],
    [a, b]: [&Partition; 2],
    cancel: &Cancel,
    reporter: &mut Reporter<'_>,
    ranges: &mut [Ranges; 2],
) -> Result<(), Halt> {
    let name = a.name();
    let (left, right) = (Volume::open(a, &sides[0].disk, cancel)?, Volume::open(b, &sides[1].disk, cancel)?);
    if let (Some(left), Some(right)) = (left.files(), right.files())
        && left.word() == right.word()
    {
        let outcome = files::compare(&name, [left, right], cancel, reporter, ranges);
        return match outcome {
            Ok(()) => Ok(()),
            Err(files::CompareError::Halt(halt)) => Err(halt),
            Err(files::CompareError::Broken(side, why)) => {
                let mut said = ["readable".to_owned(), "unknown: the other one cannot be read".to_owned()];
                said[side] = why;
                if side == 0 {
                    said[1] = "not compared: the first one cannot be read".into();
                }
                let [left, right] = said;
                reporter.contents_differ = true;
                reporter.report(&name, None, "filesystem", left, right)
            }
        };
    }
    reporter.contents_differ = true;
    match (left.word(), right.word()) {
        (left, right) if left == right => Ok(()),
        (left, right) => reporter.report(&name, None, "filesystem", left, right),
    }
}

/// Compares the tables, and the filesystems' own fields.
fn outside(sides: &[Side; 2], numbers: &[u32], cancel: &Cancel, reporter: &mut Reporter<'_>) -> Result<(), Halt> {
    let [left, right] = sides;
    let facts = |side: &Side| {
        let own = [("size".to_owned(), side.disk.size().to_string()), ("partition table".to_owned(), side.table.kind.word().to_owned())];
        own.into_iter().chain(side.table.facts.iter().cloned()).collect::<Vec<_>>()
    };
    reporter.facts("disk", None, &facts(left), &facts(right))?;
    for number in numbers {
        let (a, b) = (left.find(*number), right.find(*number));
        let name = a.or(b).map(Partition::name).unwrap_or_default();
        match (a, b) {
            (Some(a), Some(b)) => {
                if a.number != 0 {
                    reporter.facts(&name, None, &a.facts(), &b.facts())?;
                }
                let (a, b) = (Volume::open(a, &left.disk, cancel)?, Volume::open(b, &right.disk, cancel)?);
                if let (Some(a), Some(b)) = (a.files(), b.files()) {
                    reporter.facts(&name, None, &a.facts(), &b.facts())?;
                }
            }
            (a, b) => {
                let word = |side: Option<&Partition>| side.map_or(NOTHING.into(), |found| format!("partition of {} bytes", found.size));
                reporter.report(&name, None, "partition", word(a), word(b))?;
            }
        }
    }
    Ok(())
}

/// Compares the image files: disks without a difference may be stored in different ways.
fn image_files(sides: &[Side; 2], cancel: &Cancel, reporter: &mut Reporter<'_>) -> Result<(), Halt> {
    let [left, right] = sides.each_ref().map(|side| &side.disk);
    if reporter.reported || left.is_qcow2() != right.is_qcow2() {
        return Ok(());
    }
    let digest = |disk: &Disk| -> Result<String> {
        let (digest, size) = fsx::digest_of(&fsx::open_disk(disk.path())?, disk.path(), cancel)?;
        Ok(format!("sha256:{digest}, {size} bytes"))
    };
    let (a, b) = (digest(left)?, digest(right)?);
    if a == b { Ok(()) } else { reporter.report("image file", None, "content", a, b) }
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Self {
        match error.broken() {
            Ok(why) => Halt::Failed(Error::integrity("cannot read the image").detail(why)),
            Err(error) => Halt::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests;
