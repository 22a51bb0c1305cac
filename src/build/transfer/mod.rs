//! Transfer of inputs and images: writes and imports bundles.

pub mod bundle;
pub mod import;
