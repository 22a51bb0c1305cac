//! apt's private state: a temporary folder with the indexes of each suite from one mirror. The host's own apt is neither read
//! (except for proxies, certificates and passwords) nor changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;

use crate::common::error::Class;
use crate::common::fsx;
use crate::common::value::{Arch, Cancel, PackageName, Version};
use crate::spec::recipe::{Keyring, RecipePath, Sources, Suite};
use crate::{Error, Result};

use super::armour;
use super::host::{Host, Output, run};
use super::mirror_access::MirrorAccess;

/// The mode of apt's private files.
const MODE: u32 = 0o600;

/// The sources that apt uses, and those of one suite that is being asked for.
const SOURCES: &str = "etc/sources.list.d";
const CANDIDATE: &str = "etc/candidate.d";

/// The surroundings of a private apt.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub host: &'a Host,
    pub access: &'a MirrorAccess,
    /// The user's login for a mirror, as an entry of apt's netrc.
    pub login: &'a dyn Fn(&str) -> Result<Option<SecretString>>,
    /// Reads a file below `recipes/`.
    pub project: &'a dyn Fn(&RecipePath) -> Result<Option<Vec<u8>>>,
    pub cancel: &'a Cancel,
}

/// The files of a suite that apt accepted.
pub(super) struct Fetched {
    /// The signed release file.
    pub release: PathBuf,
    /// The indexes of packages, one for each component; an empty one may not exist.
    pub packages: Vec<PathBuf>,
}

/// apt with one mirror for each suite, and nothing else.
pub(super) struct State<'a> {
    around: Surroundings<'a>,
    folder: TempDir,
    arch: Arch,
    /// The unchanging part of apt's configuration.
    configuration: String,
    /// The mirrors of the suites so far.
    mirrors: Vec<String>,
}

impl<'a> State<'a> {
    /// A fresh state in `scratch` without suites. Nothing is fetched yet. `is_past` is true for states of suites that have expired.
    pub(super) fn new(around: Surroundings<'a>, scratch: &Path, sources: &Sources, is_past: bool) -> Result<Self> {
        fsx::create_dir_all(scratch)?;
        // For the caller alone: the host's proxy may have a password.
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new()
            .permissions(private)
            .tempdir_in(scratch)
            .map_err(|error| Error::io(format!("create a folder in `{}`", scratch.display()), &error))?;
        let root = folder.path().to_str().filter(|root| !root.contains(['"', '\\', '\n', ' ']));
        let root =
            root.ok_or_else(|| Error::user(format!("apt cannot work in `{}`, because of the letters in its name", scratch.display())))?;
        let configuration = configuration(root, sources, is_past);
        let state = State { around, arch: sources.arch, configuration, mirrors: Vec::new(), folder };
        for folder in [
            "lists/partial",
            "cache/archives/partial",
            "log",
            "keys",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/trusted.gpg.d",
            SOURCES,
            CANDIDATE,
        ] {
            fsx::create_dir_all(&state.path(folder))?;
        }
        fsx::write_atomic(&state.path("status"), MODE, b"")?;
        for suite in &sources.suites {
            fsx::write_atomic(&state.keyring(suite), MODE, &state.keys(suite)?)?;
        }
        fsx::write_atomic(&state.path("etc/preferences.d/suites"), MODE, priorities(sources).as_bytes())?;
        Ok(state)
    }

    /// A path inside the state.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The keyring of a suite, not armoured.
    pub(super) fn keyring(&self, suite: &Suite) -> PathBuf {
        self.path(&format!("keys/{}.gpg", suite.name.value))
    }

    /// The bytes of a suite's keyring, not armoured.
    fn keys(&self, suite: &Suite) -> Result<Vec<u8>> {
        let ring = &suite.keyring;
        let bytes = match &ring.value {
            Keyring::Host(path) => fsx::read_if_present(path.as_ref())?,
            Keyring::Project(path) => (self.around.project)(path)?,
        };
        let Some(bytes) = bytes else {
            let error = ring.place.error(format!("the keyring `{}` does not exist", ring.value));
            return Err(error.hint("name the file that has the archive's keys: a path below `recipes/`, or an absolute one"));
        };
        armour::removed(bytes).ok_or_else(|| ring.place.error(format!("the keyring `{}` is not a file of OpenPGP keys", ring.value)))
    }

