//! A small archive on disk, signed with a key made for the test, and a host whose apt has only this archive.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::value::{Cancel, Mirror, Sha256, Timestamp};
use crate::spec::apt::{Event, Host, Options, Upgrade, Wanted, lock};
use crate::spec::recipe::{Recipe, RecipePath, Sources, Subject};
use crate::{Error, Result};

use crate::spec::lock::{Change, Lock};

/// A package of the test's archive: name, version, dependencies, other fields.
pub(crate) type Package<'a> = (&'a str, &'a str, &'a str, &'a str);

/// The first keys of the sources file of a test.
pub(crate) const HEAD: &str =
    "channel = 'test'\nkind = 'debian-packages'\narch = 'amd64'\nepoch = 2022-01-01T00:00:00Z\ntools = ['tool']\n";

/// A suite of the test's archive.
pub(crate) struct Suite<'a> {
    /// The archive's folder in the test's folder.
    pub folder: &'a str,
    /// The suite's name in the address.
    pub name: &'a str,
    /// The suite's name in the release file.
    pub codename: &'a str,
    /// The field `Date`.
    pub date: &'a str,
    /// More fields.
    pub more: &'a str,
    /// The keys that sign; all of the first key's without any.
    pub keys: &'a [&'a str],
}

impl<'a> Suite<'a> {
    /// A suite that the archive's first key signs.
    pub(crate) fn of(folder: &'a str, name: &'a str, date: &'a str) -> Self {
        Suite { folder, name, codename: name, date, more: "", keys: &[] }
    }
}

pub(crate) struct Archive {
    folder: TempDir,
    fingerprint: String,
}

