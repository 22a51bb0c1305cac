//! The arguments of `kbake bundle`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::sources::{Sources, jobs};
use crate::common::value::{Sha256, Size};

/// The subcommands of `kbake bundle`.
#[derive(Debug, Subcommand)]
pub(crate) enum Bundle {
    /// Write the inputs and images of roles into one file, for a site without network
    Create(BundleCreate),
    /// Verify the digest of everything in a bundle
    Verify(BundleVerify),
    /// Import a bundle into the store; every blob is verified by its digest
    Import(BundleImport),
    /// Print the contents of a bundle
    Show(BundleFiles),
}

#[derive(Debug, Args)]
pub(crate) struct BundleCreate {
    /// Roles with a recipe in recipes/roles/
    #[arg(required = true, value_name = "ROLE")]
    pub roles: Vec<String>,
    /// Only the inputs of the images: the site builds the images, which must have the same digests
    #[arg(long, conflicts_with = "outputs")]
    pub inputs: bool,
    /// Only the images [default: images and inputs]
    #[arg(long)]
    pub outputs: bool,
    /// Omit the blobs of this older bundle, which the site already has; repeatable
    #[arg(long, value_name = "BUNDLE")]
    pub since: Vec<PathBuf>,
    /// Write pieces of at most this size: FILE.000, FILE.001 …; `cat` joins them. 4GiB means one byte less, the limit of FAT32
    #[arg(long, value_name = "SIZE")]
    pub split: Option<Size>,
    /// Output file [default: images/ROLE.bundle, for several roles images/CHANNEL.bundle]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Number of compression threads [default: number of processors]
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    pub sources: Sources,
}

/// A bundle, whole or in pieces.
#[derive(Debug, Args)]
pub(crate) struct BundleFiles {
    /// Bundle; for a bundle in pieces the first piece, or all in order; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BundleVerify {
    #[command(flatten)]
    pub bundle: BundleFiles,
    /// Required digest of the bundle, as `bundle create` printed it
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub expect: Option<Sha256>,
}

#[derive(Debug, Args)]
pub(crate) struct BundleImport {
    #[command(flatten)]
    pub bundle: BundleFiles,
    /// Required digest of the bundle, as `bundle create` printed it: its images are then trusted
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub expect: Option<Sha256>,
    /// Write the bundle's recipes and lockfile into this folder, for `kbake --project DIR build`; existing files must be
    /// identical
    #[arg(long, value_name = "DIR")]
    pub project_to: Option<PathBuf>,
}

/// Parses a digest with or without `sha256:`.
fn digest(text: &str) -> Result<Sha256, String> {
    text.strip_prefix("sha256:").unwrap_or(text).parse()
}
