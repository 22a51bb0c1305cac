//! Deriving again what action entries say, out of verified bytes alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{BASE, Bake, Resolved, images, made};
use crate::error::{Class, Result};
use crate::plan::{Extract, Made, PlannedKind};
use crate::store::{Action, Blob, Lookup};
use crate::value::{Digest, Sha256};

impl Bake<'_> {
    /// Derives made things again, each with what its entry says of it; those whose archives or documents the store does not
    /// have are left out. Nothing is fetched.
    ///
    /// # Errors
    /// An archive that lacks what is locked of it, and those of the disk. What is damaged is left out.
    pub fn derive_made<'m>(&self, wanted: &[(&'m Made, Blob)]) -> Result<Vec<(&'m Made, Blob, Blob)>> {
        let mut archives: BTreeMap<(Digest, u32), BTreeSet<String>> = BTreeMap::new();
        let mut whole = BTreeMap::new();
        let extracts = wanted.iter().flat_map(|(made, _)| match made {
            Made::Extract(extract) => vec![extract.clone()],
            Made::Built(image, _) => image.files.iter().map(|(_, extract)| extract.clone()).collect(),
            Made::Pulled(..) => Vec::new(),
        });
        for extract in extracts {
            match &extract {
                Extract::Whole(digest) => whole.extend(self.store.resolve(digest, None)?.map(|blob| (extract.clone(), blob))),
                Extract::Member { archive, strip, member } => _ = archives.entry((*archive, *strip)).or_default().insert(member.clone()),
            }
        }
        let mut found = whole;
        for ((archive, strip), members) in archives {
            self.cancel.check()?;
            let Some(blob) = self.store.resolve(&archive, None)? else { continue };
            match made::members_of(self.store, &blob, strip, members, &archive.to_string()) {
                Ok(taken) => found.extend(taken.into_iter().map(|(member, blob)| (Extract::Member { archive, strip, member }, blob))),
                // Not what was locked any more: found as damage of the blob, or of whoever asks for it.
                Err(error) if error.class() == Class::Integrity => {}
                Err(error) => return Err(error),
            }
        }
        let mut derived = Vec::new();
        for (made, said) in wanted {
            self.cancel.check()?;
            let blob = match made {
                Made::Extract(extract) => found.get(extract).copied(),
                Made::Built(image, form) if image.files.iter().all(|(_, extract)| found.contains_key(extract)) => {
                    Some(images::build(self, image, *form, &found)?.file)
                }
                Made::Built(..) => None,
                Made::Pulled(image, form) => match self.is_whole(image)? {
                    true => Some(images::pull(self, image, *form)?.file),
                    false => None,
                },
            };
            derived.extend(blob.map(|blob| (*made, *said, blob)));
        }
        Ok(derived)
    }

    /// Whether the store has every document and layer of a container image.
    fn is_whole(&self, image: &crate::plan::PulledImage) -> Result<bool> {
        let known = images::known(self, image)?;
        for want in &known {
            if self.store.resolve(&want.digest, want.size)?.is_none() {
                return Ok(false);
            }
        }
        // An image has a configuration beside its index.
        Ok(known.len() > 1)
    }

    /// Holds an image against the disk that its plan gives, laid out anew over the base in the store. None when that would take an
    /// installation, an extraction or the network.
    ///
    /// # Errors
    /// Those of the disk. That they differ is no error: then it is said how.
    pub fn derive_image(&self, resolved: &Resolved, action: &Action) -> Result<Option<Result<(), String>>> {
        let held = |blob: &Blob| self.store.holds(&blob.digest, Some(blob.size));
        let (Some(image), Some(tree)) = (action.outputs.get("image"), action.outputs.get("tree")) else {
            return Ok(Some(Err("it does not name an image and a tree".into())));
        };
        if !held(image)? || !held(tree)? || !matches!(self.store.action(BASE, &resolved.plan.base_key()), Lookup::Hit(_)) {
            return Ok(None);
        }
        if !self.has_tools(resolved)? {
            return Ok(None);
        }
        for node in resolved.plan.files().values() {
            if let PlannedKind::Made(made) = &node.kind
                && self.remembered(made)?.is_none()
            {
                return Ok(None);
            }
        }
        self.report.say(&format!("{}: holding its image against its plan", resolved.plan.role()));
        let stocked = match self.tree(resolved) {
            Ok(stocked) => stocked,
            // What is in its way is damage that has been found by itself.
            Err(error) if error.class() == Class::Integrity => return Ok(None),
            Err(error) => return Err(error),
        };
        if Sha256::of(stocked.tree.to_text()) != tree.digest {
            return Ok(Some(Err(format!("the tree that it names, sha256:{}, is not the plan's", tree.digest))));
        }
        match self.stored_image(&image.digest).and_then(|image| self.verify_image(resolved, image)) {
            Ok(_) => Ok(Some(Ok(()))),
            Err(error) if matches!(error.class(), Class::Interrupted | Class::NoSpace | Class::Network) => Err(error),
            Err(error) => Ok(Some(Err(format!("its image sha256:{} is not the plan's: {}", image.digest, error.message())))),
        }
    }
}
