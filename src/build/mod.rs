//! Builds a resolved role into an image in the store. Public; nothing here knows a cluster.

pub mod base;
pub mod explain;
pub mod pipeline;
pub mod role;
pub mod sbom;
pub mod transfer;
pub mod upkeep;

pub use explain::provenance::{Cause, Causes};
pub use explain::sbom::bill;
pub use explain::why::{Before, Reason, Why};
pub use pipeline::artifacts::{Absent, Artifacts};
pub use pipeline::contents::Contents;
pub use pipeline::disk::ROOT_START;
pub use pipeline::inputs::{Input, InputKind};
pub use pipeline::install::remove_work;
pub use pipeline::origin::Origin;
pub use pipeline::own::check_own;
pub use pipeline::resolve::{LockFile, Resolved, request, resolve};
pub use pipeline::saved::{choose as choose_image, is_image_archive};
pub use pipeline::step::StepKind;
pub use pipeline::{Bake, Baked, Filesystem, check_expected};
pub use transfer::bundle::{Bundling, Description, Packed, verify_bundle};
pub use transfer::import::{Belief, Imported, ImportedRole, Importing};
pub use upkeep::check::{Checked, difference_line};
pub use upkeep::findings::{Damage, Damaged, Proof, State};
pub use upkeep::roots::owner;
pub use upkeep::verify::Wanted;