fn run(command: &mut Command) -> String {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| panic!("{tool} is missing: run tests/setup.sh ({error})"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

impl Archive {
    /// An empty archive with a key of its own.
    pub(crate) fn new() -> Self {
        // Short: the path of gpg-agent's socket is limited to 107 bytes.
        let folder = tempfile::Builder::new().prefix("kb").tempdir_in("/tmp").unwrap();
        let mut archive = Archive { folder, fingerprint: String::new() };
        write(&archive.path("gpg/x"), "");
        write(
            &archive.path("host/apt.conf"),
            &format!(
                "Dir::Etc \"{0}/host\";\nDir::State \"{0}/host/state\";\nDir::Cache \"{0}/host/cache\";\n",
                archive.path("").display()
            ),
        );
        for name in ["apt.conf.d", "sources.list.d", "preferences.d", "auth.conf.d", "state/lists/partial", "cache/archives/partial"] {
            write(&archive.path(&format!("host/{name}/.keep")), "");
        }
        archive.gpg(&["--quick-generate-key", "archive@test.invalid", "ed25519", "sign", "never"]);
        let keys = archive.gpg(&["--with-colons", "--list-keys"]);
        archive.fingerprint = keys.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':').to_owned();
        let keyring = archive.path("keyring.gpg");
        archive.gpg(&["--output", keyring.to_str().unwrap(), "--export"]);
        archive
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("gpg");
        command.args([
            "--homedir",
            self.path("gpg").to_str().unwrap(),
            "--batch",
            "--quiet",
            "--yes",
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
        ]);
        run(command.args(arguments))
    }

    /// Publishes these packages, signed. The essential package `core` is always there.
    pub(crate) fn publish(&self, packages: &[Package<'_>]) {
        self.publish_as("test", packages);
    }

    /// Like [`Archive::publish`], with another codename in the signed release file.
    pub(crate) fn publish_as(&self, codename: &str, packages: &[Package<'_>]) {
        let all = [packages, &[("core", "1", "", "Essential: yes\n")]].concat();
        self.publish_suite(&Suite { codename, ..Suite::of("mirror", "test", "Sat, 01 Jan 2022 00:00:00 UTC") }, &all);
    }

    /// Publishes a suite, signed.
    pub(crate) fn publish_suite(&self, suite: &Suite<'_>, packages: &[Package<'_>]) {
        let mut index = String::new();
        for (name, version, depends, fields) in packages {
            // All packages of one source are in one folder: a name's first word here.
            let source = name.split('-').next().unwrap();
            let depends = if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
            let digest = Sha256::of(format!("{name} {version} {fields}"));
            let file = format!("pool/main/{source}/{name}_{version}_amd64.deb");
            let _ = write!(
                index,
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{depends}{fields}Filename: {file}\nSize: 7\nSHA256: {digest}\n\n"
            );
        }
        let Suite { folder, name, codename, date, more, keys } = suite;
        let below = |file: &str| self.path(&format!("{folder}/dists/{name}/{file}"));
        write(&below("main/binary-amd64/Packages"), &index);
        let (digest, size) = (Sha256::of(&index), index.len());
        let release = format!(
            "Origin: Test\nSuite: {codename}\nCodename: {codename}\nDate: {date}\n{more}Architectures: amd64\nComponents: main\nSHA256:\n {digest} {size} main/binary-amd64/Packages\n"
        );
        let (plain, signed) = (self.path("Release"), below("InRelease"));
        write(&plain, &release);
        let users: Vec<&str> = keys.iter().flat_map(|key| ["--local-user", key]).collect();
        self.gpg(&[&users[..], &["--output", signed.to_str().unwrap(), "--clearsign", plain.to_str().unwrap()]].concat());
    }

    /// Adds a key to the archive, which signs nothing by itself; its fingerprint. The keyring has it from now on.
    pub(crate) fn new_key(&self, name: &str) -> String {
        self.gpg(&["--quick-generate-key", name, "ed25519", "sign", "never"]);
        let keys = self.gpg(&["--with-colons", "--list-keys", name]);
        self.gpg(&["--output", self.path("keyring.gpg").to_str().unwrap(), "--export"]);
        keys.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':').to_owned()
    }

    /// Writes the archive's keys as text.
    pub(crate) fn export_armoured(&self, file: &str) {
        self.gpg(&["--armor", "--output", self.path(file).to_str().unwrap(), "--export"]);
    }

    pub(crate) fn mirror(&self) -> String {
        format!("file:{}", self.path("mirror").display())
    }

    /// A host like this one, but whose apt has no sources of its own.
    pub(crate) fn host(&self) -> Host {
        let path = std::env::var_os("PATH").unwrap();
        Host::from_vars([("PATH".into(), path), ("APT_CONFIG".into(), self.path("host/apt.conf").into())])
    }

    pub(crate) fn sources(&self) -> Sources {
        self.sources_with(self.path("keyring.gpg").to_str().unwrap(), &self.fingerprint)
    }

    pub(crate) fn sources_with(&self, keyring: &str, key: &str) -> Sources {
        let text =
            format!("{HEAD}[[suite]]\nname = 'test'\narchive = 'debian'\ncomponents = ['main']\nkeyring = '{keyring}'\nkeys = ['{key}']\n");
        Sources::parse("sources/test.toml", &text, None).unwrap()
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Locks `base` and the role `etcd`'s packages against this archive.
    pub(crate) fn lock(&self, base: &str, role: &str, old: Option<&Lock>, upgrade: Upgrade) -> Result<(Lock, Vec<String>)> {
        self.lock_from(&[self.mirror().into()], &self.sources(), base, role, old, upgrade)
    }

    pub(crate) fn lock_from(
        &self,
        mirrors: &[Mirror],
        sources: &Sources,
        base: &str,
        role: &str,
        old: Option<&Lock>,
        upgrade: Upgrade,
    ) -> Result<(Lock, Vec<String>)> {
        self.lock_at(mirrors, sources, [base, role], old, upgrade, None)
    }

    /// Locks the packages of `base` and of the role `etcd`, in the state of the suites at a time.
    pub(crate) fn lock_at(
        &self,
        mirrors: &[Mirror],
        sources: &Sources,
        [base, role]: [&str; 2],
        old: Option<&Lock>,
        upgrade: Upgrade,
        at: Option<Timestamp>,
    ) -> Result<(Lock, Vec<String>)> {
        let recipes = [recipe("base.toml", base, Subject::Base), recipe("roles/etcd.toml", role, Subject::Role("etcd".parse().unwrap()))];
        let (host, cancel) = (self.host(), Cancel::new());
        let project = |path: &RecipePath| crate::common::fsx::read_if_present(&self.path(&format!("recipes/{path}")));
        let options = Options {
            host: &host,
            mirrors,
            upgrade,
            at,
            login: &|_| Ok(None),
            project: &project,
            scratch: self.path("scratch"),
            cancel: &cancel,
        };
        let (lock, changes) = lock(Wanted { recipes: &recipes, sources }, old, &options, &|_: Event| ())?;
        Ok((lock, changes.iter().map(Change::to_string).collect()))
    }

    pub(crate) fn failure(&self, base: &str) -> Error {
        self.lock(base, "", None, Upgrade::Nothing).unwrap_err()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // gpg left its agent running for this folder only.
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.path("gpg")).args(["--kill", "gpg-agent"]).output();
    }
}

fn recipe(file: &str, packages: &str, subject: Subject) -> Recipe {
    let list: Vec<String> = packages.split_whitespace().map(|name| format!("'{name}'")).collect();
    Recipe::parse(file, &format!("description = ''\npackages = [{}]\n", list.join(", ")), subject).unwrap()
}
