//! Frames that are kept: contents in the stored form that they have in images, so that nothing is compressed twice.
//!
//! There is one file of frames for a base, with the clusters of its contents as the base alone would lie on a disk; and one
//! for each large content of a role, which lies on clusters of its own in every image. Both follow from the contents alone,
//! whichever image was made first. A cluster that is looked up here by its description need not be read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufWriter, Write as _};

use rayon::prelude::*;

use super::unpacked::is_unpacked;
use super::{BASE, Bake, IMAGE, Resolved, Stocked, machine};
use crate::disk::cluster::{CLUSTER, Described, data_len, describe, only};
use crate::disk::qcow2::{self, Composer, FramesWriter};
use crate::disk::{ContentSource, Data, Piece, Pieces};
use crate::error::{Error, Result};
use crate::plan::{IMAGE_FORMAT, Made, PlannedKind, PlannedNode};
use crate::store::{Action, Blob, BlobWriter, COMPOSED, FRAMES, Lookup, Stretch, Unplaced};
use crate::value::Sha256;

/// The name of their one output.
const FILE: &str = "frames";
/// Contents of so many bytes have a file of frames of their own. Smaller ones would make more files than they spare work.
const LARGE: u64 = 1 << 20;
/// The buffer before a file of frames, in bytes: frames are small, system calls are not.
const WRITE_BUFFER: usize = 1 << 20;

/// The frames that a role can use, by the digests of their clusters' descriptions.
pub(super) struct Frames(BTreeMap<Sha256, Kept>);

/// Where a cluster is in stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    /// The blob that has it.
    file: Blob,
    /// From where on, in bytes.
    offset: u64,
    /// How long it is; 0 for a cluster of zeros.
    len: u32,
}

/// What frames are kept of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// The base whose tree has a text of this digest.
    Base(Sha256),
    /// A content by digest and size.
    Content(Sha256, u64),
}

impl Subject {
    /// By which the entry is found.
    fn key(self) -> Sha256 {
        Sha256::of(match self {
            Subject::Base(tree) => format!("frames {IMAGE_FORMAT} of the base {tree}"),
            Subject::Content(digest, size) => format!("frames {IMAGE_FORMAT} of the content {digest} {size}"),
        })
    }
}

impl Frames {
    /// A cluster by the digest of its description.
    fn get(&self, key: &Sha256) -> Option<Kept> {
        self.0.get(key).copied()
    }
}

