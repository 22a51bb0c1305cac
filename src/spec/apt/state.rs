//! apt's private state: a temporary folder with one mirror's indexes. The host's own apt is neither read (except for proxies,
//! certificates and passwords) nor changed.

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
use crate::common::value::{Cancel, PackageName, Version};
use crate::spec::recipe::Sources;
use crate::{Error, Result};

use super::host::{Host, Output, run};
use super::mirror_access::MirrorAccess;

/// The mode of apt's private configuration files.
const MODE: u32 = 0o600;

/// apt with one mirror and nothing else.
pub(super) struct State<'a> {
    host: &'a Host,
    cancel: &'a Cancel,
    folder: TempDir,
    components: usize,
}

impl<'a> State<'a> {
    /// A fresh state in `scratch` that knows only `mirror`. Nothing is fetched yet.
    pub(super) fn new(
        host: &'a Host,
        scratch: &Path,
        access: &MirrorAccess,
        login: Option<&SecretString>,
        sources: &Sources,
        mirror: &str,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        fsx::create_dir_all(scratch)?;
        // For the caller alone: the host's proxy may have a password.
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new()
            .permissions(private)
            .tempdir_in(scratch)
            .map_err(|error| Error::io(format!("create a folder in `{}`", scratch.display()), &error))?;
        let state = State { host, cancel, folder, components: sources.components.len() };
        let root = state.folder.path().to_str().filter(|root| !root.contains(['"', '\\', '\n']));
        let root =
            root.ok_or_else(|| Error::user(format!("apt cannot work in `{}`, because of the letters in its name", scratch.display())))?;
        for folder in [
            "lists/partial",
            "cache/archives/partial",
            "log",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/sources.list.d",
            "etc/trusted.gpg.d",
        ] {
            fsx::create_dir_all(&state.path(folder))?;
        }
        fsx::write_atomic(&state.path("status"), MODE, b"")?;
        let logins = match login {
            Some(line) => {
                fsx::write_atomic(&state.path("netrc"), MODE, line.expose_secret().as_bytes())?;
                format!("Dir::Etc::netrc \"{root}/netrc\";\nDir::Etc::netrcparts \"{root}/none\";\n")
            }
            None => access.logins(),
        };
        let text = configuration(root, sources) + &access.text(mirror) + &logins;
        fsx::write_atomic(&state.path("apt.conf"), MODE, text.as_bytes())?;
        fsx::write_atomic(&state.path("etc/sources.list.d/kbake.sources"), MODE, source_entry(sources, mirror).as_bytes())?;
        Ok(state)
    }

    /// A path inside the state.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs an apt tool or gpgv on this state alone.
    pub(super) fn run(&self, tool: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Output> {
        let mut command = self.host.private_command(tool, self.path("apt.conf").as_os_str());
        command.args(arguments);
        run(command, self.cancel)
    }

    /// Fetches the mirror's indexes; apt verifies them against the keyring.
    ///
    /// # Errors
    /// [`Class::Integrity`] for a wrong signature or digest, else [`Class::Network`]; the details are apt's words.
    pub(super) fn update(&self) -> Result<()> {
        // Without this error mode, apt calls a failed download a warning.
        let output = self.run("apt-get", ["update", "-q", "-o", "APT::Update::Error-Mode=any"])?;
        let complaint = output.complaint();
        if !output.success {
            let class = class_of(&complaint);
            let message = if class == Class::Integrity { "apt refused its indexes" } else { "apt could not fetch its indexes" };
            return Err(complaint.into_iter().fold(Error::new(class, message), Error::detail));
        }
        let found = self.run("apt-get", ["indextargets", "--format", "$(FILENAME)", "Created-By: Packages"])?;
        if found.stdout.lines().count() < self.components {
            let error = Error::new(Class::Network, "it has no package index for a component or for this architecture");
            return Err(complaint.into_iter().fold(error, Error::detail));
        }
        Ok(())
    }

    /// The signed release file that apt accepted.
    pub(super) fn in_release(&self) -> Result<PathBuf> {
        let found = only_file(&self.path("lists"), "_InRelease")?;
        found.ok_or_else(|| Error::integrity("it has no `InRelease`: kbake wants the signature inside the release file"))
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
fn configuration(root: &str, sources: &Sources) -> String {
    let arch = sources.arch;
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
Acquire::Languages "none";
"#
    )
}

fn source_entry(sources: &Sources, mirror: &str) -> String {
    let components: Vec<&str> = sources.components.iter().map(|component| component.value.as_str()).collect();
    format!(
        "Types: deb\nURIs: {mirror}\nSuites: {}\nComponents: {}\nArchitectures: {}\nSigned-By: {}\n",
        sources.suite.value,
        components.join(" "),
        sources.arch,
        sources.keyring.value
    )
}

/// The only file in `folder` whose name ends with `ending`; none if there is none, or several.
fn only_file(folder: &Path, ending: &str) -> Result<Option<PathBuf>> {
    let mut found: Vec<PathBuf> =
        fsx::list(folder)?.iter().filter(|name| name.to_string_lossy().ends_with(ending)).map(|name| folder.join(name)).collect();
    Ok(if found.len() == 1 { found.pop() } else { None })
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
