//! Facts from a channel's lockfile that the files of a role image depend on.

use std::collections::BTreeMap;

use crate::common::error::{Error, Result};
use crate::common::value::{ArtifactName, Reference, ReleaseVersion};

/// Versions and names from sources and lockfile. The same for every role of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The versions of artifacts, by the artifact's name; a Debian package's upstream version if a package installs it. Without
    /// artifacts that the channel lacks.
    pub artifacts: BTreeMap<ArtifactName, ReleaseVersion>,
    /// The full names of the container images that the role's image has preloaded, by short name.
    pub images: BTreeMap<ArtifactName, Reference>,
    /// The container runtime that the role has, if any.
    pub runtime: Option<Runtime>,
}

/// A container runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// <https://containerd.io>
    Containerd,
    /// <https://cri-o.io>
    Crio,
}

impl Runtime {
    /// The unit that runs it.
    pub fn unit(self) -> &'static str {
        match self {
            Runtime::Containerd => "containerd.service",
            Runtime::Crio => "crio.service",
        }
    }

    /// Its endpoint of the [CRI](https://kubernetes.io/docs/concepts/containers/cri/).
    pub fn endpoint(self) -> &'static str {
        match self {
            Runtime::Containerd => "unix:///run/containerd/containerd.sock",
            Runtime::Crio => "unix:///run/crio/crio.sock",
        }
    }
}

impl Facts {
    /// The version of an artifact, if the channel has it.
    pub fn version(&self, name: &str) -> Option<&ReleaseVersion> {
        self.artifacts.iter().find(|(known, _)| known.as_str() == name).map(|(_, version)| version)
    }

    /// The full name of a preloaded container image, if the role has it.
    pub fn image(&self, name: &str) -> Option<&Reference> {
        self.images.iter().find(|(known, _)| known.as_str() == name).map(|(_, reference)| reference)
    }

    /// The role's container runtime.
    ///
    /// # Errors
    /// The role has none, and a part of it needs one.
    pub fn runtime(&self) -> Result<Runtime> {
        self.runtime.ok_or_else(|| {
            Error::user("the role has a kubelet and no container runtime").hint("add `containerd` or `crio` to the role's `parts`")
        })
    }
}
