//! kbake: reproducible Kubernetes node images from pinned inputs.
//!
//! The flow is one-way: recipe + lockfile → plan → blobs in the store → tree → disk bytes → `images/`.
//! `ARCHITECTURE.md` has the map of the modules and the rules between them.

// Tests may look at the host; what they test may not.
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_macros, clippy::disallowed_types))]

pub mod backing;
pub mod bake;
pub mod base;
pub mod bolt;
pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod containerd;
pub mod disk;
pub mod document;
pub mod error;
pub mod fetch;
pub mod fsx;
pub mod inspect;
pub mod lock;
pub mod oci;
pub mod pki;
pub mod plan;
pub mod programs;
pub mod project;
pub mod recipe;
pub mod release;
pub mod render;
pub mod report;
pub mod resolve;
pub mod sbom;
pub mod seed;
pub mod skew;
pub mod store;
pub mod tree;
pub mod unpack;
pub mod value;

pub use error::{Class, Error, Result};
