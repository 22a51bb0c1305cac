//! Clusters: the cluster file, and what follows from it for nodes and their host. Handles private data; nothing here knows how images
//! are made.

pub(crate) mod host;
pub(crate) mod machine_disk;
pub(crate) mod model;
pub(crate) mod node;
pub(crate) mod pki;
pub(crate) mod programs;
pub(crate) mod seed;
#[cfg(test)]
pub(crate) mod testing;
