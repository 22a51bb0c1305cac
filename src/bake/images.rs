//! Archives of container images: built from programs in the store, or pulled from a registry into it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};

use super::Bake;
use crate::error::{Error, Result};
use crate::oci;
use crate::plan::{BuiltImage, Extract, PulledImage};
use crate::store::{Blob, Store};
use crate::tree::ContentSource;
use crate::value::Sha256;

/// Permission bits of programs in images that kbake builds.
const PROGRAM: u16 = 0o755;

/// Builds an image's archive.
pub fn build(bake: &Bake, image: &BuiltImage, programs: &BTreeMap<Extract, Blob>) -> Result<Blob> {
    bake.report.say(&format!("building the container image {}", image.reference));
    let files = image.files.iter().map(|(path, extract)| {
        let blob = programs.get(extract).ok_or_else(|| Error::internal(format!("{path} of {} was not extracted", image.reference)))?;
        Ok(oci::File { path: path.clone(), mode: PROGRAM, size: blob.size, digest: blob.digest })
    });
    let built = oci::Built {
        reference: image.reference.clone(),
        arch: image.arch,
        epoch: image.epoch,
        command: image.command.clone(),
        files: files.collect::<Result<_>>()?,
    };
    let source = Blobs(bake.store);
    archive(bake, &built.image(&source, bake.cancel)?)
}

/// Makes an image's archive out of what its registry has.
pub fn pull(_bake: &Bake, image: &PulledImage) -> Result<Blob> {
    Err(Error::internal(format!("cannot pull {}", image.reference)))
}

/// Brings all that is needed of an image into the store.
pub fn fetch(_bake: &Bake, image: &PulledImage) -> Result<()> {
    Err(Error::internal(format!("cannot pull {}", image.reference)))
}

fn archive(bake: &Bake, image: &oci::Image) -> Result<Blob> {
    let mut writer = bake.store.writer(None, None)?;
    image.write(&Blobs(bake.store), &mut writer, bake.cancel)?;
    writer.flush().map_err(|e| Error::io(format!("write the archive of {}", image.reference()), &e))?;
    writer.commit()
}

/// The store's blobs as contents.
struct Blobs<'a>(&'a Store);

impl ContentSource for Blobs<'_> {
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.0.reader(digest)? {
            Some(reader) if reader.len() == size => Ok(Box::new(reader)),
            _ => Err(Error::internal(format!("sha256:{digest} of {size} bytes is not in the store")).into()),
        }
    }
}
