//! Tests of the base; the full build with real packages is in the end-to-end test.

mod build;
mod ground;
mod host;
mod normalise;
mod packages;
mod sandbox;
