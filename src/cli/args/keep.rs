//! The command line of what looks after the store and proves what is in it: bundles, verification, explanation, collection.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Sources, jobs};
use crate::value::{Sha256, Size};

/// Everything that is needed elsewhere, in one file.
#[derive(Debug, Subcommand)]
pub enum Bundle {
    /// Write roles' inputs and images into one file, for a site without network
    Create(BundleCreate),
    /// Read a bundle, and hold every byte in it against its digest
    Verify(BundleVerify),
    /// Take what is in a bundle into the store; nothing is believed that does not have its digest
    Import(BundleImport),
    /// Print what a bundle has
    Show(BundleFiles),
}

#[derive(Debug, Args)]
pub struct BundleCreate {
    /// Recipes in recipes/roles/
    #[arg(required = true, value_name = "ROLE")]
    pub roles: Vec<String>,
    /// Only what the images are made of: the site builds them, and must get the same
    #[arg(long, conflicts_with = "outputs")]
    pub inputs: bool,
    /// Only the images [default: images and what they are made of]
    #[arg(long)]
    pub outputs: bool,
    /// Leave out what this older bundle has, which the site has already; may be repeated
    #[arg(long, value_name = "BUNDLE")]
    pub since: Vec<PathBuf>,
    /// Write pieces of at most this size: FILE.000, FILE.001 …; `cat` joins them. 4GiB means one byte less, as FAT32 takes
    #[arg(long, value_name = "SIZE")]
    pub split: Option<Size>,
    /// The bundle [default: images/ROLE.bundle, of several roles images/CHANNEL.bundle]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How many threads compress [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    pub sources: Sources,
}

/// A bundle, whole or in pieces.
#[derive(Debug, Args)]
pub struct BundleFiles {
    /// The bundle; of one in pieces the first, or all of them in order; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct BundleVerify {
    #[command(flatten)]
    pub bundle: BundleFiles,
    /// The digest that the bundle must have, as `bundle create` printed it
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub expect: Option<Sha256>,
}

#[derive(Debug, Args)]
pub struct BundleImport {
    #[command(flatten)]
    pub bundle: BundleFiles,
    /// The digest that the bundle must have, as `bundle create` printed it: with it the images are believed
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub expect: Option<Sha256>,
    /// Write the bundle's recipes and lockfile into this folder, for `kbake --project DIR build`; files that are there
    /// already must be the same
    #[arg(long, value_name = "DIR")]
    pub project_to: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Fetch or make again what is damaged, until it has its digest
    #[arg(long)]
    pub repair: bool,
    #[command(flatten)]
    pub sources: Sources,
}

#[derive(Debug, Args)]
pub struct Audit {
    /// Disk images, kbake's or anyone's: qcow2 or raw
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// A path in the image that may be what it looks like; may be repeated. What it hides is still printed
    #[arg(long, value_name = "PATH")]
    pub allow: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// A git revision, or a file: a plan, a lockfile, or a disk image
    #[arg(value_name = "A")]
    pub a: String,
    /// The other one [default: the lockfile as it is in the folder now]
    #[arg(value_name = "B")]
    pub b: Option<String>,
}

#[derive(Debug, Args)]
pub struct Gc {
    /// Remove no more than needed for the store to be this large at most, as 20GiB; what was used longest ago goes first
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<Size>,
    /// Keep what was used within this many days
    #[arg(long, value_name = "DAYS")]
    pub keep_days: Option<u32>,
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

/// A digest with or without its `sha256:`.
fn digest(text: &str) -> Result<Sha256, String> {
    text.strip_prefix("sha256:").unwrap_or(text).parse()
}
