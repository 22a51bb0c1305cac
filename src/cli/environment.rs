//! The process's environment: variables, current folder, processors.

use std::path::PathBuf;

use crate::common::error::{Error, Result};
use crate::spec::apt;

/// The current folder.
#[expect(clippy::disallowed_methods, reason = "the cli is where the current folder is known")]
pub(super) fn current_folder() -> Result<PathBuf> {
    std::env::current_dir().map_err(|e| Error::io("find the current folder", &e))
}

/// The default folder of the store, a cache in the
/// [XDG base directories](https://specifications.freedesktop.org/basedir-spec/latest/), since its content can be made again.
#[expect(clippy::disallowed_methods, reason = "the cli is where the environment is read")]
pub(super) fn default_store() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache"))).map(|cache| cache.join("kbake")).ok_or_else(|| {
        Error::user("no default folder for the store: neither $XDG_CACHE_HOME nor $HOME is set")
            .hint("name a folder with --store or $KBAKE_STORE")
    })
}

/// The number of processors that this process may use.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The environment as apt's configuration sees it.
#[expect(clippy::disallowed_methods, reason = "the cli is where the environment is read")]
pub(super) fn apt_host() -> apt::Host {
    apt::Host::from_vars(std::env::vars_os())
}

/// The name with which this program was called, for printed commands.
pub(super) fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "kbake".into())
}
