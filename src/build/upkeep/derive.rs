//! Recomputes the outputs of action entries from verified bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::pipeline::step::extractions;
use crate::build::pipeline::{extract, images, role_base};
use crate::build::{Bake, Resolved};
use crate::common::error::{Class, Result};
use crate::common::value::{Digest, Sha256};
use crate::spec::plan::{Extraction, FileSource};
use crate::storage::store::{Action, Blob};

impl Bake<'_> {
    /// Builds files from artifacts again. Returns each with the output of its entry. Skips files whose archives or documents
    /// the store lacks. Fetches nothing.
    ///
    /// # Errors
    /// An archive lacks a locked member; I/O errors. Damaged blobs are skipped.
    pub fn derive_extractions<'m>(&self, wanted: &[(&'m Extraction, Blob)]) -> Result<Vec<(&'m Extraction, Blob, Blob)>> {
        let mut archives: BTreeMap<(Digest, u32), BTreeSet<String>> = BTreeMap::new();
        let mut whole = BTreeMap::new();
        let extracts = wanted.iter().flat_map(|(extraction, _)| match extraction {
            Extraction::File(extract) => vec![extract.clone()],
            Extraction::Built(image, _) => image.files.iter().map(|(_, extract)| extract.clone()).collect(),
            Extraction::Pulled(..) => Vec::new(),
        });
        for extract in extracts {
            match &extract {
                FileSource::Whole(digest) => whole.extend(self.store.resolve(digest, None)?.map(|blob| (extract.clone(), blob))),
                FileSource::Member { archive, strip, member } => _ = archives.entry((*archive, *strip)).or_default().insert(member.clone()),
            }
        }
        let mut found = whole;
        for ((archive, strip), members) in archives {
            self.cancel.check()?;
            let Some(blob) = self.store.resolve(&archive, None)? else { continue };
            match extract::members_of(self.store, &blob, strip, members, &archive.to_string()) {
                Ok(taken) => found.extend(taken.into_iter().map(|(member, blob)| (FileSource::Member { archive, strip, member }, blob))),
                // The blob is not what was locked: reported as damage of the blob, or by its next reader.
                Err(error) if error.class() == Class::Integrity => {}
                Err(error) => return Err(error),
            }
        }
        let mut derived = Vec::new();
        for (extraction, said) in wanted {
            self.cancel.check()?;
            let blob = match extraction {
                Extraction::File(extract) => found.get(extract).copied(),
                Extraction::Built(image, form) if image.files.iter().all(|(_, extract)| found.contains_key(extract)) => {
                    Some(images::build(self, image, *form, &found)?.file)
                }
                Extraction::Built(..) => None,
                Extraction::Pulled(image, form) => match self.is_whole(image)? {
                    true => Some(images::pull(self, image, *form)?.file),
                    false => None,
                },
            };
            derived.extend(blob.map(|blob| (*extraction, *said, blob)));
        }
        Ok(derived)
    }

    /// True when the store has every document and layer of a container image.
    fn is_whole(&self, image: &crate::spec::plan::PulledImage) -> Result<bool> {
        let known = images::known(self, image)?;
        for want in &known {
            if self.store.resolve(&want.digest, want.size)?.is_none() {
                return Ok(false);
            }
        }
        // An image has a configuration beside its index.
        Ok(known.len() > 1)
    }

    /// Compares an image with the disk of its plan, laid out again over the base in the store. None when that would need an
    /// installation, an extraction or the network.
    ///
    /// # Errors
    /// I/O errors. A difference is no error: it is returned as text.
    pub fn derive_image(&self, resolved: &Resolved, action: &Action) -> Result<Option<Result<(), String>>> {
        let held = |blob: &Blob| self.store.holds(&blob.digest, Some(blob.size));
        let (Some(image), Some(tree)) = (action.outputs.get("image"), action.outputs.get("tree")) else {
            return Ok(Some(Err("it does not name an image and a tree".into())));
        };
        if !held(image)? || !held(tree)? || self.recorded(&role_base(resolved)).is_none() {
            return Ok(None);
        }
        if !self.has_tools(resolved)? {
            return Ok(None);
        }
        for (_, extraction) in extractions(resolved) {
            if self.recorded_file(extraction)?.is_none() {
                return Ok(None);
            }
        }
        self.report.say(&format!("{}: comparing its image with its plan", resolved.plan.role()));
        let filesystem = match self.tree(resolved) {
            Ok(filesystem) => filesystem,
            // The damage behind this error is reported separately.
            Err(error) if error.class() == Class::Integrity => return Ok(None),
            Err(error) => return Err(error),
        };
        if Sha256::of(filesystem.tree.to_text()) != tree.digest {
            return Ok(Some(Err(format!("its tree sha256:{} is not the plan's", tree.digest))));
        }
        match self.stored_image(&image.digest).and_then(|image| self.verify_image(resolved, image)) {
            Ok(_) => Ok(Some(Ok(()))),
            Err(error) if matches!(error.class(), Class::Interrupted | Class::NoSpace | Class::Network) => Err(error),
            Err(error) => Ok(Some(Err(format!("its image sha256:{} is not the plan's: {}", image.digest, error.message())))),
        }
    }
}
