//! The program and the library from outside, without machines: commands, bundles, registries, and the files of this repository that
//! others read.

#![allow(unreachable_pub, reason = "a test program has no users")]
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

mod bundle;
mod cli;
mod editors;
mod events;
mod examples;
mod harness;
mod proof;
mod registry;
mod store;
mod version;

#[path = "../support/mod.rs"]
mod support;
