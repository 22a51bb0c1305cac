//! The private folder: where everything is, that nobody else reaches it, and writing that survives a crash.
//!
//! A pair is written key first: a key without certificate is a pair that waits for its certificate, and no file is
//! ever replaced. Only a renewal replaces two files that belong together. It first writes both into one hidden file
//! (its name ends in `.renewal`), which decides: once that one is whole, whoever comes next finishes the work.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::certificate::Certificate;
use super::key::Key;
use super::wanted::Name;
use super::{Problem, pem};
use crate::cluster::HostName;
use crate::error::{Error, Result};
use crate::fsx::{self, Access, Facts, Kind, Persisted};
use crate::value::quote;

/// Everybody else reads and writes nothing.
const FOLDER_MODE: u32 = 0o700;
pub(super) const FILE_MODE: u32 = 0o600;
/// The bits that let others in, and those that let others change something.
pub const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
/// No key or certificate is nearly as large, in bytes.
const LIMIT: u64 = 64 * 1024;
/// How long to wait for another kbake that is at work here, and how often to look. Tests run beside much else.
const WAIT: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 20 });
const POLL: Duration = Duration::from_millis(50);

/// One cluster's folder.
pub(super) struct Folder {
    /// The folder of all clusters.
    secrets: PathBuf,
    /// This cluster's.
    root: PathBuf,
}

