//! Databases of package managers, and the description of the operating system.

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manager {
    /// Debian's ([deb-control(5)](https://manpages.debian.org/bookworm/dpkg-dev/deb-control.5.en.html)).
    Dpkg,
    /// Alpine's ([apk-v2](https://wiki.alpinelinux.org/wiki/Apk_spec)).
    Apk,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Installed {
    /// The package manager that installed it.
    pub manager: Manager,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The architecture, in the manager's word.
    pub arch: String,
    /// The source package that it is built from.
    pub source: String,
}

/// An operating system by its own description ([os-release(5)](https://www.freedesktop.org/software/systemd/man/latest/os-release.html)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// The name for programs: `debian`.
    pub id: Option<String>,
    /// Its version: `12`.
    pub version: Option<String>,
    /// The version's name: `bookworm`.
    pub codename: Option<String>,
}

impl System {
    pub(super) fn parse(text: &str) -> Self {
        let of = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            let value = value.trim().trim_matches(['"', '\'']);
            let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
            (is_plain && !value.is_empty()).then(|| value.to_owned())
        };
        System { id: of("ID"), version: of("VERSION_ID"), codename: of("VERSION_CODENAME") }
    }
}

/// The installed packages of a database.
pub(super) fn packages(manager: Manager, text: &str) -> Vec<Installed> {
    // A lone carriage return ends no stanza.
    text.split("\n\n").filter_map(|stanza| package(manager, stanza)).collect()
}

fn package(manager: Manager, stanza: &str) -> Option<Installed> {
    let (name, version, arch, source) = match manager {
        Manager::Dpkg => ("Package", "Version", "Architecture", "Source"),
        Manager::Apk => ("P", "V", "A", "o"),
    };
    let field = |key: &str| {
        let value = stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim();
        (!value.is_empty()).then_some(value)
    };
    // Removed packages whose configuration stays are in dpkg's database too. Images without dpkg have no status.
    let is_there = manager == Manager::Apk || field("Status").is_none_or(|status| status.ends_with(" installed"));
    let name = field(name).filter(|_| is_there)?;
    // `gcc-12 (12.2.0-14)`: the source's own version, where it is another one.
    let source = field(source).and_then(|source| source.split(' ').next()).unwrap_or(name);
    let [name, version, arch, source] = [name, field(version)?, field(arch)?, source].map(str::to_owned);
    Some(Installed { manager, name, version, arch, source })
}
