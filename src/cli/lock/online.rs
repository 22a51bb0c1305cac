//! Queries to publishers and registries over the network.

use std::path::Path;

use super::paths::file_of_sources;
use crate::build;
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::{Cancel, Reference, Sha256};
use crate::spec::project::{OwnPath, Project};
use crate::spec::recipe::{Artifact, Sources};
use crate::spec::upstream::Publisher;
use crate::storage::fetch;

/// Size limit of a checksum file, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// The [`Publisher`] that asks publishers and registries, or their mirrors.
pub(super) struct Online<'a> {
    pub project: &'a Project,
    pub sources: &'a Sources,
    pub options: fetch::Options,
    pub cancel: &'a Cancel,
}

impl Publisher for Online<'_> {
    fn text(&self, url: &str) -> Result<Option<String>> {
        fetch::text(url, MAX_TEXT, &self.options, self.cancel)
    }

    fn is_mirrored(&self, what: &str) -> bool {
        let registry = what.split('/').next().unwrap_or_default();
        self.options.rewrites.iter().any(|(prefix, _)| what.starts_with(prefix.as_str()))
            || self.options.registry_mirrors.iter().any(|(name, _)| name == registry)
    }

    fn size(&self, url: &str) -> Option<u64> {
        fetch::size(url, &self.options, self.cancel)
    }

    fn tag_digest(&self, reference: &Reference) -> Result<Sha256> {
        Ok(fetch::tag_digest(reference, &self.options, self.cancel)?.0)
    }

    fn own_file(&self, path: &str) -> Result<(Sha256, u64)> {
        let file = self.project.own_file(path)?;
        let open = || file.as_ref().map(OwnPath::open).transpose().map(Option::flatten);
        if let Some(mut file) = open()? {
            for (name, _) in self.sources.artifacts.iter().filter(|(_, artifact)| is_at(artifact, path)) {
                build::check_own(self.sources, name, &mut file, path)?;
            }
        }
        let found = open()?.map(|file| fsx::digest_of(&file, Path::new(path), self.cancel)).transpose()?;
        found.ok_or_else(|| {
            Error::user(format!("{path} does not exist")).hint("the channel's sources name it: add the file, or change its `path`")
        })
    }
}

/// True if the sources name this file of the project for the artifact.
fn is_at(artifact: &Artifact, path: &str) -> bool {
    file_of_sources(artifact).is_some_and(|own| own == path)
}
