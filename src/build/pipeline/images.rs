//! Archives of container images: built from programs in the store, or pulled from a registry into it.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};

use super::unpacked;
use crate::build::Bake;
use crate::common::error::{Error, Result};
use crate::common::value::{Reference, Sha256};
use crate::formats::oci;
use crate::spec::plan::{BuiltImage, FileSource, Form, PulledImage};
use crate::storage::fetch::{RegistryKind, Source, Want};
use crate::storage::store::{Blob, StoreSource};

/// Permission bits of programs in images that kbake builds.
const PROGRAM: u16 = 0o755;

/// The result of building or pulling an image: its archive; or the text of its tree, and its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageOutput {
    /// The archive, or the text of the tree.
    pub file: Blob,
    /// The contents of an unpacked image.
    pub pack: Option<Blob>,
}

/// Builds an image.
pub(crate) fn build(bake: &Bake, image: &BuiltImage, form: Form, programs: &BTreeMap<FileSource, Blob>) -> Result<ImageOutput> {
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
    let source = StoreSource(bake.store);
    in_form(bake, &built.image(&source, bake.cancel)?, form, None)
}

/// Builds an archive or unpacked image from a pulled one.
pub(crate) fn pull(bake: &Bake, image: &PulledImage, form: Form) -> Result<ImageOutput> {
    let parts = fetch(bake, image)?;
    let index = parts.index.filter(|index| oci::index(index, &image.reference).is_ok_and(|index| index.is_unambiguous(image.arch)));
    let pulled = oci::Image::pulled(image.reference.clone(), image.arch, &parts.manifest, &parts.config)?;
    in_form(bake, &pulled, form, index.as_deref())
}

fn in_form(bake: &Bake, image: &oci::Image, form: Form, index: Option<&[u8]>) -> Result<ImageOutput> {
    match form {
        Form::Archive => Ok(ImageOutput { file: archive(bake, image)?, pack: None }),
        Form::Unpacked => {
            let (file, pack) = unpacked::unpack(bake, image, index)?;
            Ok(ImageOutput { file, pack: Some(pack) })
        }
    }
}

/// The documents of an image, for its archive.
pub(crate) struct Parts {
    index: Option<Vec<u8>>,
    manifest: Vec<u8>,
    config: Vec<u8>,
}

/// All parts of an image that the store's documents name: its index, and everything below.
///
/// # Errors
/// A document in the store is damaged or malformed.
pub(crate) fn known(bake: &Bake, image: &PulledImage) -> Result<Vec<Want>> {
    let PulledImage { reference, index, arch } = image;
    let want = |kind, digest, size| want(reference, kind, digest, size);
    let mut wants = vec![self::index(image)];
    if !bake.store.contains(index)? {
        return Ok(wants);
    }
    let mut manifest = held(bake, index, reference)?;
    if let oci::Document::Index(list) = oci::document(&manifest, reference)? {
        let found = list.platform(*arch, reference)?;
        wants.push(want(RegistryKind::Manifest, found.digest, Some(found.size)));
        if !bake.store.holds(&found.digest, Some(found.size))? {
            return Ok(wants);
        }
        manifest = held(bake, &found.digest, reference)?;
    }
    let parts = oci::manifest(&manifest, reference)?;
    let blobs = [parts.config].into_iter().chain(parts.layers.iter().copied());
    wants.extend(blobs.map(|blob| want(RegistryKind::Blob, blob.digest, Some(blob.size))));
    Ok(wants)
}

/// The layers of an image whose documents are in the store, lowest first.
pub(crate) fn layers(bake: &Bake, image: &PulledImage) -> Result<Vec<oci::Descriptor>> {
    let PulledImage { reference, index, arch } = image;
    let top = held(bake, index, reference)?;
    let manifest = match oci::document(&top, reference)? {
        oci::Document::Manifest(manifest) => manifest,
        oci::Document::Index(list) => oci::manifest(&held(bake, &list.platform(*arch, reference)?.digest, reference)?, reference)?,
    };
    Ok(manifest.layers)
}

/// The first download of an image: its index.
pub(crate) fn index(image: &PulledImage) -> Want {
    want(&image.reference, RegistryKind::Manifest, image.index, None)
}

fn want(reference: &Reference, kind: RegistryKind, digest: Sha256, size: Option<u64>) -> Want {
    Want { name: reference.to_string(), source: Source::Registry { reference: reference.clone(), kind }, digest: digest.into(), size }
}

/// Fetches all parts of an image into the store: its index, the manifest for the machine, then everything that the manifest
/// names.
pub(crate) fn fetch(bake: &Bake, image: &PulledImage) -> Result<Parts> {
    let PulledImage { reference, index, arch } = image;
    let want = |kind, digest, size| want(reference, kind, digest, size);
    bake.fetch_missing(None, vec![self::index(image)])?;
    let top = held(bake, index, reference)?;
    let (index, manifest) = match oci::document(&top, reference)? {
        // The digest of the topmost document identifies the image; its configuration names the machine.
        oci::Document::Manifest(_) => (None, top),
        oci::Document::Index(list) => {
            let found = list.platform(*arch, reference)?;
            bake.fetch_missing(None, vec![want(RegistryKind::Manifest, found.digest, Some(found.size))])?;
            (Some(top), held(bake, &found.digest, reference)?)
        }
    };
    let parts = oci::manifest(&manifest, reference)?;
    let blobs = [parts.config].into_iter().chain(parts.layers.iter().copied());
    let blobs = blobs.map(|blob| want(RegistryKind::Blob, blob.digest, Some(blob.size))).collect();
    bake.fetch_missing(None, blobs)?;
    let config = held(bake, &parts.config.digest, reference)?;
    oci::config_platform(&config, reference)?.check(*arch, reference)?;
    Ok(Parts { index, manifest, config })
}

/// Reads a document of an image from the store.
fn held(bake: &Bake, digest: &Sha256, reference: &Reference) -> Result<Vec<u8>> {
    let reader =
        bake.store.reader(digest)?.ok_or_else(|| Error::internal(format!("sha256:{digest} of {reference} is gone from the store")))?;
    if reader.len() > oci::DOCUMENT_MAX {
        return Err(Error::integrity(format!(
            "sha256:{digest} of {reference} is not an index, manifest or configuration: it has {} bytes",
            reader.len()
        )));
    }
    let mut bytes = Vec::new();
    reader.take(u64::MAX).read_to_end(&mut bytes).map_err(|e| Error::io(format!("read a document of {reference}"), &e))?;
    Ok(bytes)
}

fn archive(bake: &Bake, image: &oci::Image) -> Result<Blob> {
    let mut writer = bake.store.writer(None, None)?;
    image.write(&StoreSource(bake.store), &mut writer, bake.cancel)?;
    writer.flush().map_err(|e| Error::io(format!("write the archive of {}", image.reference()), &e))?;
    writer.commit()
}
