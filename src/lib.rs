//! kbake: reproducible Kubernetes node images from pinned inputs.
//!
//! The flow is one-way: recipe + lockfile → plan → blobs in the store → tree → disk bytes → `images/`.
//! `ARCHITECTURE.md` has the map of the modules and the rules between them.

pub mod cluster;
pub mod base;
pub mod disk;
pub mod document;
pub mod error;
pub mod render;
pub mod seed;
pub mod lock;
pub mod recipe;
pub mod resolve;
pub mod fetch;
pub mod fsx;
pub mod store;
pub mod tree;
pub mod unpack;
pub mod value;

pub use error::{Class, Error, Result};
