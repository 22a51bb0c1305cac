//! Tests of the ext4 writer against reference tools: e2fsck, debugfs, dumpe2fs, resize2fs, and the ext4-view crate.

mod debugfs;
mod errors;
mod format;
mod golden;
mod image;
mod nasty;
mod positions;
mod random;
mod view;
