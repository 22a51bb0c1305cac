//! kbake: reproducible Kubernetes node images from pinned inputs.
//!
//! The flow is one-way: recipe + lockfile → plan → blobs in the store → tree → disk bytes → `images/`.
//! `ARCHITECTURE.md` has the map of the modules and the rules between them.
//!
//! The program is the interface that has promises. The library's is the list below, for integration tests, fuzz targets and
//! `examples/`. Everything else is `pub(crate)`, so that the compiler names code that nothing uses.

// Tests may look at the host; what they test may not.
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_macros, clippy::disallowed_types))]

mod build;
mod cli;
mod cluster;
mod common;
mod formats;
mod spec;
mod storage;

pub use build::{Bake, Description, ROOT_START, Resolved, resolve, verify_bundle};
pub use cli::main;
pub use cluster::{model::Cluster, pki::Pki};
pub use common::error::{Class, Error, Result};

/// Values of the domain.
pub mod value {
    pub use crate::common::value::{
        Arch, Cancel, Digest, Epoch, Hasher, Hasher512, Mirror, Reference, RoleName, Sha256, Sha512, TreePath, derived_uuid,
    };
}

/// Filesystem trees and the contents of their files.
pub mod tree {
    pub use crate::common::tree::pack::PackIndex;
    pub use crate::common::tree::{Content, ContentSource, Kind, Layer, Meta, Node, Segment, Tree};
}

/// Reports of progress.
pub mod report {
    pub use crate::common::report::{ItemKind, Outcome, Silent};
}

/// Atomic writes of files, and listings of folders.
pub mod fsx {
    pub use crate::common::fsx::{Persisted, Temp, digest_if_present, list};
}

/// Readers of archives: ar, compressed streams, Debian packages, tar.
pub mod archive {
    pub use crate::formats::archive::{Duplicates, Limits, Memory, Parents, Policy, Sink, Verdict, ar, discard};

    /// Compressed streams.
    pub mod compress {
        pub use crate::formats::archive::compress::open;
    }

    /// Debian packages.
    pub mod deb {
        pub use crate::formats::archive::deb::{Control, control, data, members};
    }

    /// Tar archives.
    pub mod tar {
        pub use crate::formats::archive::tar::read;
    }
}

/// Writers of disk images.
pub mod disk {
    pub use crate::formats::disk::{ContentSource, Data};

    /// The ext4 writer.
    pub mod ext4 {
        pub use crate::formats::disk::ext4::{Params, Size, layout};
    }

    /// GRUB's core image, boot sector and configuration.
    pub mod grub {
        pub use crate::formats::disk::grub::{
            CoreImage, FILES_DIR, GrubFiles, MENU_PATH, MODULES, Menu, boot_sector, early_config, prefix,
        };
    }

    /// The qcow2 writer.
    pub mod qcow2 {
        pub use crate::formats::disk::qcow2::{Summary, write};
    }

    /// The writer of raw images.
    pub mod raw {
        pub use crate::formats::disk::raw::write;
    }
}

/// Readers of disk images and of what they contain.
pub mod inspect {
    pub use crate::formats::inspect::{Entry, Image, Listed, list};

    /// Programs' build information.
    pub mod contents {
        pub use crate::formats::inspect::contents::{Content, content};
    }

    /// Comparison of an image with the tree that it was made of.
    pub mod readback {
        pub use crate::formats::inspect::readback::{Depth, verify_tree};
    }
}

/// Container images.
pub mod oci {
    pub use crate::formats::oci::{
        DOCUMENT_MAX, Document, ELF_HEAD, Image, LAYER_MAX, LAYERS_MAX, Role, config_platform, document, elf_is_static, manifest,
    };
}

/// Known vulnerabilities.
pub mod advisories {
    pub use crate::spec::advisories::fuzz;
}

/// Projects: recipes, sources, lockfiles, plans.
pub mod project {
    pub use crate::spec::compatibility::Table;
    pub use crate::spec::lock::{Entry, Lock, Request, SetName};
    pub use crate::spec::plan::{Extraction, PlannedKind};
    pub use crate::spec::project::{Expected, Project};
    pub use crate::spec::recipe::{Recipe, Sources, Subject};
}

/// Releases of Kubernetes and its companions.
pub mod upstream {
    pub use crate::spec::upstream::{List, find};
}

/// Bundles: one file with everything that a build needs.
pub mod bundle {
    pub use crate::storage::bundle::pieces::Files;
    pub use crate::storage::bundle::{Bytes, Content, Kind, Outline, Part, Taken, Visitor, documents, read, write};
}

/// Fetching of pinned files.
pub mod fetch {
    pub use crate::storage::fetch::{Events, Login, Options, RegistryKind, Source, Want, fetch, fuzz_headers, tag_digest};
}

/// The store.
pub mod store {
    pub use crate::storage::store::{
        Access, Action, Blob, Claim, Generation, History, ImageClaim, Lookup, Owner, Root, Store, StoreSource,
    };
}
