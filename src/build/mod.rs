//! Builds a resolved role into an image in the store. Public; nothing here depends on a cluster.

pub(crate) mod base;
pub(crate) mod explain;
pub(crate) mod pipeline;
pub(crate) mod role;
pub(crate) mod sbom;
#[cfg(test)]
mod testing;
pub(crate) mod transfer;
pub(crate) mod upkeep;

pub(crate) use explain::provenance::{Cause, Causes};
pub(crate) use explain::sbom::bill;
pub(crate) use explain::why::{Before, Reason, Why};
pub use pipeline::Bake;
pub use pipeline::disk::ROOT_START;
pub(crate) use pipeline::inputs::InputKind;
pub(crate) use pipeline::install::remove_work;
pub(crate) use pipeline::origin::Origin;
pub(crate) use pipeline::own::check_own;
pub(crate) use pipeline::resolve::request;
pub use pipeline::resolve::{Resolved, resolve};
pub(crate) use pipeline::saved::{choose as choose_image, is_image_archive};
pub(crate) use pipeline::step::StepKind;
pub(crate) use pipeline::{Baked, Filesystem, check_expected};
pub(crate) use transfer::bundle::Bundling;
pub use transfer::bundle::{Description, verify_bundle};
pub(crate) use transfer::import::{ImageTrust, ImportedRole, Importing};
pub(crate) use upkeep::check::{Checked, difference_line};
pub(crate) use upkeep::findings::{Damage, Findings, State};
pub(crate) use upkeep::roots::{owner, record_advisories};
pub(crate) use upkeep::verify::Wanted;
