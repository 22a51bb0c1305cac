//! Trust in a path: no other user may be able to replace anything on it. Checks every folder of the path, as sshd
//! checks a user's keys.
//!
//! Whoever may write to a folder may rename its entries. So each folder up to `/` must belong to root or to this user,
//! and nobody else may write to it. Two exceptions: in a folder with the sticky bit (`/tmp`) nobody renames the entries
//! of others, and a group without other members (a user's private group) counts as the user.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::user;
use crate::common::error::{Error, Result};
use crate::common::value::quote;

const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// The most links that Linux follows in one path.
const LINKS_MAX: u32 = 40;
/// The mode of new folders on the path to a private one, before the umask.
const CLOSED_MODE: u32 = 0o755;
/// The owner that a user namespace shows for unmapped users (/proc/sys/kernel/overflowuid).
const UNMAPPED: u32 = 65_534;

/// A folder that others can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distrust {
    /// The folder.
    pub folder: PathBuf,
    /// The reason; continues a sentence that begins with the folder.
    pub what: String,
    /// The remedy.
    pub remedy: String,
}

/// The entry that follows a folder on the path.
#[derive(Clone, Copy)]
enum Next<'a> {
    /// None: the folder itself counts, with any entry in it.
    End,
    /// An entry that this user will create.
    Absent,
    /// An existing entry.
    There(&'a Metadata),
}

/// The first folder on the path to the folder `path`, including itself, that others could change; `None` if there is
/// none. Follows links step by step. Ends at the first entry that does not exist.
///
/// # Errors
/// A path that cannot be followed.
pub(crate) fn distrust(path: &Path) -> Result<Option<Distrust>> {
    walk(path, true).map_err(|e| Error::io(format!("stat {}", path.display()), &e))
}

/// [`distrust`] without the last component: only the folders that lead to `path`.
///
/// # Errors
/// A path that cannot be followed.
pub(crate) fn distrust_above(path: &Path) -> Result<Option<Distrust>> {
    walk(path, false).map_err(|e| Error::io(format!("stat {}", path.display()), &e))
}

/// Creates the folder and its parents. Others cannot write to the new ones, whatever the umask.
///
/// # Errors
/// I/O errors.
pub(crate) fn create_closed(path: &Path) -> Result<()> {
    super::change::make_closed_folders(path, CLOSED_MODE).map_err(|e| Error::io(format!("create the folder {}", path.display()), &e))
}

fn walk(path: &Path, itself: bool) -> io::Result<Option<Distrust>> {
    let mut at = PathBuf::from("/");
    let mut here = fs::symlink_metadata(&at)?;
    let mut rest: VecDeque<OsString> = VecDeque::new();
    if !path.is_absolute() {
        rest.extend(steps(&fs::canonicalize(".")?));
    }
    rest.extend(steps(path));
    let mut links = 0;
    while let Some(step) = rest.pop_front() {
        if step == ".." {
            at.pop();
            here = fs::symlink_metadata(&at)?;
            continue;
        }
        let next = at.join(&step);
        let meta = match fs::symlink_metadata(&next) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(check_folder(&at, &here, Next::Absent)),
            meta => meta?,
        };
        let found = check_folder(&at, &here, Next::There(&meta));
        if found.is_some() {
            return Ok(found);
        }
        if !meta.is_symlink() {
            (at, here) = (next, meta);
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(io::Error::other("the path has too many links"));
        }
        let target = fs::read_link(&next)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
            here = fs::symlink_metadata(&at)?;
        }
        steps(&target).into_iter().rev().for_each(|step| rest.push_front(step));
    }
    Ok(if itself && here.is_dir() { check_folder(&at, &here, Next::End) } else { None })
}

/// The components of a path, including `..`.
fn steps(path: &Path) -> Vec<OsString> {
    let step = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(step).collect()
}

fn check_folder(folder: &Path, meta: &Metadata, next: Next<'_>) -> Option<Distrust> {
    let word = quote(&folder.display().to_string());
    let distrust = |what: String, remedy: String| Some(Distrust { folder: folder.to_owned(), what, remedy });
    if !is_trusted(meta.uid()) {
        let what = format!("belongs to user {}, and this is user {}", meta.uid(), user());
        return distrust(what, format!("use a folder of your own, or as root: chown {} {word}", user()));
    }
    let writes = meta.mode() & (GROUP_WRITES | OTHERS_WRITE);
    if writes == 0 || is_kept_by_sticky(meta.mode(), next) || writes == GROUP_WRITES && is_private_group(meta.gid()) {
        return None;
    }
    let what = format!("can be changed by others: they may write to it (mode {:04o})", meta.mode() & 0o7777);
    distrust(what, format!("chmod go-w {word}"))
}

fn is_kept_by_sticky(mode: u32, next: Next<'_>) -> bool {
    let kept = match next {
        Next::End => false,
        Next::Absent => true,
        Next::There(meta) => is_trusted(meta.uid()),
    };
    kept && mode & STICKY != 0
}

/// Root and this user. A user namespace shows the host's root as nobody.
fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == user() || owner == UNMAPPED && !sees_all_users()
}

fn sees_all_users() -> bool {
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return true };
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// True if nobody but this user and root is in the group, by this host's own files.
fn is_private_group(gid: u32) -> bool {
    let (Ok(users), Ok(groups)) = (fs::read_to_string("/etc/passwd"), fs::read_to_string("/etc/group")) else { return false };
    is_private_group_in(&users, &groups, gid, user())
}

