//! The options for the sources of bytes, shared by several commands, and their parsers.

use std::num::NonZeroUsize;

use clap::Args;

use crate::common::value::Mirror;
use crate::spec::apt;
use crate::spec::recipe::Word;

/// The sources of bytes.
#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// Open no socket; list what is missing in the store
    #[arg(long)]
    pub offline: bool,
    /// Package mirror (http:, https: or file:), of all archives or of one, tried before the host's own; repeatable
    #[arg(long, value_name = "[ARCHIVE=]URL", value_parser = mirror)]
    pub mirror: Vec<Mirror>,
    #[command(flatten)]
    pub web: Web,
}

impl Sources {
    /// The options of commands that fetch nothing.
    pub(crate) fn offline() -> Self {
        Sources { offline: true, mirror: Vec::new(), web: Web { rewrite: Vec::new(), registry_mirror: Vec::new() } }
    }
}

/// The replacements for release hosts and registries.
#[derive(Debug, Args)]
pub(crate) struct Web {
    /// Replace the PREFIX of release addresses by ADDRESS, as in https://host/=file:///mirror/; repeatable
    #[arg(long, value_name = "PREFIX=ADDRESS", value_parser = rewrite)]
    pub rewrite: Vec<(String, String)>,
    /// Use the registry at URL instead of REGISTRY, as in registry.k8s.io=https://mirror.example/k8s; repeatable
    #[arg(long, value_name = "REGISTRY=URL", value_parser = registry_mirror)]
    pub registry_mirror: Vec<(String, String)>,
}

/// Parses a mirror: its address, after the name of the only archive that it has. An invalid one is refused here, because otherwise
/// every package would fail separately.
pub(super) fn mirror(text: &str) -> Result<Mirror, String> {
    let wrong = || {
        "a mirror is an http:, https: or file: address, as http://mirror.example/debian or debian-security=file:///srv/security".to_owned()
    };
    match text.split_once('=').map(|(archive, base)| (archive.parse::<Word>(), base)) {
        Some((Ok(archive), base)) => apt::usable(base).map(|base| Mirror::of(archive.as_str(), base)),
        _ => apt::usable(text).map(Mirror::from),
    }
    .ok_or_else(wrong)
}

/// Splits `LEFT=RIGHT`.
pub(super) fn sides<'a>(text: &'a str, shape: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once('=').filter(|(left, right)| !left.is_empty() && !right.is_empty()).ok_or_else(|| format!("it must be {shape}"))
}

fn rewrite(text: &str) -> Result<(String, String), String> {
    let (prefix, address) = sides(text, "PREFIX=ADDRESS")?;
    is_rewrite(prefix, address).map(|()| (prefix.to_owned(), address.to_owned()))
}

/// Checks the two sides of a rewrite.
pub(crate) fn is_rewrite(prefix: &str, address: &str) -> Result<(), String> {
    let is_address = |text: &str| ["https://", "http://", "file:///"].iter().any(|scheme| text.starts_with(scheme));
    match is_address(prefix) && is_address(address) {
        true => Ok(()),
        false => Err("both sides must begin with https://, http:// or file:///".into()),
    }
}

fn registry_mirror(text: &str) -> Result<(String, String), String> {
    let (registry, url) = sides(text, "REGISTRY=URL, as registry.k8s.io=https://mirror.example")?;
    is_registry_mirror(registry, url).map(|()| (registry.to_owned(), url.to_owned()))
}

/// Checks the two sides of a registry mirror.
pub(crate) fn is_registry_mirror(registry: &str, url: &str) -> Result<(), String> {
    match !registry.contains('/') && ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) {
        true => Ok(()),
        false => Err("a registry is a host without a path, and its mirror must begin with https:// or http://".into()),
    }
}

pub(super) fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "it must be a whole number of at least 1".to_owned())
}
