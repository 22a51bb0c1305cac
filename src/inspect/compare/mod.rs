//! How two disk images differ: partition by partition and file by file, then whatever differs outside of any file, and
//! last the image files themselves.

mod files;

mod raw;

use std::ops::ControlFlow;
use std::path::Path;

use super::disk::{Disk, Trouble};
use super::ranges::Ranges;
use super::table::{Partition, Table};
use super::volume::{self, Volume};
use crate::error::{Error, Result};
use crate::fsx;
use crate::value::Cancel;

/// What one side has where the other has something.
const NOTHING: &str = "-";

/// One thing that two images do not have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `partition 2 (root)`; `disk` for what is in none, `image file` for how the disk is stored.
    pub partition: String,
    /// The file, absolute and escaped; none for what is outside of any.
    pub path: Option<String>,
    /// What of it.
    pub field: String,
    /// Its value in the first image.
    pub left: String,
    /// Its value in the second image.
    pub right: String,
}

/// Tells every difference between two disk images, qcow2 or raw, until it is told to stop. No difference at all means
/// the same bytes on the disk, and of two files of the same format also the same bytes in the files.
///
/// The order is that of the disk: for each partition its files in the order of their paths; then what is outside of any
/// file: the table, superblocks, and where else bytes differ, once for each sort of place.
///
/// # Errors
/// When a file cannot be read, or is no disk image. Filesystems that cannot be read are compared byte by byte.
pub fn compare(left: &Path, right: &Path, cancel: &Cancel, tell: &mut dyn FnMut(Difference) -> ControlFlow<()>) -> Result<()> {
    let mut teller = Teller { tell, told: false, told_content: false };
    let sides = [Side::open(left, cancel)?, Side::open(right, cancel)?];
    match run(&sides, cancel, &mut teller) {
        Ok(()) | Err(Halt::Stop) => Ok(()),
        Err(Halt::Own(error)) => Err(error),
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

/// Who listens.
struct Teller<'a> {
    tell: &'a mut dyn FnMut(Difference) -> ControlFlow<()>,
    /// Whether there was anything to tell.
    told: bool,
    /// Whether some file's bytes differ, or where they are may.
    told_content: bool,
}

impl Teller<'_> {
    fn tell(&mut self, partition: &str, path: Option<String>, field: &str, left: String, right: String) -> Result<(), Halt> {
        self.told = true;
        let difference = Difference { partition: partition.into(), path, field: field.into(), left, right };
        match (self.tell)(difference) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::Stop),
        }
    }

    /// Tells what differs between two lists of names and values.
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
                self.tell(partition, path.map(Into::into), name.as_ref(), value.clone(), other)?;
            }
        }
        for (name, value) in right.iter().filter(|(name, _)| !left.iter().any(|(n, _)| n.as_ref() == name.as_ref())) {
            self.tell(partition, path.map(Into::into), name.as_ref(), NOTHING.into(), value.clone())?;
        }
        Ok(())
    }
}

/// Why comparing ends early.
enum Halt {
    /// Who listens has heard enough.
    Stop,
    Own(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Own(error)
    }
}

fn run(sides: &[Side; 2], cancel: &Cancel, teller: &mut Teller<'_>) -> Result<(), Halt> {
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
            partition(sides, [a, b], cancel, teller, &mut ranges)?;
        }
    }
    outside(sides, &seen, cancel, teller)?;
    raw::compare(sides, &ranges, cancel, teller)?;
    image_files(sides, cancel, teller)
}

/// Two partitions of the same number.
fn partition(
    sides: &[Side; 2],
    [a, b]: [&Partition; 2],
    cancel: &Cancel,
    teller: &mut Teller<'_>,
    ranges: &mut [Ranges; 2],
) -> Result<(), Halt> {
    let name = a.name();
    let (left, right) = (Volume::open(a, &sides[0].disk, cancel)?, Volume::open(b, &sides[1].disk, cancel)?);
    if let (Some(left), Some(right)) = (left.files(), right.files())
        && left.word() == right.word()
    {
        let outcome = files::compare(&name, [left, right], cancel, teller, ranges);
        return match outcome {
            Ok(()) => Ok(()),
            Err(files::Stuck::Halt(halt)) => Err(halt),
            Err(files::Stuck::Broken(side, why)) => {
                let mut said = ["readable".to_owned(), "not known: the other one cannot be read".to_owned()];
                said[side] = why;
                if side == 0 {
                    said[1] = "not looked at: the first one cannot be read".into();
                }
                let [left, right] = said;
                teller.told_content = true;
                teller.tell(&name, None, "filesystem", left, right)
            }
        };
    }
    teller.told_content = true;
    match (left.word(), right.word()) {
        (left, right) if left == right => Ok(()),
        (left, right) => teller.tell(&name, None, "filesystem", left, right),
    }
}

/// Tables, and the filesystems' own fields.
fn outside(sides: &[Side; 2], numbers: &[u32], cancel: &Cancel, teller: &mut Teller<'_>) -> Result<(), Halt> {
    let [left, right] = sides;
    let facts = |side: &Side| {
        let own = [("size".to_owned(), side.disk.size().to_string()), ("partition table".to_owned(), side.table.kind.word().to_owned())];
        own.into_iter().chain(side.table.facts.iter().cloned()).collect::<Vec<_>>()
    };
    teller.facts("disk", None, &facts(left), &facts(right))?;
    for number in numbers {
        let (a, b) = (left.find(*number), right.find(*number));
        let name = a.or(b).map(Partition::name).unwrap_or_default();
        match (a, b) {
            (Some(a), Some(b)) => {
                if a.number != 0 {
                    teller.facts(&name, None, &a.facts(), &b.facts())?;
                }
                let (a, b) = (Volume::open(a, &left.disk, cancel)?, Volume::open(b, &right.disk, cancel)?);
                if let (Some(a), Some(b)) = (a.files(), b.files()) {
                    teller.facts(&name, None, &a.facts(), &b.facts())?;
                }
            }
            (a, b) => {
                let word = |side: Option<&Partition>| side.map_or(NOTHING.into(), |found| format!("partition of {} bytes", found.size));
                teller.tell(&name, None, "partition", word(a), word(b))?;
            }
        }
    }
    Ok(())
}

/// Two disks without any difference may still be stored in different ways.
fn image_files(sides: &[Side; 2], cancel: &Cancel, teller: &mut Teller<'_>) -> Result<(), Halt> {
    let [left, right] = sides.each_ref().map(|side| &side.disk);
    if teller.told || left.is_qcow2() != right.is_qcow2() {
        return Ok(());
    }
    let digest = |disk: &Disk| -> Result<String> {
        let (digest, size) = fsx::digest_of(&fsx::open_disk(disk.path())?, disk.path(), cancel)?;
        Ok(format!("sha256:{digest}, {size} bytes"))
    };
    let (a, b) = (digest(left)?, digest(right)?);
    if a == b { Ok(()) } else { teller.tell("image file", None, "content", a, b) }
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        match trouble.broken() {
            Ok(why) => Halt::Own(Error::integrity("cannot read the image").detail(why)),
            Err(error) => Halt::Own(error),
        }
    }
}

#[cfg(test)]
mod tests;
