//! kbake: reproducible Kubernetes node images from pinned inputs.
//!
//! The flow is one-way: recipe + lockfile → plan → blobs in the store → tree → disk bytes → `images/`.
//! `ARCHITECTURE.md` has the map of the modules and the rules between them.

// Tests may look at the host; what they test may not.
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_macros, clippy::disallowed_types))]

pub mod build;
pub mod cli;
pub mod cluster;
pub mod common;
pub mod formats;
pub mod spec;
pub mod storage;

pub use common::error::{Class, Error, Result};