impl Bake<'_> {
    /// Believes nothing any more of what an image was made of by compression: the next build makes all of it anew.
    pub(super) fn forget_image(&self, resolved: &Resolved) -> Result<()> {
        for (kind, key) in self.frame_entries(resolved)? {
            self.store.distrust_action(&kind, &key)?;
        }
        self.store.distrust_action(IMAGE, &resolved.plan.key())
    }

    /// What frames are kept of for a role, as far as it is known: its base, then its large contents.
    fn subjects(&self, resolved: &Resolved) -> Result<Vec<Subject>> {
        let mut all = Vec::new();
        if let Lookup::Hit(base) = self.store.action(BASE, &resolved.plan.base_key()) {
            all.extend(base.outputs.get("tree").map(|tree| Subject::Base(tree.digest)));
        }
        for node in resolved.plan.files().values() {
            let contents = match &node.kind {
                PlannedKind::Named { digest, size } => vec![(*digest, *size)],
                PlannedKind::Made(made) => self.made_contents(made)?,
                _ => Vec::new(),
            };
            all.extend(contents.into_iter().filter(|(_, size)| *size >= LARGE).map(|(digest, size)| Subject::Content(digest, size)));
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// The contents that the tree has of something made, as far as they are known.
    fn made_contents(&self, made: &Made) -> Result<Vec<(Sha256, u64)>> {
        match self.remembered(made)? {
            None => Ok(Vec::new()),
            Some(text) if is_unpacked(made) => self.contents_of(&text),
            Some(blob) => Ok(vec![(blob.digest, blob.size)]),
        }
    }

    /// The entries by which a role's image and its parts are found again, by kind and key.
    pub(super) fn frame_entries(&self, resolved: &Resolved) -> Result<BTreeSet<(String, Sha256)>> {
        let mut all: BTreeSet<_> = self.subjects(resolved)?.into_iter().map(|subject| (FRAMES.to_owned(), subject.key())).collect();
        if let Lookup::Hit(image) = self.store.action(IMAGE, &resolved.plan.key()) {
            all.extend(image.outputs.get("image").map(|image| (COMPOSED.to_owned(), image.digest)));
        }
        Ok(all)
    }

    /// Whether all frames of a role are kept, as far as is known what these are.
    pub(super) fn has_frames(&self, resolved: &Resolved) -> Result<bool> {
        let is_made = |node: &PlannedNode| match &node.kind {
            PlannedKind::Made(made) => Ok(self.remembered(made)?.is_some()),
            _ => Ok(true),
        };
        for node in resolved.plan.files().values() {
            if !is_made(node)? {
                return Ok(false);
            }
        }
        let subjects = self.subjects(resolved)?;
        let has_base = subjects.iter().any(|subject| matches!(subject, Subject::Base(_)));
        Ok(has_base && subjects.into_iter().all(|subject| self.kept(subject).is_some()))
    }

    /// Hashes the files of frames that are kept for a role, while something else is done: those that are damaged are then not
    /// there any more, and are made anew.
    pub(super) fn prove_frames(&self, resolved: &Resolved) {
        let kept = self.subjects(resolved).unwrap_or_default().into_iter().filter_map(|subject| self.kept(subject));
        kept.collect::<Vec<_>>().par_iter().for_each(|file| {
            // Whoever uses it asks again.
            let _ = self.cancel.check().and_then(|()| self.store.sound(&file.digest));
        });
    }

    /// The frames for a role, made where they are not kept yet. All of them are known to be sound.
    pub(super) fn frames(&self, resolved: &Resolved, stocked: &Stocked) -> Result<Frames> {
        let mut of = BTreeMap::new();
        let mut missing = Vec::new();
        for subject in self.subjects(resolved)? {
            match self.kept(subject) {
                Some(file) => _ = of.insert(subject, file),
                None => missing.push(subject),
            }
        }
        of.extend(self.make_frames(resolved, stocked, &missing)?);
        // In the order of the subjects: where two have the same cluster, it does not depend on the cache which one gives it.
        let files: Vec<Blob> = of.into_values().collect();
        let opened: Result<Vec<_>> = files.par_iter().map(|file| self.open_frames(*file)).collect();
        Ok(Frames(opened?.into_iter().flatten().collect()))
    }

    fn kept(&self, subject: Subject) -> Option<Blob> {
        let Lookup::Hit(action) = self.store.action(FRAMES, &subject.key()) else { return None };
        action.outputs.get(FILE).copied()
    }

    fn open_frames(&self, file: Blob) -> Result<Vec<(Sha256, Kept)>> {
        self.cancel.check()?;
        let gone = || Error::integrity(format!("sha256:{} is gone from the store", file.digest)).hint("run the command again");
        let open = self.store.sound(&file.digest)?.ok_or_else(gone)?;
        let index = qcow2::index(open.size(), &|into, at| open.read_exact_at(into, at))?;
        Ok(index.into_iter().map(|kept| (kept.key, Kept { file, offset: kept.offset, len: kept.len })).collect())
    }

    fn make_frames(&self, resolved: &Resolved, stocked: &Stocked, missing: &[Subject]) -> Result<Vec<(Subject, Blob)>> {
        let mut files = Vec::new();
        let mut contents = Vec::new();
        for subject in missing {
            match *subject {
                Subject::Base(_) => files.push((*subject, self.base_frames(resolved, stocked, *subject)?)),
                Subject::Content(digest, size) => contents.push((*subject, digest, size)),
            }
        }
        if !contents.is_empty() {
            let (disk, of) = side_by_side(&contents);
            let made = self.compress(&format!("new contents of {}", resolved.plan.role()), &disk, &stocked.source, of)?;
            files.extend(self.keep(made)?);
        }
        Ok(files)
    }

    /// The frames of a base, which several roles may want at the same time.
    fn base_frames(&self, resolved: &Resolved, stocked: &Stocked, subject: Subject) -> Result<Blob> {
        let waiting = || self.report.say("another kbake is compressing the same base; waiting");
        let _flight = self.store.plan_lock(&subject.key(), self.cancel, &waiting)?;
        if let Some(file) = self.kept(subject) {
            return Ok(file);
        }
        let disk = machine::base_disk(&stocked.base, resolved.plan.disk_size())?;
        let described: Vec<Described> = describe(&disk).into_iter().filter(|described| described.contents).collect();
        let made = self.compress("the base", &disk, &stocked.source, vec![(subject, described)])?;
        self.keep(made)?.pop().map(|(_, file)| file).ok_or_else(|| Error::internal("a base has no frames"))
    }

    /// Puts files of frames into the store, and then what they are of.
    fn keep(&self, made: Vec<(Subject, Unplaced)>) -> Result<Vec<(Subject, Blob)>> {
        let (mut files, mut entries, mut unplaced) = (Vec::new(), Vec::new(), Vec::new());
        for (subject, file) in made {
            let outputs = [(FILE.to_owned(), file.blob())].into();
            entries.push((FRAMES, subject.key(), Action { outputs }));
            files.push((subject, file.blob()));
            unplaced.push(file);
        }
        self.store.place(unplaced)?;
        self.store.put_actions(&entries)?;
        Ok(files)
    }

    /// Compresses the described clusters of a disk into a file for each subject; these follow one another on the disk.
    fn compress(
        &self,
        what: &str,
        disk: &Pieces,
        source: &dyn ContentSource,
        of: Vec<(Subject, Vec<Described>)>,
    ) -> Result<Vec<(Subject, Unplaced)>> {
        let wanted: Vec<u64> = of.iter().flat_map(|(_, described)| described).map(|described| described.index).collect();
        let part = only(disk, &wanted);
        let total = data_len(&part);
        self.store.require_space(total)?;
        self.report.begin(&format!("compressing {what}"), total);
        let mut writer = Writer { bake: self, of: of.into(), next: 0, open: None, made: Vec::new() };
        let compressed = qcow2::compress(&part, Some(&wanted), source, self.jobs, self.cancel, &mut |frame| {
            self.report.reached(frame.done);
            writer.put(frame.index, frame.stored)
        });
        self.report.done();
        compressed?;
        writer.finish()
    }
}

/// The contents as a disk, each from the start of a cluster on, and what that has.
fn side_by_side(contents: &[(Subject, Sha256, u64)]) -> (Pieces, Vec<(Subject, Vec<Described>)>) {
    let mut pieces = Vec::new();
    let mut starts = Vec::new();
    let mut at = 0u64;
    for (subject, digest, size) in contents {
        starts.push((*subject, at / CLUSTER as u64));
        pieces.push(Piece { at, data: Data::Blob { digest: *digest, size: *size, offset: 0, len: *size } });
        at = (at + size).next_multiple_of(CLUSTER as u64);
    }
    let disk = Pieces::new(at, pieces);
    let mut described = describe(&disk);
    let mut of: Vec<(Subject, Vec<Described>)> = Vec::new();
    for (subject, start) in starts.into_iter().rev() {
        let first = described.partition_point(|described| described.index < start);
        of.push((subject, described.split_off(first)));
    }
    of.reverse();
    (disk, of)
}

/// Writes files of frames, one after the other.
struct Writer<'a> {
    bake: &'a Bake<'a>,
    of: VecDeque<(Subject, Vec<Described>)>,
    /// The next cluster of the first subject that is due.
    next: usize,
    open: Option<FramesWriter<BufWriter<BlobWriter<'a>>>>,
    made: Vec<(Subject, Unplaced)>,
}

