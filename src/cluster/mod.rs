//! Clusters: the cluster file, and what follows from it for nodes and their host. Private; nothing here knows how images are made.

pub mod host;
pub mod machine_disk;
pub mod model;
pub mod node;
pub mod pki;
pub mod programs;
pub mod seed;
#[cfg(test)]
pub(crate) mod testing;
