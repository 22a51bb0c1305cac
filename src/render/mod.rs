//! Pure text: the files of role images and the documents of seeds.
//!
//! What is the same for all nodes of a role stands in `image` and is public. What is a node's own stands in
//! `cloud` and `etcd`, goes into its seed, and must never reach an image. Nothing here reads or writes.

mod cloud;
mod etcd;
pub mod host;
mod image;
mod table;
mod xml;
mod yaml;

#[cfg(test)]
mod tests;

pub use cloud::{meta_data, network_config, user_data};
pub use etcd::etcd_env;
pub use image::{Entry, Owner, base_entries, etcd_entries};
pub use table::{aligned, cluster_table};