impl Writer<'_> {
    /// The next cluster that is not all zero.
    fn put(&mut self, index: u64, stored: &[u8]) -> Result<()> {
        while let Some(key) = self.due(|due| due <= index)? {
            // Those before it have no frame: they are zero.
            let zero = key.index < index;
            self.write(&key, if zero { &[] } else { stored })?;
            if !zero {
                return Ok(());
            }
        }
        Err(Error::internal(format!("cluster {index} was not asked for")))
    }

    /// The next cluster, if its index is one that is looked for; files whose clusters are all there are finished on the way.
    fn due(&mut self, is_due: impl Fn(u64) -> bool) -> Result<Option<Described>> {
        while let Some((_, described)) = self.of.front() {
            match described.get(self.next).copied() {
                Some(next) if is_due(next.index) => {
                    self.next += 1;
                    return Ok(Some(next));
                }
                Some(_) => return Ok(None),
                None => self.close()?,
            }
        }
        Ok(None)
    }

    fn write(&mut self, described: &Described, stored: &[u8]) -> Result<()> {
        let writer = self.writer()?;
        writer.put(&described.key, stored).map_err(|e| Error::io("write compressed contents to the store", &e))
    }

    fn writer(&mut self) -> Result<&mut FramesWriter<impl std::io::Write>> {
        if self.open.is_none() {
            self.open = Some(FramesWriter::new(BufWriter::with_capacity(WRITE_BUFFER, self.bake.store.writer(None, None)?)));
        }
        self.open.as_mut().ok_or_else(|| Error::internal("no file of frames is open"))
    }

    fn close(&mut self) -> Result<()> {
        let Some((subject, _)) = self.of.pop_front() else { return Ok(()) };
        self.next = 0;
        self.writer()?;
        let failed = |e: &std::io::Error| Error::io("write compressed contents to the store", e);
        if let Some(writer) = self.open.take() {
            let mut out = writer.finish().map_err(|e| failed(&e))?;
            out.flush().map_err(|e| failed(&e))?;
            let file = out.into_inner().map_err(|e| failed(e.error()))?.finish()?;
            self.made.push((subject, file));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<(Subject, Unplaced)>> {
        while let Some(zero) = self.due(|_| true)? {
            self.write(&zero, &[])?;
        }
        Ok(self.made)
    }
}

impl Bake<'_> {
    /// What an image is composed of: the frames that are kept, and one new blob with all else, which is its other clusters, its
    /// tables and its header.
    pub(super) fn stretches(&self, resolved: &Resolved, stocked: &Stocked, disk: &Pieces, frames: &Frames) -> Result<Vec<Stretch>> {
        let described = describe(disk);
        let fresh: Vec<u64> = described.iter().filter(|described| frames.get(&described.key).is_none()).map(|one| one.index).collect();
        let part = only(disk, &fresh);
        let total = data_len(&part);
        // Never more than the data itself: clusters that do not shrink are stored as they are.
        self.store.require_space(total)?;
        self.report.begin(&format!("writing the image of {}", resolved.plan.role()), total);
        let mut rest = Rest::new(self)?;
        let mut made = Vec::new();
        let compressed = qcow2::compress(&part, Some(&fresh), &stocked.source, self.jobs, self.cancel, &mut |frame| {
            self.report.reached(frame.done);
            made.push((frame.index, rest.put(frame.stored)?));
            Ok(())
        });
        self.report.done();
        compressed?;
        let mut composer = Composer::new(disk.len(), resolved.plan.disk_size())?;
        // What is new is a stretch of a blob that has no digest yet.
        let mut placed: Vec<(u64, Part)> = Vec::with_capacity(described.len());
        let mut made = made.into_iter().peekable();
        for Described { index, key, .. } in described {
            let part = match frames.get(&key) {
                Some(kept) => Part::Kept(kept),
                // One that is not made is zero.
                None => match made.next_if(|(next, _)| *next == index) {
                    Some((_, (offset, len))) => Part::Rest(offset, len),
                    None => continue,
                },
            };
            if part.len() > 0 {
                placed.push((composer.place(index, part.len() as usize), part));
            }
        }
        let (tables, summary) = composer.finish();
        for (at, bytes) in tables {
            let (offset, len) = rest.put(&bytes)?;
            placed.push((at, Part::Rest(offset, len)));
        }
        let rest = rest.finish()?;
        placed.sort_unstable_by_key(|(at, _)| *at);
        let mut stretches = Vec::with_capacity(placed.len());
        let mut end = 0;
        for (at, part) in placed {
            if at > end {
                stretches.push(Stretch::Zero { len: at - end });
            }
            end = at + part.len();
            stretches.push(match part {
                Part::Kept(Kept { file, offset, len }) => Stretch::Of { blob: file, offset, len: len.into() },
                Part::Rest(offset, len) => Stretch::Of { blob: rest, offset, len },
            });
        }
        if end != summary.file_size {
            return Err(Error::internal(format!("an image of {} bytes was composed to {end}", summary.file_size)));
        }
        Ok(stretches)
    }
}

/// A stretch of an image's file.
enum Part {
    /// A frame that was kept.
    Kept(Kept),
    /// Bytes of the new blob: offset and length.
    Rest(u64, u64),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Kept(kept) => kept.len.into(),
            Part::Rest(_, len) => *len,
        }
    }
}

/// Writes the blob of what is new in an image.
struct Rest<'a> {
    out: BufWriter<BlobWriter<'a>>,
    end: u64,
}

impl<'a> Rest<'a> {
    fn new(bake: &Bake<'a>) -> Result<Self> {
        Ok(Rest { out: BufWriter::with_capacity(WRITE_BUFFER, bake.store.writer(None, None)?), end: 0 })
    }

    /// Gives offset and length.
    fn put(&mut self, bytes: &[u8]) -> Result<(u64, u64)> {
        self.out.write_all(bytes).map_err(|e| Error::io("write the new part of an image to the store", &e))?;
        self.end += bytes.len() as u64;
        Ok((self.end - bytes.len() as u64, bytes.len() as u64))
    }

    fn finish(self) -> Result<Blob> {
        self.out.into_inner().map_err(|e| Error::io("write the new part of an image to the store", e.error()))?.commit()
    }
}
