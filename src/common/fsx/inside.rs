//! Files that must lie inside a folder, whatever links it has: a project may come from strangers, and a link in it must
//! not bring one of the user's files into an image.
//!
//! The path is walked component by component from an open folder, so that a link created meanwhile is detected too. The
//! kernel's own `RESOLVE_BENEATH` is newer than some hosts, and refuses absolute links that stay inside.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat, readlinkat};
use rustix::io::Errno;

use super::canonical;
use crate::common::error::{Error, Result};

/// The most links that Linux follows in one path.
const LINKS_MAX: u32 = 40;

/// A regular file inside a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// The folder, without links.
    folder: PathBuf,
    /// The file's path relative to the folder, without links.
    name: PathBuf,
    /// The size in bytes.
    size: u64,
    /// Executable by its owner.
    executable: bool,
}

impl Inside {
    /// The regular file that the relative path `name` leads to; `None` if it does not exist.
    ///
    /// # Errors
    /// A path that leaves the folder, or that leads to something other than a regular file.
    pub fn find(folder: &Path, name: &Path) -> Result<Option<Inside>> {
        Ok(Walk::to(folder, name)?.map(|(inside, _)| inside))
    }

    /// [`Inside::find`], opened for reading.
    pub fn open_at(folder: &Path, name: &Path) -> Result<Option<(Inside, File)>> {
        Walk::to(folder, name)
    }

    /// The absolute path, without links.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// The size in bytes when the file was found.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// True if its owner may execute it.
    pub fn is_executable(&self) -> bool {
        self.executable
    }

    /// Opens the file with the same checks; `None` if it no longer exists.
    ///
    /// # Errors
    /// Those of [`Inside::find`].
    pub fn open(&self) -> Result<Option<File>> {
        Ok(Inside::open_at(&self.folder, &self.name)?.map(|(_, file)| file))
    }
}

/// The reason why a walk ends early.
enum Stop {
    /// A link or a `..` leaves the folder.
    Out(Option<PathBuf>),
    /// The path leads to something other than a regular file.
    Kind(&'static str),
    Io(io::Error),
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Stop::Io(error.into())
    }
}

/// A walk through a folder.
struct Walk<'a> {
    folder: &'a Path,
    root: OwnedFd,
    /// The folders on the current path, below the root.
    stack: Vec<(OwnedFd, OsString)>,
    todo: VecDeque<OsString>,
    links: u32,
}

impl<'a> Walk<'a> {
    fn to(folder: &'a Path, name: &Path) -> Result<Option<(Inside, File)>> {
        let shown = || folder.join(name).display().to_string();
        let failed = |e: io::Error| Error::io(format!("read {}", shown()), &e);
        let root = match open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(failed(e.into())),
        };
        let mut walk = Walk { folder, root, stack: Vec::new(), todo: VecDeque::new(), links: 0 };
        match walk.push(name).and_then(|()| walk.run()) {
            Ok(Some((file, last))) => {
                let meta = file.metadata().map_err(failed)?;
                let name = walk.stack.iter().map(|(_, name)| name.clone()).chain([last]).collect();
                let executable = std::os::unix::fs::MetadataExt::mode(&meta) & 0o100 != 0;
                Ok(Some((Inside { folder: canonical(folder)?, name, size: meta.len(), executable }, file)))
            }
            Ok(None) => Ok(None),
            Err(Stop::Out(link)) => Err(out(&shown(), link)),
            Err(Stop::Kind(kind)) => Err(Error::user(format!("{} is {kind}; expected a regular file", shown()))),
            Err(Stop::Io(e)) => Err(failed(e)),
        }
    }

    /// Prepends a path to the components still to walk. An absolute one must lead back into the folder.
    fn push(&mut self, path: &Path) -> Result<(), Stop> {
        let mut rest = path.to_owned();
        if path.is_absolute() {
            let root = canonical(self.folder).map_err(|_| Stop::Out(None))?;
            rest = path.strip_prefix(&root).map_err(|_| Stop::Out(None))?.to_owned();
            self.stack.clear();
        }
        let parts: Vec<OsString> = rest
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
            })
            .collect();
        parts.into_iter().rev().for_each(|part| self.todo.push_front(part));
        Ok(())
    }

    /// The file at the end of the path, and its name.
    fn run(&mut self) -> Result<Option<(File, OsString)>, Stop> {
        while let Some(part) = self.todo.pop_front() {
            if part == ".." {
                self.stack.pop().ok_or(Stop::Out(None))?;
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match openat(self.at(), &part, flags, Mode::empty()) {
                Ok(found) => found,
                Err(Errno::NOENT) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            match FileType::from_raw_mode(fstat(&found)?.st_mode) {
                FileType::Symlink => self.follow(&found, &part)?,
                FileType::Directory => self.stack.push((found, part)),
                FileType::RegularFile if self.todo.is_empty() => return Ok(Some((self.open(&part)?, part))),
                // A path through a file leads nowhere.
                FileType::RegularFile => return Ok(None),
                _ => return Err(Stop::Kind("a device, pipe or socket")),
            }
        }
        Err(Stop::Kind("a folder"))
    }

    fn at(&self) -> &OwnedFd {
        self.stack.last().map_or(&self.root, |(folder, _)| folder)
    }

    fn follow(&mut self, link: &OwnedFd, name: &OsStr) -> Result<(), Stop> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::LOOP.into());
        }
        let target = readlinkat(link, "", Vec::new())?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        let said = self.stack.iter().map(|(_, name)| name.as_os_str()).chain([name]).collect::<PathBuf>();
        self.push(&target).map_err(|stop| match stop {
            Stop::Out(_) => Stop::Out(Some(said)),
            other => other,
        })
    }

    /// Opens the last component in the current folder. It may have been replaced by now.
    fn open(&self, name: &OsStr) -> Result<File, Stop> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(self.at(), name.as_bytes(), flags, Mode::empty())?);
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file),
            _ => Err(Stop::Kind("not a regular file")),
        }
    }
}

