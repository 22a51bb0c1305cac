//! The private folder: its layout, the check that nobody else reaches it, and writes that survive a crash.
//!
//! A pair is written key first: a key without a certificate is an unfinished pair, and no file is ever replaced. Only a renewal
//! replaces two files that form a pair. It first writes both into one hidden file (its name ends in `.renewal`), which decides:
//! once that file is complete, the next command finishes the work.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::certificate::Certificate;
use super::key::Key;
use super::wanted::Name;
use super::{Problem, pem};
use crate::cluster::model::HostName;
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Access, Facts, Kind, Persisted};
use crate::common::value::quote;

/// The mode of private folders: access for the owner only.
const FOLDER_MODE: u32 = 0o700;
pub(super) const FILE_MODE: u32 = 0o600;
/// The permission bits of group and others.
pub(crate) const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
/// The maximum size of a file, in bytes; keys and certificates are far smaller.
const LIMIT: u64 = 64 * 1024;
/// The time to wait for another kbake that works here. Tests run beside much else.
const WAIT: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 20 });
const POLL: Duration = Duration::from_millis(50);

/// One cluster's folder.
pub(super) struct Folder {
    /// The folder of all clusters.
    secrets: PathBuf,
    /// This cluster's.
    root: PathBuf,
}

/// The part of a pair that a file must hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Private,
    Public,
}

impl Folder {
    pub(super) fn new(secrets: &Path, cluster: &str) -> Folder {
        Folder { secrets: secrets.to_owned(), root: secrets.join(cluster) }
    }

    /// The cluster's own folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a certificate and its key, without extension.
    pub(super) fn stem(&self, name: &Name) -> PathBuf {
        match name {
            Name::Admin | Name::EtcdAdmin | Name::SuperAdmin => self.root.join(name.to_string()),
            Name::Node(..) => self.root.join("nodes").join(name.to_string()),
        }
    }

    /// The path of a node's SSH host key, with the file name of OpenSSH's server.
    pub(super) fn host_key(&self, node: &HostName) -> PathBuf {
        self.node(node).join("ssh_host_ed25519_key")
    }

    /// The known_hosts file with the nodes' keys.
    pub(super) fn known_hosts(&self) -> PathBuf {
        self.root.join("known_hosts")
    }

    fn node(&self, node: &HostName) -> PathBuf {
        self.root.join("nodes").join(node.as_str())
    }

    /// Makes the missing folders.
    ///
    /// # Errors
    /// A filesystem without permission bits: no key on it would be private.
    pub(super) fn create(&self, hosts: &[HostName]) -> Result<()> {
        if let Some(above) = self.secrets.parent().filter(|above| !above.as_os_str().is_empty()) {
            fsx::create_closed(above)?;
        }
        for folder in [&self.secrets, &self.root] {
            if !fsx::exists(folder)? {
                fsx::create_dir(folder, FOLDER_MODE)?;
                require_modes(folder)?;
            }
            // Only in a folder of kbake's own: `--secrets .` must not keep a whole project out of git. A process that was
            // killed here left nothing but the same file, half-written.
            let begun = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("..gitignore.kbake-");
            let ignore = folder.join(".gitignore");
            if (*folder == self.root || fsx::list(folder)?.iter().all(begun)) && !fsx::exists(&ignore)? {
                fsx::write_new(&ignore, FILE_MODE, b"*\n")?;
            }
        }
        for node in hosts {
            fsx::create_dir(&self.root.join("nodes"), FOLDER_MODE)?;
            fsx::create_dir(&self.node(node), FOLDER_MODE)?;
        }
        Ok(())
    }

