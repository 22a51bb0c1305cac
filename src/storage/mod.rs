//! Storage of bytes: the store, fetching from sources into it, and bundles.

pub(crate) mod bundle;
pub(crate) mod fetch;
pub(crate) mod store;
