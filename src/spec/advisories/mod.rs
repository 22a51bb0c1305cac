//! Known vulnerabilities: advisories of publishers, matched with the software of an image, and the project's own statements on them.
//!
//! Pure: advisories come in as bytes whose digests are pinned, software as names and versions. The same inputs give the same answer.

mod cvss;
mod files;
mod finding;
mod fixed;
mod fuzz;
mod matching;
mod openvex;
mod osv;
mod pins;
mod range;
mod read;
mod severity;
mod software;
mod sources;
mod statement;
#[cfg(test)]
mod tests;
mod tracker;
mod vex;

pub(crate) use files::FILE_MAX;
pub(crate) use finding::{Finding, Part, Report, Status};
pub(crate) use fixed::{Fixed, fixed_by, package, software};
#[doc(hidden)]
pub use fuzz::fuzz;
pub(crate) use matching::report;
pub(crate) use openvex::openvex;
pub(crate) use pins::{Pin, Pins};
pub(crate) use read::{Advisories, Wanted};
pub(crate) use severity::Severity;
pub(crate) use software::{Inside, Module, Package, Software, own_modules, source_version, tracked, without_rebuild};
pub(crate) use sources::{Format, Source, Sources};
pub(crate) use statement::Statement;
pub(crate) use vex::Vex;

/// The project's file that names the publishers of advisories.
pub(crate) const SOURCES: &str = "recipes/advisories.toml";
/// The project's file with its own statements.
pub(crate) const STATEMENTS: &str = "recipes/vex.toml";
