//! kbake: reproducible Kubernetes node images from pinned inputs.
//!
//! The flow is one-way: recipe + lockfile → plan → blobs in the store → tree → disk bytes → `images/`.
//! `ARCHITECTURE.md` has the map of the modules and the rules between them.

pub mod base;
pub mod disk;
pub mod error;
pub mod tree;
pub mod unpack;
pub mod value;

pub use error::{Class, Error, Result};
