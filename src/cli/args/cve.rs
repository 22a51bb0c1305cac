//! The arguments of `kbake cve`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::sources::{Web, sides};
use crate::common::value::ArtifactName;

#[derive(Debug, Args)]
pub(crate) struct Cve {
    /// Roles with a recipe in recipes/roles/
    #[arg(required_unless_present = "update", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// Fetch the newest advisories, and pin them in lockfiles/advisories.lock
    #[arg(long, conflicts_with_all = ["offline", "advisories"])]
    pub update: bool,
    /// Read a local file instead of pinned advisories, as in debian=./tracker.json; repeatable
    #[arg(long, value_name = "NAME=FILE", value_parser = file)]
    pub advisories: Vec<(ArtifactName, PathBuf)>,
    /// Also list vulnerabilities that do not apply
    #[arg(long)]
    pub all: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = CveFormat::Table)]
    pub format: CveFormat,
    /// Fail with exit code 6 if there is a vulnerability of at least this severity, one with a fix, or any
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub fail_on: Option<FailOn>,
    /// Open no socket
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    pub web: Web,
}

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CveFormat {
    /// A table of 80 columns
    Table,
    /// Everything, as JSON
    Json,
    /// An OpenVEX document, for scanners
    Openvex,
}

/// The vulnerabilities that make the command fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Those with a fix that the lock does not have
    Fixable,
    /// Low or worse
    Low,
    /// Medium or worse
    Medium,
    /// High or worse
    High,
    /// Critical
    Critical,
    /// All, those of unknown severity too
    Any,
}

fn file(text: &str) -> Result<(ArtifactName, PathBuf), String> {
    let (name, file) = sides(text, "NAME=FILE, as in debian=./tracker.json")?;
    Ok((name.parse()?, file.into()))
}
