//! Values, errors and text formats that every wing uses, and the only module that changes files.

pub mod columns;
pub mod document;
pub mod error;
pub mod fsx;
pub mod report;
#[cfg(test)]
pub(crate) mod testing;
pub mod tree;
pub mod value;
pub mod yaml;