    /// Runs an apt tool or gpgv on this state alone.
    pub(super) fn run(&self, tool: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Output> {
        let mut command = self.around.host.private_command(tool, self.path("apt.conf").as_os_str());
        command.args(arguments);
        run(command, self.around.cancel)
    }

    /// Fetches a suite's indexes from a mirror; apt verifies them against the keyring.
    ///
    /// # Errors
    /// [`Class::Integrity`] for a wrong signature or digest, else [`Class::Network`]; the details are apt's words.
    pub(super) fn update(&mut self, suite: &Suite, mirror: &str) -> Result<Fetched> {
        self.configure(Some(mirror))?;
        let entry = source_entry(suite, self.arch, mirror, &self.keyring(suite));
        fsx::write_atomic(&self.path(&format!("{CANDIDATE}/suite.sources")), MODE, entry.as_bytes())?;
        let only = format!("Dir::Etc::sourceparts={}", self.path(CANDIDATE).display());
        // Without this error mode, apt calls a failed download a warning. Other suites' indexes stay.
        let options = ["-o", &only, "-o", "APT::Get::List-Cleanup=false", "-o", "APT::Update::Error-Mode=any"];
        let output = self.run("apt-get", ["update", "-q"].iter().chain(&options))?;
        let complaint = output.complaint();
        if !output.success {
            let class = class_of(&complaint);
            let message = if class == Class::Integrity { "apt refused its indexes" } else { "apt could not fetch its indexes" };
            return Err(complaint.into_iter().fold(Error::new(class, message), Error::detail));
        }
        // Without the release file's facts, since apt omits indexes that are empty.
        let all = ["indextargets", "--no-release-info", "--format", "$(METAKEY)\t$(FILENAME)", "Created-By: Packages"];
        let found = self.run("apt-get", all.iter().chain(&options))?;
        let indexes: Vec<(&str, &str)> = found.stdout.lines().filter_map(|line| line.split_once('\t')).collect();
        let stem = indexes.first().and_then(|(key, file)| file.strip_suffix(&key.replace('/', "_")));
        let release = stem.map(|stem| PathBuf::from(format!("{stem}InRelease"))).filter(|path| fsx::exists(path).unwrap_or(false));
        let release =
            release.ok_or_else(|| Error::integrity("it has no `InRelease`: kbake wants the signature inside the release file"))?;
        Ok(Fetched { release, packages: indexes.iter().map(|(_, file)| PathBuf::from(file)).collect() })
    }

    /// Takes over the suite of the last successful [`State::update`].
    pub(super) fn accept(&mut self, suite: &Suite, mirror: &str) -> Result<()> {
        let entry = source_entry(suite, self.arch, mirror, &self.keyring(suite));
        fsx::write_atomic(&self.path(&format!("{SOURCES}/{}.sources", suite.name.value)), MODE, entry.as_bytes())?;
        if !self.mirrors.iter().any(|known| known == mirror) {
            self.mirrors.push(mirror.to_owned());
        }
        self.configure(None)
    }

    /// Writes apt's configuration for the accepted mirrors and another one.
    fn configure(&self, other: Option<&str>) -> Result<()> {
        let Surroundings { access, login, .. } = self.around;
        let mut text = self.configuration.clone();
        let mut logins = String::new();
        for mirror in self.mirrors.iter().map(String::as_str).chain(other) {
            text += &access.text(mirror);
            if let Some(line) = login(mirror)? {
                logins += line.expose_secret();
            }
        }
        text += &match logins.is_empty() {
            true => access.logins(),
            false => {
                // The first line that fits a host counts.
                for file in &access.auth_files {
                    logins += &String::from_utf8_lossy(&fsx::read_if_present(file)?.unwrap_or_default());
                    logins.push('\n');
                }
                let netrc = self.path("netrc");
                fsx::write_atomic(&netrc, MODE, logins.as_bytes())?;
                format!("Dir::Etc::netrc \"{}\";\nDir::Etc::netrcparts \"{}\";\n", netrc.display(), self.path("none").display())
            }
        };
        fsx::write_atomic(&self.path("apt.conf"), MODE, text.as_bytes())
    }

    /// apt's error about a mirror, with a hint.
    pub(super) fn explain(&self, mirror: &str, error: Error) -> Error {
        let is_expired = error.details().iter().any(|line| line.contains("is expired"));
        let error = self.around.access.explain(mirror, error);
        match is_expired {
            true => error.hint("the mirror is out of date, or this host's clock is wrong; `--at TIME` takes an earlier state"),
            false => error,
        }
    }

    /// Pins these packages to these versions, even if the archive has newer ones.
    pub(super) fn pin(&self, versions: &BTreeMap<PackageName, Version>) -> Result<()> {
        let mut text = String::new();
        for (name, version) in versions {
            // Writing to a string cannot fail. A priority above 1000 overrides apt's own preference.
            let _ = write!(text, "Package: {name}\nPin: version {version}\nPin-Priority: 1001\n\n");
        }
        fsx::write_atomic(&self.path("etc/preferences"), MODE, text.as_bytes())
    }
}

/// The suites' own priorities, in the form of apt_preferences(5).
fn priorities(sources: &Sources) -> String {
    let line = |suite: &Suite| {
        let priority = suite.priority?;
        Some(format!("Package: *\nPin: release n={}\nPin-Priority: {priority}\n\n", suite.name.value))
    };
    sources.suites.iter().filter_map(line).collect()
}

/// Signature and digest failures, by apt's words for them in the C locale.
fn class_of(complaint: &[String]) -> Class {
    const WORDS: [&str; 9] = [
        "signature",
        "is not signed",
        "NO_PUBKEY",
        "Hash Sum mismatch",
        "unexpected size",
        "Clearsigned file",
        "No Hash entry",
        "cannot be authenticated",
        "changed its",
    ];
    let broken = complaint.iter().any(|line| WORDS.iter().any(|word| line.contains(word)));
    if broken { Class::Integrity } else { Class::Network }
}

/// The whole configuration: apt reads this file first, and its folders replace the places of further configuration.
fn configuration(root: &str, sources: &Sources, is_past: bool) -> String {
    let (arch, check_valid) = (sources.arch, !is_past);
    format!(
        r#"Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::State::extended_states "{root}/extended_states";
Dir::Cache "{root}/cache";
Dir::Log "{root}/log";
Dir::Etc "{root}/etc";
Dir::Etc::main "apt.conf";
Dir::Etc::parts "apt.conf.d";
Dir::Etc::sourcelist "sources.list";
Dir::Etc::sourceparts "sources.list.d";
Dir::Etc::preferences "preferences";
Dir::Etc::preferencesparts "preferences.d";
Dir::Etc::trusted "trusted.gpg";
Dir::Etc::trustedparts "trusted.gpg.d";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Install-Recommends "false";
APT::Install-Suggests "false";
// The resolver that all releases of apt have, so that the host's release does not affect the choice of packages.
APT::Solver "internal";
APT::Get::AllowUnauthenticated "false";
APT::Get::Show-User-Simulation-Note "false";
// apt's own user must not enter the private folder of the state.
APT::Sandbox::User "root";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Check-Valid-Until "{check_valid}";
Acquire::Languages "none";
"#
    )
}

fn source_entry(suite: &Suite, arch: Arch, mirror: &str, keyring: &Path) -> String {
    let components: Vec<&str> = suite.components.iter().map(|component| component.value.as_str()).collect();
    format!(
        "Types: deb\nURIs: {mirror}\nSuites: {}\nComponents: {}\nArchitectures: {arch}\nSigned-By: {}\n",
        suite.name.value,
        components.join(" "),
        keyring.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let class = |line: &str| class_of(&[line.to_owned()]);
        assert_eq!(class("E: The repository 'file:/x test InRelease' is not signed."), Class::Integrity);
        assert_eq!(class("E: Failed to fetch x  Hash Sum mismatch"), Class::Integrity);
        assert_eq!(class("E: Failed to fetch x  Could not connect to a.invalid:80"), Class::Network);
    }
}
