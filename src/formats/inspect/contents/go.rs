//! The build information of a Go program ([runtime/debug.BuildInfo](https://pkg.go.dev/runtime/debug#BuildInfo)).

use super::search::Info;

/// The version of a module that was built from a working copy.
const UNRELEASED: &str = "(devel)";

/// A Go program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoProgram {
    /// The version of Go that built it: `go1.26.8`.
    pub go: String,
    /// The path of its main package.
    pub package: Option<String>,
    /// The module of the main package.
    pub main: Option<GoModule>,
    /// All other modules, in the program's order.
    pub modules: Vec<GoModule>,
    /// The commit that it was built from, where it was recorded.
    pub revision: Option<String>,
}

/// A module in a program. A replaced module is described by its replacement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoModule {
    /// Its path.
    pub path: String,
    /// Its version, with the `v`; none for a working copy or a local folder.
    pub version: Option<String>,
    /// The checksum of its files: `h1:…`.
    pub sum: Option<String>,
    /// The module that it replaces.
    pub replacement: Option<Replacement>,
}

/// The kind of a replacement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Replacement {
    /// The module replaces this one, `path@version`.
    Of(String),
    /// The module was built from a folder beside the program's sources.
    Folder,
}

impl GoProgram {
    /// The version of its standard library: `1.26.8`. None for an unreleased Go.
    pub fn library(&self) -> Option<&str> {
        let word = self.go.split(' ').next()?.strip_prefix("go")?;
        word.starts_with(|c: char| c.is_ascii_digit()).then_some(word)
    }
}

/// Reads the text about modules.
pub(super) fn program(info: &Info) -> Result<GoProgram, String> {
    let mut program = GoProgram { go: info.go.clone(), package: None, main: None, modules: Vec::new(), revision: None };
    let mut last = None;
    for line in info.modules.lines() {
        let (key, value) = line.split_once('\t').unwrap_or((line, ""));
        match key {
            "path" => program.package = Some(value.to_owned()),
            "mod" => {
                program.main = Some(module(value)?);
                last = program.main.as_mut();
            }
            "dep" => {
                program.modules.push(module(value)?);
                last = program.modules.last_mut();
            }
            "=>" => replace(last.take().ok_or("its build information replaces no module")?, module(value)?),
            "build" => program.revision = value.strip_prefix("vcs.revision=").map(str::to_owned).or(program.revision),
            // Lines that a later Go may add.
            _ => {}
        }
    }
    Ok(program)
}

/// `path version [sum]`, with tabs.
fn module(columns: &str) -> Result<GoModule, String> {
    let mut columns = columns.split('\t');
    match (columns.next(), columns.next(), columns.next(), columns.next()) {
        (Some(path), Some(version), sum, None) if !path.is_empty() => {
            let said = |text: &str| (!text.is_empty() && text != UNRELEASED).then(|| text.to_owned());
            Ok(GoModule { path: path.to_owned(), version: said(version), sum: sum.and_then(said), replacement: None })
        }
        _ => Err("its build information has a module that is not a path with a version".into()),
    }
}

/// Replaces `module` by `by`. A folder has no public name: the module keeps its own, without a version.
fn replace(module: &mut GoModule, by: GoModule) {
    let is_folder = ["./", "../", "/"].iter().any(|start| by.path.starts_with(start)) || [".", ".."].contains(&by.path.as_str());
    if is_folder {
        *module = GoModule { version: None, sum: None, replacement: Some(Replacement::Folder), ..module.clone() };
        return;
    }
    let version = module.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
    let of = format!("{}{version}", module.path);
    *module = GoModule { replacement: Some(Replacement::Of(of)), ..by };
}
