//! Transfer of inputs and images: writes and imports bundles.

pub(crate) mod bundle;
pub(crate) mod import;
