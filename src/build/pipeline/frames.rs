//! Cached frames: contents in the compressed form that images store, so that nothing is compressed twice.
//!
//! Each base has one file of frames, with the clusters of its contents as the base alone would lie on a disk. Each large
//! content of a role has one too; it occupies clusters of its own in every image. Both depend on the contents alone, not on
//! the image that was built first. A cluster whose description is found here need not be read.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufWriter, Write as _};

use rayon::prelude::*;

use super::step::{FrameSource, Step, StepKind, extractions};
use super::unpacked::is_unpacked;
use super::{disk, role_base};
use crate::build::{Bake, Filesystem, Resolved};
use crate::common::error::{Error, Result};
use crate::common::value::Sha256;
use crate::formats::disk::cluster::{CLUSTER, Described, data_len, describe, only};
use crate::formats::disk::qcow2::{self, Composer, FramesWriter};
use crate::formats::disk::{ContentSource, Data, Piece, Pieces};
use crate::spec::plan::{Extraction, PlannedKind};
use crate::storage::store::{Action, Blob, BlobWriter, Stretch, Unplaced};

/// The name of their only output.
const FILE: &str = "frames";
/// Contents of at least so many bytes get a file of frames of their own. Smaller ones would cost more files than they save
/// work.
const LARGE: u64 = 1 << 20;
/// The size of the buffer for writing frames, in bytes: frames are much smaller than a write should be.
const WRITE_BUFFER: usize = 1 << 20;

/// The cached frames of a role, by the digests of their clusters' descriptions.
pub(in crate::build) struct Frames(BTreeMap<Sha256, Kept>);

/// The location of a cluster in stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    /// The blob that has it.
    file: Blob,
    /// Its offset in the blob, in bytes.
    offset: u64,
    /// Its length in bytes; 0 for a cluster of zeros.
    len: u32,
}

impl Frames {
    /// A cluster, keyed by the digest of its description.
    fn get(&self, key: &Sha256) -> Option<Kept> {
        self.0.get(key).copied()
    }
}