/// What a file holds to be found at its path.
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

    /// Where a certificate and its key are, without ending.
    pub(super) fn stem(&self, name: &Name) -> PathBuf {
        match name {
            Name::Admin | Name::EtcdAdmin | Name::SuperAdmin => self.root.join(name.to_string()),
            Name::Node(..) => self.root.join("nodes").join(name.to_string()),
        }
    }

    /// The path of a node's SSH host key, under the name that OpenSSH's server gives it.
    pub(super) fn host_key(&self, node: &HostName) -> PathBuf {
        self.node(node).join("ssh_host_ed25519_key")
    }

    /// The file by which an SSH client knows the nodes.
    pub(super) fn known_hosts(&self) -> PathBuf {
        self.root.join("known_hosts")
    }

    fn node(&self, node: &HostName) -> PathBuf {
        self.root.join("nodes").join(node.as_str())
    }

    /// Makes the folders that are missing.
    ///
    /// # Errors
    /// When they are on a filesystem that keeps no modes: no key in them would be private.
    pub(super) fn create(&self, hosts: &[HostName]) -> Result<()> {
        if let Some(above) = self.secrets.parent().filter(|above| !above.as_os_str().is_empty()) {
            fsx::create_closed(above)?;
        }
        for folder in [&self.secrets, &self.root] {
            if !fsx::exists(folder)? {
                fsx::create_dir(folder, FOLDER_MODE)?;
                require_modes(folder)?;
            }
            // Only in a folder of kbake's own: `--secrets .` must not keep a whole project out of git.
            // A process that was killed here left nothing but the same file on its way.
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

    /// Waits until nobody else works here, and keeps others from it as long as the file is open. To share with those
    /// who read, there must be something to read.
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
        Err(Error::user(format!("another kbake has been at work in {} for {} s", self.root.display(), WAIT.as_secs()))
            .hint("wait for it to end, and run the command again"))
    }

    /// Refuses folders that let others in: this one, the one above, and the nodes'. Nor may others be able to put another
    /// folder in the place of one that leads here.
    pub(super) fn check_folders(&self, hosts: &[HostName]) -> Result<()> {
        let mut found = Vec::new();
        found.extend(fsx::distrust_above(&self.secrets)?.map(|found| Problem {
            name: found.folder.display().to_string(),
            what: found.what,
            mend: found.mend,
        }));
        // A person may keep all secrets elsewhere, on an encrypted disk; so this one may be a link.
        let top = fsx::facts_followed(&self.secrets)?;
        found.extend(top.and_then(|facts| why_no_private_folder(&self.secrets, facts)));
        let mut folders = vec![self.root.clone(), self.root.join("nodes")];
        folders.extend(hosts.iter().map(|node| self.node(node)));
        for folder in folders {
            found.extend(fsx::facts(&folder)?.and_then(|facts| why_no_private_folder(&folder, facts)));
        }
        if found.is_empty() { Ok(()) } else { Err(refusal(&self.root, &found)) }
    }

    /// A private file's text; none when it is not there.
    ///
    /// # Errors
    /// The outer one when the disk fails, the inner one when others can reach the file or it is none.
    pub(super) fn read_private(&self, path: &Path) -> Result<Result<Option<SecretString>, Problem>> {
        Ok(read(path, Half::Private)?.map(|text| text.map(SecretString::from)))
    }

    /// As [`Folder::read_private`], of what may be read by others and not written.
    pub(super) fn read_public(&self, path: &Path) -> Result<Result<Option<String>, Problem>> {
        read(path, Half::Public)
    }

    /// Puts a new file where none is.
    pub(super) fn write_new(&self, path: &Path, text: &str) -> Result<()> {
        match fsx::write_new(path, FILE_MODE, text.as_bytes())? {
            Persisted::Done => Ok(()),
            Persisted::WasThere => Err(Error::user(format!("{} has appeared meanwhile", path.display()))
                .hint("somebody else works in this folder: run the command again when they are done")),
        }
    }

    /// Puts a renewed pair in place of the old one, whatever was there.
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

    /// Whether a renewal of this pair has begun and not ended.
    pub(super) fn is_being_renewed(&self, stem: &Path) -> Result<bool> {
        fsx::exists(&journal(stem))
    }

    /// Ends a renewal that was interrupted. True when there was one. Only for who holds the lock.
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
            _ => {
                Err(Error::user(format!("{} is no renewed pair of kbake's", journal.display()))
                    .hint(format!("rm {}", shell_word(&journal))))
            }
        }
    }

    /// Removes what killed processes left half-written beside the files of the cluster and its nodes. Only for who holds the lock.
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

    /// Nodes that have a folder here, sorted.
    pub(super) fn nodes(&self) -> Result<Vec<String>> {
        let nodes = self.root.join("nodes");
        if fsx::facts(&nodes)?.is_none_or(|facts| facts.kind != Kind::Folder) {
            return Ok(Vec::new());
        }
        Ok(fsx::list(&nodes)?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// True when the folder of all clusters, or this cluster's, has a `.gitignore` that keeps everything in it out of git.
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

/// The error for what others can reach.
pub(super) fn refusal(root: &Path, problems: &[Problem]) -> Error {
    let mut error = Error::user(format!("{} is not private", root.display()));
    for problem in problems {
        error = error.detail(format!("{} {}", problem.name, problem.what));
    }
    for problem in problems {
        error = error.hint(problem.mend.clone());
    }
    error
}

/// Refuses a folder that has just been made with [`FOLDER_MODE`] and has another mode.
fn require_modes(folder: &Path) -> Result<()> {
    let Some(facts) = fsx::facts(folder)?.filter(|facts| facts.mode & OTHERS != 0) else { return Ok(()) };
    fsx::remove_dir_all(folder)?;
    Err(Error::user(format!("{} would be on a filesystem without permissions", folder.display()))
        .detail(format!("expected mode {FOLDER_MODE:o}, found mode {:o}: every user of this machine could read the keys", facts.mode))
        .hint("name a folder on another filesystem with --secrets, as `--secrets ~/.local/share/kbake-secrets`"))
}

/// A path as one word of a command line.
pub(super) fn shell_word(path: &Path) -> String {
    quote(&path.display().to_string())
}

fn journal(stem: &Path) -> PathBuf {
    let name = stem.file_name().unwrap_or_default().to_string_lossy();
    stem.with_file_name(format!(".{name}.renewal"))
}

/// The certificate that stands beside a key in one text.
fn certificate_of(text: &SecretString) -> Option<Certificate> {
    let blocks = pem::blocks(text.expose_secret()).ok()?;
    let block = blocks.iter().find(|block| block.label == "CERTIFICATE")?;
    Certificate::from_der(block.der.expose_secret()).ok()
}

fn read(path: &Path, half: Half) -> Result<Result<Option<String>, Problem>> {
    let problem = |what: String, mend: String| Ok(Err(Problem { name: path.display().to_string(), what, mend }));
    let word = shell_word(path);
    let Some((facts, bytes)) = fsx::read_no_follow(path, LIMIT)? else { return Ok(Ok(None)) };
    let forbidden = if half == Half::Private { OTHERS } else { OTHERS_WRITE };
    if facts.kind != Kind::File {
        return problem("is no regular file".to_owned(), format!("put the file itself in its place: cp --remove-destination FILE {word}"));
    }
    if let Some((what, mend)) = why_reached(path, facts, forbidden, "600") {
        return problem(what, mend);
    }
    let Some(bytes) = bytes else {
        return problem(format!("has more than {LIMIT} bytes"), format!("look at it: ls -l {word}"));
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Ok(Some(text))),
        Err(e) => {
            secrecy::zeroize::Zeroize::zeroize(&mut e.into_bytes());
            problem("is no text".to_owned(), format!("bring {word} back from a backup"))
        }
    }
}

fn why_no_private_folder(path: &Path, facts: Facts) -> Option<Problem> {
    let problem = |what: String, mend: String| Problem { name: path.display().to_string(), what, mend };
    if facts.kind != Kind::Folder {
        return Some(problem("is no folder".to_owned(), format!("move it away: mv {0} {0}.old", shell_word(path))));
    }
    why_reached(path, facts, OTHERS, "700").map(|(what, mend)| problem(what, mend))
}

/// The reason that others have access, and the command against it. The reason is another owner, or one of the `forbidden` bits.
/// `mode` is the mode that `path` should have.
pub fn why_reached(path: &Path, facts: Facts, forbidden: u32, mode: &str) -> Option<(String, String)> {
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
