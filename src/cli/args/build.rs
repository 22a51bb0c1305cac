//! The arguments of `kbake build` and `kbake fetch`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::sources::{Sources, jobs};

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Roles with a recipe in recipes/roles/
    #[arg(required = true, value_name = "ROLE")]
    pub roles: Vec<String>,
    #[command(flatten)]
    pub sources: Sources,
    /// Number of compression threads [default: number of processors]
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<NonZeroUsize>,
    /// Folder for the images
    #[arg(short, long, value_name = "DIR", default_value = "images")]
    pub out: PathBuf,
    /// Read the written image back, and compare each file with the tree
    #[arg(long)]
    pub verify: bool,
    /// Rebuild from the locked inputs without cached results, and compare
    #[arg(long)]
    pub check: bool,
    /// Accept an image whose digest differs from images/expected.toml
    #[arg(long)]
    pub accept_new_digest: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// Roles with a recipe in recipes/roles/
    #[arg(required = true, value_name = "ROLE")]
    pub roles: Vec<String>,
    #[command(flatten)]
    pub sources: Sources,
}
