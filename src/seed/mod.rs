//! A node's identity as a NoCloud volume: node → ISO9660 image labelled `cidata`.
//!
//! A seed is private. Its bytes leave this module only through [`SeedVolume::write_private`]; the type is no
//! content of a tree and no blob, so it cannot come into an image, the store or a bundle, and it prints as its size.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::cluster::LoneNode;
use crate::disk::iso9660;
use crate::error::{Error, Result};
use crate::render;
use crate::value::Epoch;

/// The permissions of a seed's file: its owner may read and write, nobody else anything.
pub const FILE_MODE: u32 = 0o600;

/// The volume label by which cloud-init's NoCloud finds a seed.
const LABEL: &str = "cidata";

/// The bytes of a seed volume, kept to themselves. Neither `Clone` nor `AsRef<[u8]>`, on purpose.
pub struct SeedVolume(Vec<u8>);

/// Makes the seed of `node`. The same node and epoch give the same bytes.
pub fn volume(node: &LoneNode, epoch: Epoch) -> Result<SeedVolume> {
    let documents =
        [("meta-data", render::meta_data(node)), ("network-config", render::network_config(node)), ("user-data", render::user_data(node))];
    let files: Vec<(&str, &[u8])> = documents.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let bytes = iso9660::write(&files, LABEL, epoch)
        .map_err(|refused| Error::internal(format!("cannot lay out the seed of `{}`", node.name)).detail(refused.message()))?;
    Ok(SeedVolume(bytes))
}

impl SeedVolume {
    /// Hands the bytes to `write`, which puts them into a file of mode [`FILE_MODE`] where the user asked for it, and
    /// keeps no copy.
    pub fn write_private(&self, write: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        write(&self.0)
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.0.len() as u64
    }
}

impl fmt::Debug for SeedVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeedVolume({} bytes, private)", self.0.len())
    }
}