/// [`is_private_group`] by the texts of passwd(5) and group(5).
fn is_private_group_in(users: &str, groups: &str, gid: u32, user: u32) -> bool {
    let users: Vec<(&str, u32, u32)> = users.lines().filter_map(account).collect();
    let is_us = |uid: u32| uid == 0 || uid == user;
    let primary = users.iter().all(|&(_, uid, group)| group != gid || is_us(uid));
    let members = groups.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, number, members] = fields[..] else { return None };
        (number.parse() == Ok(gid)).then(|| members.split(',').filter(|member| !member.is_empty()).collect::<Vec<_>>())
    });
    let members: Vec<Vec<&str>> = members.collect();
    let known = |member: &&str| users.iter().any(|&(name, uid, _)| name == *member && is_us(uid));
    primary && !members.is_empty() && members.iter().flatten().all(known)
}

fn account(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    Some((name, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn folder(path: &Path, mode: u32) {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The folder that is reported, relative to `top`.
    fn culprit(top: &Path, path: &Path) -> Option<String> {
        let found = distrust(path).unwrap()?;
        assert!(found.remedy.contains(&*found.folder.display().to_string()), "{found:?}");
        Some(found.folder.strip_prefix(top).unwrap().display().to_string())
    }

    #[test]
    fn every_folder_on_the_path_counts() {
        let dir = tempfile::tempdir().unwrap();
        let top = &fs::canonicalize(dir.path()).unwrap();
        folder(&top.join("a/b/c"), 0o755);
        let path = top.join("a/b/c/new/er");
        assert_eq!(culprit(top, &path), None);
        for (open, mode) in [("a", 0o777), ("a/b", 0o757), ("a/b/c", 0o757)] {
            folder(&top.join(open), mode);
            assert_eq!(culprit(top, &path).as_deref(), Some(open), "{mode:o}");
            folder(&top.join(open), 0o755);
        }
        // With the sticky bit nobody can rename our entries; but anybody can create new names in the folder.
        folder(&top.join("a"), 0o1777);
        assert_eq!(culprit(top, &path), None);
        assert_eq!(culprit(top, &top.join("a")).as_deref(), Some("a"));
        assert_eq!(distrust_above(&top.join("a/b")).unwrap(), None);
        assert_eq!(distrust_above(&top.join("a/new")).unwrap(), None);
    }

    #[test]
    fn links_are_followed_and_their_folders_checked() {
        let dir = tempfile::tempdir().unwrap();
        let top = &fs::canonicalize(dir.path()).unwrap();
        folder(&top.join("open/real"), 0o755);
        folder(&top.join("safe"), 0o755);
        symlink(top.join("open/real"), top.join("safe/absolute")).unwrap();
        symlink("../open/real", top.join("safe/relative")).unwrap();
        symlink("loop", top.join("safe/loop")).unwrap();
        for link in ["absolute", "relative", "../open/./real", "absolute/../real"] {
            folder(&top.join("open"), 0o755);
            assert_eq!(culprit(top, &top.join("safe").join(link)), None, "{link}");
            folder(&top.join("open"), 0o777);
            assert_eq!(culprit(top, &top.join("safe").join(link)).as_deref(), Some("open"), "{link}");
        }
        assert!(distrust(&top.join("safe/loop")).is_err());
    }

    #[test]
    fn a_folder_of_another_user_is_never_taken() {
        if user() != 0 {
            // Only root can give folders away; the same function checks the modes above.
            return assert_eq!(distrust(Path::new("/")).unwrap(), None);
        }
        let dir = tempfile::tempdir().unwrap();
        let top = &fs::canonicalize(dir.path()).unwrap();
        folder(&top.join("a/b"), 0o700);
        chown(top.join("a"), Some(4242), None).unwrap();
        assert_eq!(culprit(top, &top.join("a/b")).as_deref(), Some("a"));
        chown(top.join("a"), Some(0), None).unwrap();
        chown(top.join("a/b"), Some(4242), None).unwrap();
        assert_eq!(culprit(top, &top.join("a/b")).as_deref(), Some("a/b"));
        // Its owner could rename it, even where others cannot.
        folder(&top.join("a"), 0o1777);
        assert_eq!(culprit(top, &top.join("a/b/c")).as_deref(), Some("a"));
    }

    #[test]
    fn a_private_group_is_its_user() {
        let users = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\nyou:x:1001:1001::/home/you:/bin/sh\n";
        let groups = "root:x:0:\nstaff:x:50:\nme:x:1000:\nyou:x:1001:\nboth:x:2000:me,you\nalone:x:2001:me\nstranger:x:2002:me,ldap\n";
        let private = |gid| is_private_group_in(users, groups, gid, 1000);
        assert_eq!([0, 50, 1000, 2001].map(private), [true; 4]);
        assert_eq!([1001, 2000, 2002, 3000].map(private), [false; 4], "another's, a shared one, one with a stranger, an unknown one");
    }

    #[test]
    fn new_folders_are_closed_whatever_the_umask() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one/two");
        // The umask belongs to the whole process, so changing it would affect other tests. A umask cannot add bits.
        create_closed(&path).unwrap();
        for made in [&path, path.parent().unwrap()] {
            assert_eq!(fs::metadata(made).unwrap().mode() & 0o022, 0, "{}", made.display());
        }
        create_closed(&path).unwrap();
    }
}
