//! Values, errors and text formats that every wing uses, and the only module that changes files.

pub(crate) mod columns;
pub(crate) mod document;
pub(crate) mod error;
pub(crate) mod fsx;
pub(crate) mod report;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tree;
pub(crate) mod value;
pub(crate) mod yaml;
