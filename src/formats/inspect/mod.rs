//! Readers of disk images, kbake's and others': lists partitions and files, compares two images, audits an image for what no
//! public image may have, and reads a new image back.
//!
//! Shares no code with the writers in `formats/disk`. An image is not trusted: numbers in it are checked before they are used,
//! memory stays bounded, and what cannot be read is reported, never skipped.

mod audit;
mod bytes;
mod compare;
pub mod contents;
mod disk;
mod ext;
mod fat;
mod filesystem;
mod list;
mod qcow2;
mod ranges;
pub mod readback;
mod table;
mod volume;

pub use audit::{Audited, Finding, Kind, audit, audit_file};
pub use compare::{Difference, compare};
pub use disk::Disk;
pub use list::{Entry, Listed, list};
pub use qcow2::{Image, ReadAt};
