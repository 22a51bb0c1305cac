//! Helpers that the library's own tests use as well: nothing here knows the program or cargo's folders.

#![allow(dead_code, unreachable_pub, reason = "the library's tests and each test program use a part of it")]

pub mod cri;
pub mod go;
pub mod golden;
pub mod packages;
pub mod server;
