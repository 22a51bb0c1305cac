//! A node's identity as a NoCloud seed: node and keys → three documents, in a volume labelled `cidata` or a folder.
//!
//! A seed is private. Its documents are [`SecretString`]s and its volumes [`SecretSlice`]s, whose bytes come out only where
//! `ExposeSecret` is imported; `tests/architecture/main.rs` names those files. No function of `tree`, `store` or `plan` takes such a
//! type, none is `Clone`, `AsRef` or `Serialize` here, and `Debug` prints none of their content. So a seed cannot enter an
//! image, the store or a bundle; it leaves through `write_private` only.

mod files;
mod found;
mod keyring;
#[cfg(test)]
mod tests;

use std::fmt;

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

pub(crate) use found::Found;
pub(crate) use keyring::Keyring;

use crate::cluster::model::{Cluster, HostName, Node};
use crate::cluster::node::{self, EtcdStart, NamedFiles};
use crate::common::error::{Error, Result};
use crate::common::value::{Epoch, Sha256};
use crate::formats::disk::{fat, iso9660};

/// The permissions of a seed's file: read and write for its owner only.
pub(crate) const FILE_MODE: u32 = 0o600;
/// The permissions of a folder that holds seeds.
pub(crate) const FOLDER_MODE: u32 = 0o700;

/// The volume label by which cloud-init's NoCloud finds a seed.
const LABEL: &str = "cidata";

/// The filesystems on which NoCloud looks for a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Volume {
    /// ISO 9660.
    Iso,
    /// FAT.
    Vfat,
}

/// The documents of one node. Neither `Clone` nor readable, on purpose.
pub(crate) struct Seed {
    node: HostName,
    instance: String,
    /// By name, sorted.
    documents: [(&'static str, SecretString); 3],
}

/// A seed as the bytes of a volume.
pub(crate) struct SeedVolume(SecretSlice<u8>);

/// Makes the seed of `node`, which is one of the cluster's. The same cluster and keys give the same bytes.
///
/// # Errors
/// The keyring lacks a key that the node's role needs, or `named` contradicts the seed's own content.
pub(crate) fn of(cluster: &Cluster, node: &Node, start: EtcdStart, keyring: &dyn Keyring, named: &NamedFiles) -> Result<Seed> {
    let mut files = files::files(cluster, node, start, keyring)?;
    files.extend(node::site_files(cluster, node, &named.authorities));
    let network_config = node::network_config(cluster, node);
    let host_key = keyring.host_key(&node.name);
    let (private, public) = host_key.ok_or_else(|| Error::internal(format!("node `{}` has no SSH host key", node.name)))?;
    let user_data = node::user_data(cluster, node, &files, node::HostKey { private, public }, named)?;
    let meta_data = node::meta_data(cluster, node, Sha256::of(user_data.expose_secret()), &network_config);
    let instance =
        Found::of_meta_data(&meta_data).map(|found| found.instance).ok_or_else(|| Error::internal("a new seed cannot be read back"))?;
    let documents = [("meta-data", meta_data.into()), ("network-config", network_config.into()), ("user-data", user_data)];
    Ok(Seed { node: node.name.clone(), instance, documents })
}

impl Seed {
    /// The instance id: it changes with any change of the seed.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// The seed as a volume whose files are dated `epoch`. The same seed and epoch give the same bytes.
    pub(crate) fn volume(&self, kind: Volume, epoch: Epoch) -> Result<SeedVolume> {
        let files: Vec<(&str, &[u8])> = self.documents.iter().map(|(name, text)| (*name, text.expose_secret().as_bytes())).collect();
        let written = match kind {
            Volume::Iso => iso9660::write(&files, LABEL, epoch),
            Volume::Vfat => fat::write(&files, LABEL, epoch),
        };
        let bytes =
            written.map_err(|refused| Error::internal(format!("cannot lay out the seed of `{}`", self.node)).detail(refused.message()))?;
        Ok(SeedVolume(bytes.into()))
    }

    /// Passes each document with its name to `write`, which puts it into a file of mode [`FILE_MODE`] in a folder of mode
    /// [`FOLDER_MODE`] at the user's path, and keeps no copy.
    pub(crate) fn write_private(&self, mut write: impl FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
        self.documents.iter().try_for_each(|(name, text)| write(name, text.expose_secret().as_bytes()))
    }
}

impl SeedVolume {
    /// Passes the bytes to `write`, which puts them into a file of mode [`FILE_MODE`] at the user's path, and keeps no copy.
    pub(crate) fn write_private(&self, write: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        write(self.0.expose_secret())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({}, private)", self.node)
    }
}

impl fmt::Debug for SeedVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeedVolume({} bytes, private)", self.0.expose_secret().len())
    }
}