    /// Waits until nobody else works here, and keeps others out while the file is open. A shared lock for readers needs an
    /// existing folder.
    pub(super) fn lock(&self, access: Access) -> Result<Option<File>> {
        let path = self.root.join(".lock");
        for _ in 0..WAIT.as_millis() / POLL.as_millis() {
            if let Some(file) = fsx::try_lock_at(&path, access)? {
                return Ok(Some(file));
            }
            if access == Access::Shared && !fsx::exists(&path)? {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
        Err(Error::user(format!("another kbake has been working in {} for {} s", self.root.display(), WAIT.as_secs()))
            .hint("wait for it to end, and run the command again"))
    }

    /// Refuses folders that others have access to: this one, the one above, and the nodes'. Others must not be able to replace
    /// a folder on the way to them either.
    pub(super) fn check_folders(&self, hosts: &[HostName]) -> Result<()> {
        let mut found = Vec::new();
        found.extend(fsx::distrust_above(&self.secrets)?.map(|found| Problem {
            name: found.folder.display().to_string(),
            what: found.what,
            remedy: found.remedy,
        }));
        // A user may keep all secrets elsewhere, on an encrypted disk; so this folder may be a link.
        let top = fsx::facts_followed(&self.secrets)?;
        found.extend(top.and_then(|facts| why_no_private_folder(&self.secrets, facts)));
        let mut folders = vec![self.root.clone(), self.root.join("nodes")];
        folders.extend(hosts.iter().map(|node| self.node(node)));
        for folder in folders {
            found.extend(fsx::facts(&folder)?.and_then(|facts| why_no_private_folder(&folder, facts)));
        }
        if found.is_empty() { Ok(()) } else { Err(refusal(&self.root, &found)) }
    }

    /// A private file's text; none if it does not exist.
    ///
    /// # Errors
    /// The outer one on an I/O error, the inner one if others can reach the file or it is not a regular one.
    pub(super) fn read_private(&self, path: &Path) -> Result<Result<Option<SecretString>, Problem>> {
        Ok(read(path, Half::Private)?.map(|text| text.map(SecretString::from)))
    }

    /// Like [`Folder::read_private`], for files that others may read and not write.
    pub(super) fn read_public(&self, path: &Path) -> Result<Result<Option<String>, Problem>> {
        read(path, Half::Public)
    }

    /// Writes a new file; an existing one is an error.
    pub(super) fn write_new(&self, path: &Path, text: &str) -> Result<()> {
        match fsx::write_new(path, FILE_MODE, text.as_bytes())? {
            Persisted::Done => Ok(()),
            Persisted::WasThere => Err(Error::user(format!("{} was just created by another process", path.display()))
                .hint("run the command again when that process is done")),
        }
    }

    /// Replaces a pair by its renewal, in any state of the old one.
    pub(super) fn replace_pair(&self, stem: &Path, certificate: &Certificate, key: &Key) -> Result<()> {
        let journal = journal(stem);
        let mut text = String::with_capacity(key.pem().expose_secret().len() + 2 * certificate.der.len() + 256);
        text.extend([key.pem().expose_secret(), certificate.pem().as_str()]);
        let text = SecretString::from(text);
        fsx::write_atomic(&journal, FILE_MODE, text.expose_secret().as_bytes())?;
        self.settle_pair(stem, certificate, key)
    }

    fn settle_pair(&self, stem: &Path, certificate: &Certificate, key: &Key) -> Result<()> {
        fsx::write_atomic(&stem.with_extension("key"), FILE_MODE, key.pem().expose_secret().as_bytes())?;
        fsx::write_atomic(&stem.with_extension("crt"), FILE_MODE, certificate.pem().as_bytes())?;
        fsx::remove_file(&journal(stem))
    }

    /// True if a renewal of this pair has begun and not ended.
    pub(super) fn is_being_renewed(&self, stem: &Path) -> Result<bool> {
        fsx::exists(&journal(stem))
    }

    /// Finishes an interrupted renewal. True if there was one. The caller holds the lock.
    pub(super) fn finish_renewal(&self, stem: &Path) -> Result<bool> {
        let journal = journal(stem);
        let text = match self.read_private(&journal)? {
            Ok(None) => return Ok(false),
            Ok(Some(text)) => text,
            Err(problem) => return Err(refusal(&self.root, &[problem])),
        };
        let certificate = certificate_of(&text);
        match (certificate, Key::parse(&text)) {
            (Some(certificate), Ok(key)) if certificate.public_key == key.public() => {
                self.settle_pair(stem, &certificate, &key)?;
                Ok(true)
            }
            _ => Err(Error::user(format!("{} is not a certificate and key that kbake wrote", journal.display()))
                .hint(format!("rm {}", shell_word(&journal)))),
        }
    }

    /// Removes temporary files of killed processes beside the files of the cluster and its nodes. The caller holds the lock.
    pub(super) fn reap(&self, hosts: &[HostName]) -> Result<()> {
        let mut folders = vec![self.root.clone()];
        folders.extend(hosts.iter().map(|node| self.node(node)));
        for folder in folders {
            for name in fsx::list(&folder)? {
                if name.to_str().is_some_and(|name| name.starts_with('.') && name.contains(".kbake-")) {
                    let path = folder.join(name);
                    fsx::reap(&path).map_err(|e| Error::io(format!("remove {}", path.display()), &e))?;
                }
            }
        }
        Ok(())
    }

    /// The nodes that have a folder here, sorted.
    pub(super) fn nodes(&self) -> Result<Vec<String>> {
        let nodes = self.root.join("nodes");
        if fsx::facts(&nodes)?.is_none_or(|facts| facts.kind != Kind::Folder) {
            return Ok(Vec::new());
        }
        Ok(fsx::list(&nodes)?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// True if the folder of all clusters, or this cluster's, has a `.gitignore` that keeps everything in it out of git.
    pub(super) fn is_ignored_by_git(&self) -> Result<bool> {
        let all = |text: Vec<u8>| text.split(|&byte| byte == b'\n').any(|line| line.trim_ascii() == b"*");
        for folder in [&self.secrets, &self.root] {
            if fsx::read_if_present(&folder.join(".gitignore"))?.is_some_and(all) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The error for paths that others can reach.
pub(super) fn refusal(root: &Path, problems: &[Problem]) -> Error {
    let mut error = Error::user(format!("{} is not private", root.display()));
    for problem in problems {
        error = error.detail(format!("{} {}", problem.name, problem.what));
    }
    for problem in problems {
        error = error.hint(problem.remedy.clone());
    }
    error
}

/// Refuses a folder that was just made with [`FOLDER_MODE`] and has another mode.
fn require_modes(folder: &Path) -> Result<()> {
    let Some(facts) = fsx::facts(folder)?.filter(|facts| facts.mode & OTHERS != 0) else { return Ok(()) };
    fsx::remove_dir_all(folder)?;
    Err(Error::user(format!("{} would be on a filesystem without permissions", folder.display()))
        .detail(format!("expected mode {FOLDER_MODE:o}, found mode {:o}: every user of this host could read the keys", facts.mode))
        .hint("name a folder on another filesystem with --secrets, such as `--secrets ~/.local/share/kbake-secrets`"))
}

/// A path as one word of a shell command.
pub(super) fn shell_word(path: &Path) -> String {
    quote(&path.display().to_string())
}

fn journal(stem: &Path) -> PathBuf {
    let name = stem.file_name().unwrap_or_default().to_string_lossy();
    stem.with_file_name(format!(".{name}.renewal"))
}

/// The certificate beside a key in one text.
fn certificate_of(text: &SecretString) -> Option<Certificate> {
    let blocks = pem::blocks(text.expose_secret()).ok()?;
    let block = blocks.iter().find(|block| block.label == "CERTIFICATE")?;
    Certificate::from_der(block.der.expose_secret()).ok()
}

fn read(path: &Path, half: Half) -> Result<Result<Option<String>, Problem>> {
    let problem = |what: String, remedy: String| Ok(Err(Problem { name: path.display().to_string(), what, remedy }));
    let word = shell_word(path);
    let Some((facts, bytes)) = fsx::read_no_follow(path, LIMIT)? else { return Ok(Ok(None)) };
    let forbidden = if half == Half::Private { OTHERS } else { OTHERS_WRITE };
    if facts.kind != Kind::File {
        return problem(
            "is not a regular file".to_owned(),
            format!("put the file itself in its place: cp --remove-destination FILE {word}"),
        );
    }
    if let Some((what, remedy)) = why_reached(path, facts, forbidden, "600") {
        return problem(what, remedy);
    }
    let Some(bytes) = bytes else {
        return problem(format!("has more than {LIMIT} bytes"), format!("look at it: ls -l {word}"));
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Ok(Some(text))),
        Err(e) => {
            secrecy::zeroize::Zeroize::zeroize(&mut e.into_bytes());
            problem("is not text".to_owned(), format!("restore {word} from a backup"))
        }
    }
}

fn why_no_private_folder(path: &Path, facts: Facts) -> Option<Problem> {
    let problem = |what: String, remedy: String| Problem { name: path.display().to_string(), what, remedy };
    if facts.kind != Kind::Folder {
        return Some(problem("is not a folder".to_owned(), format!("move it away: mv {0} {0}.old", shell_word(path))));
    }
    why_reached(path, facts, OTHERS, "700").map(|(what, remedy)| problem(what, remedy))
}

/// The reason why others have access, and the command that ends it. The reason is another owner, or one of the `forbidden`
/// bits. `mode` is the mode that `path` should have.
pub(crate) fn why_reached(path: &Path, facts: Facts, forbidden: u32, mode: &str) -> Option<(String, String)> {
    let word = shell_word(path);
    if facts.owner != fsx::user() {
        let what = format!("belongs to user {}, and this is user {}", facts.owner, fsx::user());
        return Some((what, format!("run kbake as its owner, or: chown {} {word}", fsx::user())));
    }
    if facts.mode & forbidden != 0 {
        return Some((format!("can be reached by others (mode {:o})", facts.mode), format!("chmod {mode} {word}")));
    }
    None
}
