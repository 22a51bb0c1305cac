//! A small project that is fetched in a moment, with a mirror, store and home of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kbake::project::{Entry, Lock, Request, SetName};
use kbake::project::{Recipe, Sources, Subject};
use kbake::value::Sha256;

use super::web::{Answer, Web};
use super::{ROOT, program};

pub const ONE: &str = "pool/main/o/one/one_1_all.deb";
pub const TWO: &str = "pool/main/t/two/two_1_all.deb";
pub const TOOL: &str = "pool/main/m/mmdebstrap/mmdebstrap_1_all.deb";

/// A project of three small packages, with a store and a home of its own.
pub struct Site {
    pub dir: tempfile::TempDir,
}

/// The bytes of a package's file.
pub fn contents(path: &str) -> Vec<u8> {
    path.repeat(40_000).into_bytes()
}

impl Site {
    pub fn new() -> Site {
        let site = Site { dir: tempfile::tempdir().unwrap() };
        for folder in ["recipes/keys", "recipes/roles", "recipes/sources", "lockfiles", "home", "images"] {
            fs::create_dir_all(site.path(folder)).unwrap();
        }
        site.write("recipes/base.toml", "description = \"base\"\npackages = [\"one\"]\n");
        site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\"]\n");
        let sources = fs::read_to_string(Path::new(ROOT).join("recipes/sources/debian.toml")).unwrap();
        let (head, rest) = sources.split_once("tools = [").unwrap();
        let suites = &rest[rest.find("[[suite]]").unwrap()..rest.find("[artifact").unwrap()];
        site.write("recipes/sources/debian.toml", &format!("{head}tools = [\"mmdebstrap\"]\n{suites}"));
        let keys = "recipes/keys/debian-12.asc";
        fs::copy(Path::new(ROOT).join(keys), site.path(keys)).unwrap();
        // The host's own mirrors are not used.
        site.write("home/apt.conf", "Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"/dev/null\";\n");
        site.lock(&[(ONE, &contents(ONE)), (TWO, &contents(TWO)), (TOOL, &contents(TOOL))]);
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes the lockfile that `kbake lock` would write for these packages.
    pub fn lock(&self, packages: &[(&str, &[u8])]) {
        let role: kbake::value::RoleName = "etcd".parse().unwrap();
        let sources = Sources::parse("s", &self.read("recipes/sources/debian.toml"), None).unwrap();
        let base = Recipe::parse("b", &self.read("recipes/base.toml"), Subject::Base).unwrap();
        let own = Recipe::parse("r", &self.read("recipes/roles/etcd.toml"), Subject::Role(role.clone())).unwrap();
        let entries = packages.iter().map(|(path, bytes)| {
            let name = path.split('/').nth(3).unwrap();
            let set = match name {
                "one" | "apt" => SetName::Base,
                "two" => SetName::Role(role.clone()),
                kernel if kernel.starts_with("linux-image-") => SetName::Base,
                _ => SetName::Tool,
            };
            Entry {
                name: name.parse().unwrap(),
                version: "1".parse().unwrap(),
                arch: "all".parse().unwrap(),
                source_version: None,
                archive: "debian".parse().unwrap(),
                source: path.parse().unwrap(),
                size: bytes.len() as u64,
                sha256: Sha256::of(bytes),
                verified: format!("openpgp:{}", "A".repeat(40)).parse().unwrap(),
                sets: [set].into(),
            }
        });
        let request = Request::of(&sources, &[base, own]).unwrap();
        let lock = Lock::new(&request, request.unresolved(), entries.collect()).unwrap();
        self.write("lockfiles/debian.lock", &lock.to_text());
    }

    pub fn kbake(&self, args: &[&str]) -> Command {
        let mut command = self.at_home(program::kbake(self.dir.path()));
        command.args(args);
        command
    }

    /// kbake, run by `tool` with `words` before it.
    pub fn kbake_by<W: AsRef<OsStr>>(&self, tool: &str, words: &[W]) -> Command {
        self.at_home(program::kbake_by(tool, words, self.dir.path()))
    }

    /// A command in this project with its own home.
    pub fn at_home(&self, mut command: Command) -> Command {
        command.env("HOME", self.path("home")).env("APT_CONFIG", self.path("home/apt.conf"));
        // The sources file of the project is this channel's, with other tools.
        command.env("KBAKE_CHANNEL", "debian");
        command
    }

    /// Runs a command that must fail with `code`; returns its stderr.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        said(code, &self.kbake(args).output().unwrap())
    }

    pub fn succeeds(&self, args: &[&str]) -> String {
        let output = self.kbake(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The names of the blobs in the store.
    pub fn blobs(&self) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.path("home/.cache/kbake/blobs/sha256")) else { return Vec::new() };
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

pub fn said(code: i32, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "stdout is for data");
    stderr
}

#[track_caller]
pub fn says(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

pub fn mirror(web: &Web, paths: &[&str]) {
    paths.iter().for_each(|path| web.answer(path, Answer::File(contents(path))));
}

/// A project whose packages are in its store, and the mirror that has them.
pub fn fetched() -> (Site, Web) {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    (site, web)
}

pub fn store_of(site: &Site) -> PathBuf {
    site.path("home/.cache/kbake")
}