impl Bake<'_> {
    /// Distrusts all cached frames and compositions that an image was built from: the next build compresses everything
    /// again.
    pub(in crate::build) fn forget_image(&self, resolved: &Resolved) -> Result<()> {
        for step in self.derived_steps(resolved)? {
            self.store.distrust_action(step.kind().word(), &step.key())?;
        }
        self.store.distrust_action(StepKind::Image.word(), &resolved.plan.key())
    }

    /// The subjects of a role's frames, as far as known: its base, then its large contents.
    fn subjects(&self, resolved: &Resolved) -> Result<Vec<FrameSource>> {
        let mut all = Vec::new();
        if let Some(base) = self.recorded(&role_base(resolved)) {
            all.extend(base.outputs.get("tree").map(|tree| FrameSource::Base(tree.digest)));
        }
        for node in resolved.plan.files().values() {
            let contents = match &node.kind {
                PlannedKind::Named { digest, size } => vec![(*digest, *size)],
                PlannedKind::Extraction(extraction) => self.extraction_contents(extraction)?,
                _ => Vec::new(),
            };
            all.extend(contents.into_iter().filter(|(_, size)| *size >= LARGE).map(|(digest, size)| FrameSource::Content(digest, size)));
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// The contents that the tree has of a built file, as far as known.
    fn extraction_contents(&self, extraction: &Extraction) -> Result<Vec<(Sha256, u64)>> {
        match self.recorded_file(extraction)? {
            None => Ok(Vec::new()),
            Some(text) if is_unpacked(extraction) => self.contents_of(&text),
            Some(blob) => Ok(vec![(blob.digest, blob.size)]),
        }
    }

    /// The steps of a role whose keys depend on results of others, as far as the store has these: frames, then the
    /// composition.
    pub(in crate::build) fn derived_steps(&self, resolved: &Resolved) -> Result<Vec<Step<'static>>> {
        let mut steps: Vec<Step<'static>> = self.subjects(resolved)?.into_iter().map(Step::Frames).collect();
        let image = self.recorded(&Step::Image(resolved.plan.key()));
        steps.extend(image.and_then(|image| image.outputs.get("image").copied()).map(|image| Step::Composition(image.digest)));
        Ok(steps)
    }

    /// True when all known frames of a role are cached.
    pub(in crate::build) fn has_frames(&self, resolved: &Resolved) -> Result<bool> {
        for (_, extraction) in extractions(resolved) {
            if self.recorded_file(extraction)?.is_none() {
                return Ok(false);
            }
        }
        let subjects = self.subjects(resolved)?;
        let has_base = subjects.iter().any(|subject| matches!(subject, FrameSource::Base(_)));
        Ok(has_base && subjects.into_iter().all(|subject| self.kept(subject).is_some()))
    }

    /// Hashes the cached files of frames of a role while another step runs. Damaged ones are put aside, and built again.
    pub(in crate::build) fn verify_frames(&self, resolved: &Resolved) {
        let kept = self.subjects(resolved).unwrap_or_default().into_iter().filter_map(|subject| self.kept(subject));
        kept.collect::<Vec<_>>().par_iter().for_each(|file| {
            // Errors are ignored: the reader of the frames reports them.
            let _ = self.cancel.check().and_then(|()| self.store.open_verified(&file.digest));
        });
    }

    /// The frames of a role; missing ones are built. All of them are verified.
    pub(in crate::build) fn frames(&self, resolved: &Resolved, filesystem: &Filesystem) -> Result<Frames> {
        let mut of = BTreeMap::new();
        let mut missing = Vec::new();
        for subject in self.subjects(resolved)? {
            match self.kept(subject) {
                Some(file) => _ = of.insert(subject, file),
                None => missing.push(subject),
            }
        }
        of.extend(self.make_frames(resolved, filesystem, &missing)?);
        // In the order of the subjects, so that the state of the cache does not decide which of two equal clusters is used.
        let files: Vec<Blob> = of.into_values().collect();
        let opened: Result<Vec<_>> = files.par_iter().map(|file| self.open_frames(*file)).collect();
        Ok(Frames(opened?.into_iter().flatten().collect()))
    }

    fn kept(&self, subject: FrameSource) -> Option<Blob> {
        self.recorded(&Step::Frames(subject)).and_then(|action| frames_of(&action))
    }

    fn open_frames(&self, file: Blob) -> Result<Vec<(Sha256, Kept)>> {
        self.cancel.check()?;
        let gone = || Error::integrity(format!("sha256:{} is gone from the store", file.digest)).hint("run the command again");
        let open = self.store.open_verified(&file.digest)?.ok_or_else(gone)?;
        let index = qcow2::index(open.size(), &|into, at| open.read_exact_at(into, at))?;
        Ok(index.into_iter().map(|kept| (kept.key, Kept { file, offset: kept.offset, len: kept.len })).collect())
    }

    fn make_frames(&self, resolved: &Resolved, filesystem: &Filesystem, missing: &[FrameSource]) -> Result<Vec<(FrameSource, Blob)>> {
        let mut files = Vec::new();
        let mut contents = Vec::new();
        for subject in missing {
            match *subject {
                FrameSource::Base(_) => files.push((*subject, self.base_frames(resolved, filesystem, *subject)?)),
                FrameSource::Content(digest, size) => contents.push((*subject, digest, size)),
            }
        }
        if !contents.is_empty() {
            let (disk, of) = side_by_side(&contents);
            let written = self.compress(&format!("new contents of {}", resolved.plan.role()), &disk, &filesystem.contents, of)?;
            files.extend(self.keep(written)?);
        }
        Ok(files)
    }

    /// The frames of a base. Several roles may need them at the same time.
    fn base_frames(&self, resolved: &Resolved, filesystem: &Filesystem, source: FrameSource) -> Result<Blob> {
        let make = || {
            let disk = disk::base_disk(&filesystem.base, resolved.plan.disk_size())?;
            let described: Vec<Described> = describe(&disk).into_iter().filter(|described| described.contents).collect();
            let written = self.compress("the base", &disk, &filesystem.contents, vec![(source, described)])?;
            let (_, file) = written.into_iter().next().ok_or_else(|| Error::internal("a base has no frames"))?;
            let outputs = [(FILE.to_owned(), file.blob())].into();
            self.store.place(vec![file])?;
            Ok(outputs)
        };
        self.realise(&Step::Frames(source), resolved.plan.role(), |action| Ok(frames_of(action)), make).map(|(file, _)| file)
    }

    /// Stores files of frames, then records their entries.
    fn keep(&self, written: Vec<(FrameSource, Unplaced)>) -> Result<Vec<(FrameSource, Blob)>> {
        let (mut files, mut entries, mut unplaced) = (Vec::new(), Vec::new(), Vec::new());
        for (subject, file) in written {
            let outputs = [(FILE.to_owned(), file.blob())].into();
            let step = Step::Frames(subject);
            entries.push((step.kind().word(), step.key(), Action { outputs }));
            files.push((subject, file.blob()));
            unplaced.push(file);
        }
        self.store.place(unplaced)?;
        self.store.put_actions(&entries)?;
        Ok(files)
    }

    /// Compresses the described clusters of a disk into one file for each subject; on the disk the subjects follow one
    /// another.
    fn compress(
        &self,
        what: &str,
        disk: &Pieces,
        source: &dyn ContentSource,
        of: Vec<(FrameSource, Vec<Described>)>,
    ) -> Result<Vec<(FrameSource, Unplaced)>> {
        let wanted: Vec<u64> = of.iter().flat_map(|(_, described)| described).map(|described| described.index).collect();
        let part = only(disk, &wanted);
        let total = data_len(&part);
        self.store.require_space(total)?;
        self.report.begin(&format!("compressing {what}"), total);
        let mut writer = Writer { bake: self, of: of.into(), next: 0, open: None, written: Vec::new() };
        let compressed = qcow2::compress(&part, Some(&wanted), source, self.jobs, self.cancel, &mut |frame| {
            self.report.reached(frame.done);
            writer.put(frame.index, frame.stored)
        });
        self.report.done();
        compressed?;
        writer.finish()
    }
}

