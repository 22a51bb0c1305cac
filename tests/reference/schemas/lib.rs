//! Nothing: see the comment in Cargo.toml.
