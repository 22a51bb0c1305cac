//! Readers of disk images, kbake's and others': lists partitions and files, compares two images, audits an image for what no
//! public image may have, and reads a new image back.
//!
//! Shares no code with the writers in `formats/disk`. An image is not trusted: numbers in it are checked before they are used,
//! memory stays bounded, and what cannot be read is reported, never skipped.

mod audit;
mod bytes;
mod compare;
pub(crate) mod contents;
mod disk;
mod ext;
mod fat;
mod filesystem;
mod list;
mod qcow2;
mod ranges;
pub(crate) mod readback;
mod table;
mod volume;

pub(crate) use audit::{audit, audit_file};
pub(crate) use compare::{Difference, compare};
pub use list::{Entry, Listed, list};
pub use qcow2::Image;
pub(crate) use qcow2::ReadAt;
