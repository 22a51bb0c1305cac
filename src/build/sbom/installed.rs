//! Packages that are installed in container images.

/// A package manager, by its database in a container image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Debian's.
    Dpkg,
    /// Alpine's.
    Apk,
}

/// A package that is installed in a container image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed<'a> {
    /// The package manager that installed it.
    pub manager: Manager,
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its architecture, in the manager's own word.
    pub arch: &'a str,
    /// The source package that it is built from.
    pub source: &'a str,
    /// The system, from the image's os-release: `debian`.
    pub system: Option<&'a str>,
    /// The system with its release: `debian-12`.
    pub distro: Option<String>,
    /// The release's code name: `bookworm`.
    pub codename: Option<&'a str>,
}
