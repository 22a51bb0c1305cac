//! Helpers of the test programs: kbake itself with nothing of the user's, small projects, servers on loopback, reference tools.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod baked;
pub mod docker;
pub mod program;
pub mod shared;
pub mod site;
pub mod web;

/// The checkout.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// An unprivileged user of the host, made by tests/setup.sh.
pub const OTHER_USER: &str = "kbake-test";