/// The file of frames that an entry names.
fn frames_of(action: &Action) -> Option<Blob> {
    action.outputs.get(FILE).copied()
}

/// The contents as a disk, each starting on a cluster, with the range of each.
fn side_by_side(contents: &[(FrameSource, Sha256, u64)]) -> (Pieces, Vec<(FrameSource, Vec<Described>)>) {
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
    let mut of: Vec<(FrameSource, Vec<Described>)> = Vec::new();
    for (subject, start) in starts.into_iter().rev() {
        let first = described.partition_point(|described| described.index < start);
        of.push((subject, described.split_off(first)));
    }
    of.reverse();
    (disk, of)
}

/// Writes files of frames one after the other.
struct Writer<'a> {
    bake: &'a Bake<'a>,
    of: VecDeque<(FrameSource, Vec<Described>)>,
    /// The next cluster of the first unfinished subject.
    next: usize,
    open: Option<FramesWriter<BufWriter<BlobWriter<'a>>>>,
    written: Vec<(FrameSource, Unplaced)>,
}

impl Writer<'_> {
    /// The next cluster that is not all zero.
    fn put(&mut self, index: u64, stored: &[u8]) -> Result<()> {
        while let Some(key) = self.due(|due| due <= index)? {
            // The clusters before it have no frame: they are zero.
            let zero = key.index < index;
            self.write(&key, if zero { &[] } else { stored })?;
            if !zero {
                return Ok(());
            }
        }
        Err(Error::internal(format!("cluster {index} is not a wanted one")))
    }

    /// The next cluster, if its index is wanted. Finishes files whose clusters are all written.
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
            self.written.push((subject, file));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<(FrameSource, Unplaced)>> {
        while let Some(zero) = self.due(|_| true)? {
            self.write(&zero, &[])?;
        }
        Ok(self.written)
    }
}

impl Bake<'_> {
    /// The composition of an image: cached frames, and one new blob with everything else: the other clusters, the tables and
    /// the header.
    pub(in crate::build) fn stretches(
        &self,
        resolved: &Resolved,
        filesystem: &Filesystem,
        disk: &Pieces,
        frames: &Frames,
    ) -> Result<Vec<Stretch>> {
        let described = describe(disk);
        let fresh: Vec<u64> = described.iter().filter(|described| frames.get(&described.key).is_none()).map(|one| one.index).collect();
        let part = only(disk, &fresh);
        let total = data_len(&part);
        // At most the size of the data: incompressible clusters are stored as they are.
        self.store.require_space(total)?;
        self.report.begin(&format!("writing the image of {}", resolved.plan.role()), total);
        let mut rest = Rest::new(self)?;
        let mut written = Vec::new();
        let compressed = qcow2::compress(&part, Some(&fresh), &filesystem.contents, self.jobs, self.cancel, &mut |frame| {
            self.report.reached(frame.done);
            written.push((frame.index, rest.put(frame.stored)?));
            Ok(())
        });
        self.report.done();
        compressed?;
        let mut composer = Composer::new(disk.len(), resolved.plan.disk_size())?;
        // New data is a stretch of a blob whose digest is not known yet.
        let mut placed: Vec<(u64, Part)> = Vec::with_capacity(described.len());
        let mut written = written.into_iter().peekable();
        for Described { index, key, .. } in described {
            let part = match frames.get(&key) {
                Some(kept) => Part::Kept(kept),
                // A cluster without a frame is zero.
                None => match written.next_if(|(next, _)| *next == index) {
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
    /// A cached frame.
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

/// Writes the blob with the new data of an image.
struct Rest<'a> {
    out: BufWriter<BlobWriter<'a>>,
    end: u64,
}

impl<'a> Rest<'a> {
    fn new(bake: &Bake<'a>) -> Result<Self> {
        Ok(Rest { out: BufWriter::with_capacity(WRITE_BUFFER, bake.store.writer(None, None)?), end: 0 })
    }

    /// Returns offset and length.
    fn put(&mut self, bytes: &[u8]) -> Result<(u64, u64)> {
        self.out.write_all(bytes).map_err(|e| Error::io("write the new part of an image to the store", &e))?;
        self.end += bytes.len() as u64;
        Ok((self.end - bytes.len() as u64, bytes.len() as u64))
    }

    fn finish(self) -> Result<Blob> {
        self.out.into_inner().map_err(|e| Error::io("write the new part of an image to the store", e.error()))?.commit()
    }
}
