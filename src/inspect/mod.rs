//! Looks into disk images, kbake's or anyone's: which partitions and files are in one, how two differ, and whether there
//! is anything in one that no public image may have.
//!
//! Shares no code with the writers in `disk`, but for the reader of qcow2 files that checks them. An image is not trusted:
//! numbers in it are checked before they are used, memory stays bounded whatever they say, and what cannot be looked into
//! is named, never passed over.

mod audit;
mod bytes;
mod compare;
pub mod contents;
mod disk;
mod ext;
mod fat;
mod filesystem;
mod ranges;
mod table;
mod volume;

pub use audit::{Audited, Finding, Kind, audit, audit_file};
pub use compare::{Difference, compare};
pub use disk::Disk;
