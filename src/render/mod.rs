//! Pure text: the files of role images and the documents of seeds.
//!
//! What is the same for all nodes of a role stands in `image` and is public. What is a node's own stands in the other
//! modules, goes into its seed, and must never reach an image. Whatever has a key in it is a
//! [`SecretString`](secrecy::SecretString) before it is whole. Nothing here reads or writes.

mod cloud;
mod etcd;
mod file;
mod gateway;
pub mod host;
mod image;
mod kubernetes;
mod names;
mod node;
mod settings;
mod table;
mod xml;
mod yaml;

#[cfg(test)]
pub(crate) mod tests;

pub use cloud::{meta_data, network_config, user_data};
pub use etcd::{ETCD_PKI, EtcdStart, etcd_env};
pub use file::{Content, NodeFile};
pub use gateway::{GATEWAY_CA, is_balancer};
pub use image::{Entry, Facts, Owner, Runtime, base_entries, identity_entries, part_entries, static_pod_clashes};
pub use kubernetes::{Caller, encryption, kubeconfig};
pub use node::public_files;
pub use table::{aligned, cluster_table};
