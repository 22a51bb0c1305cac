//! Nodes that run: images in emulated machines, and the files of seeds in namespaces with the programs that they are for.

#![allow(unreachable_pub, reason = "a test program has no users")]
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

mod e2e;
mod etcd;
mod gateway;
mod grub;
mod nodes;
mod seeded;
mod upstream;
mod vm;

#[path = "../support/mod.rs"]
mod support;
