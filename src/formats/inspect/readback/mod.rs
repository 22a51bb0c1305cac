//! Read-back: compares a written image with the disk and the tree that it was made from.
//!
//! Shares no code with the writers that it checks: the qcow2 and ext4 readers are this wing's own. (The crate `qcow2-rs` 0.1.6
//! cannot stand in: it refuses every incompatible feature, and zstd is one.)

mod acl;
mod pieces;
mod tree;

pub(crate) use pieces::compare_image;
pub use tree::{Depth, verify_tree};
pub(crate) use tree::{VerifyReport, verify_image};

#[cfg(test)]
mod tests;
