//! Byte formats: archives, container images, disks. Writers take values and return bytes; readers trust no input.

pub(crate) mod archive;
pub(crate) mod bolt;
pub(crate) mod containerd;
pub(crate) mod disk;
pub(crate) mod inspect;
pub(crate) mod oci;
