//! Container images, bundles of them, and the answers of registries.

use kbake::Description;
use kbake::bundle::{self, Bytes, Outline, Part, Taken, Visitor};
use kbake::oci;
use kbake::value::{Arch, Digest, Reference, Sha256};

use super::archives::fix_checksums;
use super::short;
use crate::seeds;

/// Hashes what comes, and counts it.
#[derive(Default)]
struct Counter {
    listed: usize,
    came: usize,
}

impl Visitor for Counter {
    fn outline(&mut self, outline: &Outline) -> kbake::Result<()> {
        self.listed = outline.entries().len();
        for content in outline.contents() {
            if let Err(error) = Description::of(content) {
                short(&error);
            }
        }
        assert!(!outline.is_empty() && outline.contents().iter().all(|content| content.parts.iter().all(|part| !part.title.is_empty())));
        Ok(())
    }

    fn blob(&mut self, part: &Part, bytes: &mut Bytes<'_>) -> kbake::Result<Taken> {
        self.came += 1;
        assert!(!part.left_out);
        bytes.hash(&mut |_| Ok(()))
    }
}

/// First byte: whether it is a bundle as it stands but for its sums, or the three documents of one.
pub fn bundle(bytes: &[u8]) {
    let Some((pick, rest)) = bytes.split_first() else { return };
    let whole = if pick & 1 == 0 {
        let mut whole = rest.to_vec();
        fix_checksums(&mut whole);
        whole
    } else {
        let mut parts = rest.splitn(3, |&byte| byte == b'\n');
        let mut part = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let (index, manifest, config) = (part(), part(), part());
        seeds::bundle_of(&index, &manifest, &config)
    };
    let mut counter = Counter::default();
    match bundle::read(&mut &*whole, &mut counter) {
        Ok(digest) => {
            assert_eq!(counter.came, counter.listed);
            let (outline, again) = bundle::documents(&mut &*whole).expect("it was just read");
            assert_eq!((outline.len(), again, outline.digest()), (whole.len() as u64, digest, digest), "every byte is accounted for");
        }
        Err(error) => short(&error),
    }
}

fn reference() -> Reference {
    "registry.k8s.io/pause:3.10.2".parse().expect("a literal")
}

/// A document; or manifest and configuration, split at a line feed, where the digest in the manifest is put right.
pub fn oci(bytes: &[u8]) {
    let at = reference();
    match oci::document(bytes, &at) {
        Ok(oci::Document::Index(index)) => {
            for arch in Arch::ALL {
                match index.platform(arch, &at) {
                    Ok(found) => assert!(found.media_type.role() == oci::Role::Manifest && (1..=oci::DOCUMENT_MAX).contains(&found.size)),
                    Err(error) => short(&error),
                }
            }
        }
        Ok(oci::Document::Manifest(found)) => {
            assert_eq!(found.descriptor.digest, Sha256::of(bytes));
            assert!((1..=oci::LAYERS_MAX).contains(&found.layers.len()));
            assert!(
                found.layers.iter().all(|layer| layer.media_type.role() == oci::Role::Layer && (1..=oci::LAYER_MAX).contains(&layer.size))
            );
        }
        Err(error) => short(&error),
    }
    if let Err(error) = oci::config_platform(bytes, &at) {
        short(&error);
    }
    let Some(cut) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (manifest, config) = (&bytes[..cut], &bytes[cut + 1..]);
    let named =
        String::from_utf8_lossy(manifest).replace("@DIGEST@", &Sha256::of(config).to_string()).replace("@SIZE@", &config.len().to_string());
    match oci::Image::pulled(at, Arch::Amd64, named.as_bytes(), config) {
        Ok(image) => assert_eq!(image.manifest().digest, Sha256::of(named.as_bytes())),
        Err(error) => short(&error),
    }
}

pub fn elf(bytes: &[u8]) {
    for arch in Arch::ALL {
        let _ = oci::elf_is_static(&bytes[..bytes.len().min(oci::ELF_HEAD)], arch);
    }
}

/// The headers of a registry's or mirror's answer; a reference; a digest.
pub fn registry(bytes: &[u8]) {
    let Some((&[high, low], rest)) = bytes.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    kbake::fetch::fuzz_headers(u16::from_be_bytes([high, low]) % 600, text);
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().expect("its own text"), reference);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
}
