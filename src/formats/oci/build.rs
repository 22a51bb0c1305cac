//! Builds an image from files: one layer, and a command that starts the program in it.

use std::io;

use super::archive::{Blob, Image};
use super::copy::{Copier, Hashing};
use super::elf::MAGIC;
use super::layer::{File, Layer};
use super::written::{ConfigFile, ManifestFile, Named, Root, Start, Step, bytes};
use super::{Descriptor, LAYER_MAX, MediaType, Platform, elf_is_static};
use crate::common::error::{Error, Result};
use crate::common::tree::ContentSource;
use crate::common::value::{Arch, Cancel, Epoch, Reference, Sha256, TreePath, civil};

/// The usual PATH of images, so that a manifest's `command` can name a program without its folder.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The longest command, in words.
const COMMAND_MAX: usize = 256;
const EXECUTABLE: u16 = 0o111;

/// The specification of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Built {
    /// The image's name.
    pub reference: Reference,
    /// The architecture of its programs.
    pub arch: Arch,
    /// The creation time of the image and of all its files.
    pub epoch: Epoch,
    /// The container's command: the absolute path of one of the files, and its first arguments.
    pub command: Vec<String>,
    /// The image's files, owned by root; their parent folders are implied.
    pub files: Vec<File>,
}

impl Built {
    /// Builds the image. Reads all contents once, for the layer's digest; [`Image::write`] reads them again.
    ///
    /// # Errors
    /// A program that is not static or is for another architecture (the command's, or any other ELF file with an
    /// executable bit): in an image of a few files it would not run. Files whose paths conflict. Errors of the source.
    pub(crate) fn image(&self, source: &dyn ContentSource, cancel: &Cancel) -> Result<Image> {
        let bad = |why: String| Error::user(format!("the container image {} cannot be built", self.reference)).detail(why);
        let program = self.program().map_err(bad)?;
        if self.files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.size)).is_none_or(|sum| sum > LAYER_MAX) {
            return Err(bad(format!("its files have more than {LAYER_MAX} bytes")));
        }
        let layer = Layer::new(&self.files, self.epoch).map_err(bad)?;
        let mut nowhere = io::sink();
        let mut out = Hashing::new(&mut nowhere);
        layer.write(&Copier { source, cancel }, &mut out, &mut |path, mode, head| {
            if *path != program && (mode & EXECUTABLE == 0 || !head.starts_with(MAGIC)) {
                return Ok(());
            }
            elf_is_static(head, self.arch).map_err(|why| {
                bad(format!("{path} {why}")).hint("use a static program for this architecture, such as Go builds with CGO_ENABLED=0")
            })
        })?;
        let (digest, size) = out.finish();
        let layer_at = Descriptor { media_type: MediaType::OciLayer, digest, size };
        let config = bytes(&self.config(digest))?;
        let config_at = document(MediaType::OciConfig, &config);
        let manifest = bytes(&ManifestFile::new(Named::new(&config_at), vec![Named::new(&layer_at)]))?;
        let manifest_at = document(MediaType::OciManifest, &manifest);
        let blobs =
            [(digest, Blob::Layer(layer, size)), (config_at.digest, Blob::Bytes(config)), (manifest_at.digest, Blob::Bytes(manifest))];
        Ok(Image { reference: self.reference.clone(), platform: platform(self.arch), manifest: manifest_at, blobs: blobs.into() })
    }

    /// The path of the command's program, which must be one of the files and executable.
    fn program(&self) -> Result<TreePath, String> {
        let Some(first) = self.command.first() else { return Err("it has no command".into()) };
        if self.command.len() > COMMAND_MAX || self.command.iter().any(|word| word.contains('\0')) {
            return Err(format!("its command has NUL bytes or more than {COMMAND_MAX} words"));
        }
        let absolute = first.starts_with('/').then(|| TreePath::parse(first.as_bytes(), true));
        let path = absolute.ok_or_else(|| format!("its command begins with `{}`, expected an absolute path", first.escape_debug()))??;
        match self.files.iter().find(|file| file.path == path) {
            None => Err(format!("its command runs {path}, which is not in it")),
            Some(file) if file.mode & EXECUTABLE == 0 => {
                Err(format!("its command runs {path}, whose mode {:o} does not allow that", file.mode))
            }
            Some(_) => Ok(path),
        }
    }

    fn config(&self, layer: Sha256) -> ConfigFile {
        let created = civil(self.epoch).to_string();
        ConfigFile {
            created: created.clone(),
            platform: (&platform(self.arch)).into(),
            config: Start { env: vec![PATH.into()], entrypoint: self.command.clone() },
            rootfs: Root { kind: "layers", diff_ids: vec![format!("sha256:{layer}")] },
            history: vec![Step { created, created_by: "kbake".into() }],
        }
    }
}

/// The platform, with the variant from the [specification's
/// table](https://github.com/opencontainers/image-spec/blob/main/image-index.md#platform-variants).
fn platform(arch: Arch) -> Platform {
    let variant = match arch {
        Arch::Amd64 => None,
        Arch::Arm64 => Some("v8".into()),
    };
    Platform { os: "linux".into(), architecture: arch.to_string(), variant }
}

fn document(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    Descriptor { media_type, digest: Sha256::of(bytes), size: bytes.len() as u64 }
}
