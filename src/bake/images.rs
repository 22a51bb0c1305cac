//! Archives of container images: built from programs in the store, or pulled from a registry into it.

use std::collections::BTreeMap;

use super::Bake;
use crate::error::{Error, Result};
use crate::plan::{BuiltImage, Extract, PulledImage};
use crate::store::Blob;

/// Builds an image's archive.
pub fn build(_bake: &Bake, image: &BuiltImage, _programs: &BTreeMap<Extract, Blob>) -> Result<Blob> {
    Err(Error::internal(format!("cannot build {}", image.reference)))
}

/// Makes an image's archive out of what its registry has.
pub fn pull(_bake: &Bake, image: &PulledImage) -> Result<Blob> {
    Err(Error::internal(format!("cannot pull {}", image.reference)))
}

/// Brings all that is needed of an image into the store.
pub fn fetch(_bake: &Bake, image: &PulledImage) -> Result<()> {
    Err(Error::internal(format!("cannot pull {}", image.reference)))
}
