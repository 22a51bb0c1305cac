//! Formats of bytes: archives, container images, disks. Writers take values and give bytes; readers believe nothing.

pub mod archive;
pub mod bolt;
pub mod containerd;
pub mod disk;
pub mod inspect;
pub mod oci;
