//! The software that a file tells of: a Go program has its modules, a Python distribution its name, a package manager's database
//! its packages.
//!
//! Files are a stranger's and come as streams: memory stays bounded whatever they say, nothing is kept of what is not
//! understood, and a program whose modules cannot be read says why.

mod go;
mod installed;
mod python;
mod search;

#[cfg(test)]
pub(crate) mod tests;

use std::io::{self, Read};

pub use go::{GoModule, GoProgram, Replacement};
pub use installed::{Installed, Manager, System};
pub use python::Distribution;

use crate::value::TreePath;

/// The most bytes of a package manager's database that are read.
const DATABASE_MAX: u64 = 64 << 20;

/// The statement of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A Go program; or why its modules cannot be read.
    Go(Result<GoProgram, String>),
    /// A Python distribution is installed.
    Python(Distribution),
    /// Packages are installed.
    Installed(Vec<Installed>),
    /// Which system it is.
    System(System),
}

/// The kind of file that a path speaks of.
enum Kind {
    Metadata,
    Packages(Manager),
    Release,
    Other,
}

/// Reads the file at `path`. The stream is read to its end, so that a verifying reader below has seen every byte.
///
/// # Errors
/// Those of `bytes`.
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
        // Images without dpkg have one file for each package, and beside it the checksums of its files.
        _ if path.starts_with(b"var/lib/dpkg/status.d/") && !name.ends_with(b".md5sums") => Kind::Packages(Manager::Dpkg),
        _ if python::is_metadata(path) => Kind::Metadata,
        _ => Kind::Other,
    }
}

/// A text of at most `most` bytes; what is behind them, or no UTF-8, is not understood.
fn whole(bytes: &mut dyn Read, most: u64) -> io::Result<String> {
    let mut text = Vec::new();
    bytes.take(most).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
