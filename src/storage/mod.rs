//! Storage of bytes: the store, fetching from sources into it, and bundles.

pub mod bundle;
pub mod fetch;
pub mod store;
