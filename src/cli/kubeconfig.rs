//! Kubeconfigs into the user's files, in which there may be other clusters.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::Session;
use super::private::require_trust_above;
use crate::error::{Error, Result};
use crate::fsx::{self, Persisted};
use crate::render::{self, Caller};
use crate::seed::FILE_MODE;
use crate::value::quote;

/// The largest kubeconfig that is read, in bytes.
const LIMIT: u64 = 16 << 20;
/// Mode of a folder that is made for a kubeconfig, such as kubectl's `~/.kube`.
const FOLDER_MODE: u32 = 0o700;

impl Session<'_> {
    /// Writes a kubeconfig of this cluster alone. Takes the place of nothing but an earlier one.
    pub(super) fn put_kubeconfig(&self, path: &Path, caller: &Caller) -> Result<()> {
        require_trust_above(path, "no kubeconfig is written to")?;
        let place = followed(path)?;
        if let Some(before) = read(&place)? {
            let is_own = render::is_kubeconfig_of(&before, caller);
            if !is_own.as_ref().is_ok_and(|own| *own) {
                return Err(taken(path, caller, is_own.err()));
            }
        }
        self.write_kubeconfig(path, &place, &render::kubeconfig(caller), "the kubeconfig is written; it is")
    }

    /// Puts this cluster's entries into the kubeconfig at `path`, which keeps all others.
    pub(super) fn merge_kubeconfig(&self, path: &Path, caller: &Caller) -> Result<()> {
        require_trust_above(path, "no kubeconfig is written to")?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fsx::create_dir(folder, FOLDER_MODE)?;
        }
        let place = followed(path)?;
        // The name by which kubectl keeps others from the file.
        let lock = place.with_file_name(format!("{}.lock", place.file_name().unwrap_or_default().to_string_lossy()));
        if fsx::write_new(&lock, FILE_MODE, b"")? == Persisted::WasThere {
            return Err(Error::user(format!("{} is being changed by kubectl: {} is there", path.display(), lock.display()))
                .hint(format!("if no kubectl is running: rm {}", quote(&lock.display().to_string()))));
        }
        let merged = read(&place).and_then(|before| {
            render::merged_kubeconfig(&before.unwrap_or_else(|| SecretString::from("")), caller)
                .map_err(|error| error.detail(format!("the file is {}", path.display())))
                .map_err(|error| error.map_hints(|hint| hint.replace(" FILE", &format!(" {}", quote(&path.display().to_string())))))
        });
        let done = merged.and_then(|text| self.write_kubeconfig(path, &place, &text, "the cluster is in the kubeconfig; it is"));
        fsx::remove_file(&lock)?;
        done?;
        let file = quote(&path.display().to_string());
        crate::report::Report::say(
            self.shell,
            &format!("kubectl --kubeconfig {file} --context {}@{} get nodes", caller.user, caller.cluster),
        );
        Ok(())
    }

    fn write_kubeconfig(&self, path: &Path, place: &Path, text: &SecretString, subject: &str) -> Result<()> {
        fsx::write_atomic(place, FILE_MODE, text.expose_secret().as_bytes())?;
        self.tell_private(subject, [place])?;
        self.warn_of_git([path]);
        self.shell.data(&format!("{}\n", path.display()))
    }
}

/// The path of the file itself: a link to it stays a link.
fn followed(path: &Path) -> Result<PathBuf> {
    match fsx::facts_followed(path)? {
        Some(_) => fsx::canonical(path),
        None if fsx::exists(path)? => Err(Error::user(format!("{} is a link to nothing", path.display())).hint("name the file itself")),
        None => Ok(path.to_owned()),
    }
}

fn read(path: &Path) -> Result<Option<SecretString>> {
    match fsx::read_no_follow(path, LIMIT)? {
        None => Ok(None),
        Some((_, Some(bytes))) => {
            let text = String::from_utf8(bytes).map_err(|_| Error::user(format!("{} is no text", path.display())))?;
            Ok(Some(SecretString::from(text)))
        }
        Some(_) => Err(Error::user(format!("{} is no file of at most {LIMIT} bytes", path.display()))),
    }
}

fn taken(path: &Path, caller: &Caller, why: Option<Error>) -> Error {
    let file = quote(&path.display().to_string());
    let error = Error::user(format!("{} has more than this cluster's entries, and is not replaced", path.display()));
    match why {
        Some(why) => error.detail(why.message().to_owned()).hint("name another file with --out"),
        None => error
            .detail(format!("expected nothing but cluster `{}` with this cluster's authority, and its contexts and users", caller.cluster))
            .detail("`--merge` adds the cluster and keeps the rest; or name another file with --out")
            .hint(format!("kbake kubeconfig --merge {file}")),
    }
}
