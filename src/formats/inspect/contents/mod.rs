//! The software that a file names: a Go program its modules, a Python distribution itself, a package manager's database its
//! packages.
//!
//! Files are not trusted and come as streams: memory stays bounded, unknown contents are ignored, and a program whose modules cannot be
//! read gives the reason.

mod go;
mod installed;
mod python;
mod search;

#[cfg(test)]
pub(crate) mod tests;

use std::io::{self, Read};

pub(crate) use go::{GoModule, GoProgram, Replacement};
pub(crate) use installed::{Installed, Manager, System};
pub(crate) use python::Distribution;

use crate::common::value::TreePath;

/// The most bytes of a package manager's database that are read.
const DATABASE_MAX: u64 = 64 << 20;

/// The software that one file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A Go program, or the reason why its modules cannot be read.
    Go(Result<GoProgram, String>),
    /// An installed Python distribution.
    Python(Distribution),
    /// Installed packages.
    Installed(Vec<Installed>),
    /// The operating system.
    System(System),
}

/// The kind of a file by its path.
enum Kind {
    Metadata,
    Packages(Manager),
    Release,
    Other,
}

/// Reads the file at `path`. Reads the stream to its end, so that a verifying reader below has seen every byte.
///
/// # Errors
/// Errors of `bytes`.
pub fn content(path: &TreePath, mut bytes: impl Read) -> io::Result<Option<Content>> {
    let found = match kind(path.as_bytes()) {
        Kind::Metadata => python::distribution(&mut bytes)?.map(Content::Python),
        Kind::Packages(manager) => Some(Content::Installed(installed::packages(manager, &whole(&mut bytes, DATABASE_MAX)?))),
        Kind::Release => Some(Content::System(System::parse(&whole(&mut bytes, 64 << 10)?))),
        Kind::Other => search::build_info(&mut bytes)?.map(|found| Content::Go(found.and_then(|info| go::program(&info)))),
    };
    io::copy(&mut bytes, &mut io::sink())?;
    Ok(found)
}

fn kind(path: &[u8]) -> Kind {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    match path {
        b"var/lib/dpkg/status" => Kind::Packages(Manager::Dpkg),
        b"lib/apk/db/installed" | b"usr/lib/apk/db/installed" => Kind::Packages(Manager::Apk),
        b"etc/os-release" | b"usr/lib/os-release" => Kind::Release,
        // Images without dpkg have one file for each package, beside the checksums of its files.
        _ if path.starts_with(b"var/lib/dpkg/status.d/") && !name.ends_with(b".md5sums") => Kind::Packages(Manager::Dpkg),
        _ if python::is_metadata(path) => Kind::Metadata,
        _ => Kind::Other,
    }
}

/// Reads a text of at most `most` bytes. Bytes behind them are ignored, invalid UTF-8 is replaced.
fn whole(bytes: &mut dyn Read, most: u64) -> io::Result<String> {
    let mut text = Vec::new();
    bytes.take(most).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
