//! Pure text: the files of role images and the documents of seeds.
//!
//! What is the same for all nodes of a role stands in `image` and is public. What is a node's own stands in the other
//! modules, goes into its seed, and must never reach an image. Whatever has a key in it is a
//! [`SecretString`](secrecy::SecretString) before it is whole. Nothing here reads or writes.

mod additions;
mod cloud;
mod columns;
mod components;
mod data_disk;
mod etcd;
mod file;
mod gateway;
pub mod host;
mod image;
mod kubernetes;
mod merge;
mod names;
mod node;
mod settings;
mod site;
mod table;
mod xml;
mod yaml;

#[cfg(test)]
pub(crate) mod tests;

pub use additions::Additions;
pub(crate) use cloud::ID_DIGITS;
pub use cloud::{HostKey, NamedFiles, meta_data, network_config, user_data};
pub use columns::{aligned, fitted};
pub use components::settings_json;
pub use etcd::{ETCD_PKI, EtcdStart, etcd_env};
pub use file::{Content, NodeFile};
pub use gateway::{GATEWAY_CA, is_balancer};
pub use image::{Entry, Facts, Owner, Runtime, base_entries, identity_entries, part_entries, static_pod_clashes};
pub use kubernetes::{Caller, encryption, kubeconfig};
pub use merge::{is_kubeconfig_of, merged_kubeconfig};
pub use node::public_files;
pub use site::site_files;
pub use table::cluster_table;
