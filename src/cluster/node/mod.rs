//! The documents of a node's seed, as pure text.
//!
//! They hold whatever differs from node to node, which must never reach an image. Every document with a key in it is a
//! [`SecretString`](secrecy::SecretString) before it is complete. Nothing here reads or writes.

mod additions;
mod cloud;
mod components;
pub(in crate::cluster) mod data_disk;
mod etcd;
mod file;
mod gateway;
mod kubernetes;
mod merge;
pub(in crate::cluster) mod names;
mod public_files;
mod secret;
mod settings;
mod site;

#[cfg(test)]
mod tests;

pub use additions::Additions;
pub(crate) use cloud::ID_DIGITS;
pub use cloud::{HostKey, NamedFiles, meta_data, network_config, user_data};
pub use components::settings_json;
pub use etcd::{ETCD_PKI, EtcdStart, etcd_env};
pub use file::{Content, NodeFile};
pub use gateway::{GATEWAY_CA, is_balancer};
pub use kubernetes::{Caller, encryption, kubeconfig};
pub use merge::{is_kubeconfig_of, merged_kubeconfig};
pub use public_files::public_files;
pub use site::site_files;