fn out(shown: &str, link: Option<PathBuf>) -> Error {
    let error = Error::user(format!("{shown} is outside the project's folder"));
    let error = match link {
        Some(link) => error.detail(format!("{} is a link to a target outside it", link.display())),
        None => error.detail("a link or a `..` in the path leaves the folder"),
    };
    error.hint("copy the file into the project; a link may lead to another file of the project")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder `project` with the file `recipes/good`, beside a file `secret`.
    fn place() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("project/recipes/deep")).unwrap();
        fs::write(dir.path().join("project/recipes/good"), "good").unwrap();
        fs::write(dir.path().join("secret"), "token").unwrap();
        dir
    }

    fn read(dir: &tempfile::TempDir, name: &str) -> Result<Option<String>> {
        let found = Inside::open_at(&dir.path().join("project"), Path::new(name))?;
        Ok(found.map(|(_, file)| io::read_to_string(file).unwrap()))
    }

    #[test]
    fn no_link_of_any_kind_leaves_the_folder() {
        let dir = place();
        let project = dir.path().join("project");
        let link = |target: &Path, name: &str| symlink(target, project.join(name)).unwrap();
        link(&dir.path().join("secret"), "recipes/absolute");
        link(Path::new("../../secret"), "recipes/relative");
        link(Path::new("relative"), "recipes/twice");
        link(dir.path(), "recipes/folder");
        link(Path::new("../.."), "recipes/up");
        link(Path::new("deep/../../../secret"), "recipes/through");
        link(Path::new("/proc/self/cwd"), "recipes/magic");
        link(Path::new("/etc/hostname"), "recipes/etc");
        for name in [
            "recipes/absolute",
            "recipes/relative",
            "recipes/twice",
            "recipes/folder/secret",
            "recipes/up/secret",
            "recipes/through",
            "recipes/magic/Cargo.toml",
            "recipes/etc",
            "../secret",
            "recipes/../../secret",
            "/etc/hostname",
        ] {
            let error = read(&dir, name).unwrap_err().to_string();
            assert!(error.contains("is outside the project's folder"), "{name}: {error}");
        }
    }

    #[test]
    fn links_that_stay_inside_are_followed() {
        let dir = place();
        let project = dir.path().join("project");
        symlink("../good", project.join("recipes/deep/relative")).unwrap();
        symlink(fs::canonicalize(&project).unwrap().join("recipes/good"), project.join("recipes/deep/absolute")).unwrap();
        symlink("recipes/deep", project.join("deep")).unwrap();
        for name in ["recipes/good", "recipes/deep/relative", "recipes/deep/absolute", "deep/relative", "deep/../good", "./recipes/good"] {
            assert_eq!(read(&dir, name).unwrap().as_deref(), Some("good"), "{name}");
        }
        let found = Inside::find(&project, Path::new("deep/relative")).unwrap().unwrap();
        assert_eq!(found.path(), fs::canonicalize(project.join("recipes/good")).unwrap());
        // The project itself may be reached through a link.
        symlink("project", dir.path().join("alias")).unwrap();
        assert!(Inside::find(&dir.path().join("alias"), Path::new("recipes/good")).unwrap().is_some());
    }

    #[test]
    fn a_file_found_inside_is_not_opened_outside() {
        let dir = place();
        let project = dir.path().join("project");
        let found = Inside::find(&project, Path::new("recipes/good")).unwrap().unwrap();
        fs::remove_file(project.join("recipes/good")).unwrap();
        assert!(found.open().unwrap().is_none());
        symlink("../../secret", project.join("recipes/good")).unwrap();
        assert!(found.open().unwrap_err().message().contains("is outside"));
    }

    #[test]
    fn other_kinds_of_files_are_refused_without_waiting() {
        let dir = place();
        let project = dir.path().join("project");
        rustix::fs::mkfifoat(rustix::fs::CWD, project.join("recipes/pipe"), Mode::from_raw_mode(0o644)).unwrap();
        symlink("loop", project.join("loop")).unwrap();
        assert!(read(&dir, "recipes/pipe").unwrap_err().message().contains("pipe"));
        assert!(read(&dir, "recipes/deep").unwrap_err().message().contains("a folder"));
        assert!(read(&dir, "loop").is_err());
        for name in ["recipes/none", "none/none", "recipes/good/none"] {
            assert_eq!(read(&dir, name).unwrap(), None, "{name}");
        }
    }
}
