//! The documents of a node's seed, as pure text.
//!
//! They hold whatever differs from node to node, which must never reach an image. Every document with a key in it is a
//! [`SecretString`](secrecy::SecretString) before it is complete. Nothing here reads or writes.

mod additions;
mod cloud;
mod components;
pub(in crate::cluster) mod data_disk;
mod etcd;
pub(crate) mod file;
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

pub(crate) use additions::Additions;
pub(crate) use cloud::ID_DIGITS;
pub(crate) use cloud::{HostKey, NamedFiles, meta_data, network_config, user_data};
pub(crate) use components::settings_json;
pub(crate) use etcd::{ETCD_PKI, EtcdStart};
pub(crate) use file::NodeFile;
pub(crate) use gateway::{GATEWAY_CA, is_balancer};
pub(crate) use kubernetes::{Caller, encryption, kubeconfig};
pub(crate) use merge::{is_kubeconfig_of, merged_kubeconfig};
pub(crate) use public_files::public_files;
pub(crate) use site::site_files;
