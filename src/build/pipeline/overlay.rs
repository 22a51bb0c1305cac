//! Puts a plan's files onto a base tree: resolves owners to ids, creates missing folders, replaces the base's files.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::common::error::{Error, Result};
use crate::common::tree::{Content, ContentSource, Kind, Layer, Meta, Node, Tree};
use crate::common::value::{Epoch, TreePath};
use crate::spec::plan::{Owner, PlannedKind, PlannedNode};

/// The largest `/etc/passwd` or `/etc/group` that is read, in bytes.
const ACCOUNTS_MAX: u64 = 1 << 20;

/// The users and groups of a base tree, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
}

impl Accounts {
    /// Reads `/etc/passwd` and `/etc/group` ([passwd(5)](https://man7.org/linux/man-pages/man5/passwd.5.html)).
    pub(crate) fn of(tree: &Tree, source: &dyn ContentSource) -> Result<Self> {
        let table = |path: &str| Ok::<_, Error>(ids(&text_of(tree, source, &TreePath::fixed(path))?));
        Ok(Accounts { users: table("etc/passwd")?, groups: table("etc/group")? })
    }

    fn resolve(&self, path: &TreePath, owner: &Owner) -> Result<(u32, u32)> {
        let id = |table: &BTreeMap<String, u32>, name: &str, what: &str| {
            table.get(name).copied().ok_or_else(|| {
                Error::user(format!("{path}: the base system has no {what} `{name}`"))
                    .detail(format!("known: {}", table.keys().cloned().collect::<Vec<_>>().join(" ")))
                    .hint(format!("add the package that creates `{name}` to the role's `packages`, or change the recipe's owner"))
            })
        };
        Ok((id(&self.users, &owner.user, "user")?, id(&self.groups, &owner.group, "group")?))
    }
}

/// Parses name → number from a file in the format of passwd(5) or group(5), which share their first and third field.
fn ids(text: &str) -> BTreeMap<String, u32> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
        })
        .collect()
}

pub(in crate::build) fn text_of(tree: &Tree, source: &dyn ContentSource, path: &TreePath) -> Result<String> {
    let bytes = bytes_of(tree, source, path, ACCOUNTS_MAX)?;
    String::from_utf8(bytes).map_err(|_| Error::internal(format!("{path} of the base tree is not UTF-8")))
}

/// The contents of a regular file of at most `max` bytes.
pub(in crate::build) fn bytes_of(tree: &Tree, source: &dyn ContentSource, path: &TreePath, max: u64) -> Result<Vec<u8>> {
    match tree.get(path).map(|node| &node.kind) {
        Some(Kind::File(Content::Inline(bytes))) => Ok(bytes.to_vec()),
        Some(Kind::File(Content::Blob { digest, size })) if *size <= max => {
            let mut bytes = Vec::new();
            source
                .open(digest, *size)
                .and_then(|mut reader| reader.read_to_end(&mut bytes))
                .map_err(|e| Error::io(format!("read {path} of the base tree"), &e))?;
            Ok(bytes)
        }
        _ => Err(Error::internal(format!("the base tree has no regular file {path}"))),
    }
}

/// Puts the plan's `files` onto the base. New nodes are of [`Layer::Role`] and have the epoch as their time. Missing parent
/// folders are created, `root:root` 0755.
pub(crate) fn overlay(mut tree: Tree, files: &BTreeMap<TreePath, PlannedNode>, accounts: &Accounts, epoch: Epoch) -> Result<Tree> {
    for (path, planned) in files {
        if planned.kind == PlannedKind::Absent {
            tree.remove(path);
            continue;
        }
        make_parents(&mut tree, path, epoch)?;
        let (uid, gid) = accounts.resolve(path, &planned.owner)?;
        let meta = Meta::new(planned.mode, uid, gid, i64::from(epoch.seconds()));
        let there = tree.get(path).map(|node| matches!(node.kind, Kind::Dir));
        match (&planned.kind, there) {
            (PlannedKind::Dir, Some(true)) => *tree.meta_mut(path).expect("it is there") = meta,
            (PlannedKind::Dir, Some(false)) => {
                return Err(Error::user(format!("{path}: the recipe makes a folder where the base has a file or link")));
            }
            (_, Some(true)) => {
                return Err(Error::user(format!("{path}: the recipe puts a file where the base has a folder")));
            }
            (kind, _) => {
                tree.remove(path);
                put(&mut tree, path, Node { meta, kind: node_kind(kind), layer: Layer::Role })?;
            }
        }
    }
    Ok(tree)
}

fn node_kind(planned: &PlannedKind) -> Kind {
    match planned {
        PlannedKind::File(bytes) => Kind::File(Content::Inline(bytes.clone())),
        PlannedKind::Named { digest, size } => Kind::File(Content::Blob { digest: *digest, size: *size }),
        PlannedKind::Symlink(target) => Kind::Symlink(target.clone()),
        PlannedKind::Dir | PlannedKind::Absent | PlannedKind::Extraction(_) => Kind::Dir,
    }
}

pub(in crate::build) fn make_parents(tree: &mut Tree, path: &TreePath, epoch: Epoch) -> Result<()> {
    let mut missing = Vec::new();
    let mut at = path.parent();
    while let Some(folder) = at.filter(|folder| tree.get(folder).is_none()) {
        at = folder.parent();
        missing.push(folder);
    }
    for folder in missing.into_iter().rev() {
        let meta = Meta::new(0o755, 0, 0, i64::from(epoch.seconds()));
        put(tree, &folder, Node { meta, kind: Kind::Dir, layer: Layer::Role })?;
    }
    Ok(())
}

fn put(tree: &mut Tree, path: &TreePath, node: Node) -> Result<()> {
    tree.insert(path.clone(), node).map_err(|refused| {
        Error::user(format!("the recipe cannot put anything at {refused}"))
            .hint("write the real path: `kbake tree` shows which folders are links in the base (Debian's /bin, /lib and /sbin are)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::testing::Blobs;

    const EPOCH: u32 = 1_767_225_600;

    fn base() -> Tree {
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 7));
        let mut add = |path: &str, kind| {
            tree.insert(TreePath::fixed(path), Node { meta: Meta::new(0o644, 1, 2, 7), kind, layer: Layer::Base }).unwrap();
        };
        let file = |text: &str| Kind::File(Content::Inline(text.as_bytes().into()));
        add("etc", Kind::Dir);
        add("etc/group", file("root:x:0:\netcd:x:105:\n"));
        add("etc/motd", file("hello"));
        add("etc/passwd", file("root:x:0:0:root:/root:/bin/bash\nbroken\netcd:x:104:105::/var/lib/etcd:/usr/sbin/nologin\n"));
        add("lib", Kind::Symlink(b"usr/lib".to_vec()));
        tree
    }

    fn lay(entries: &[(&str, PlannedKind, &str)]) -> Result<Tree> {
        let tree = base();
        let accounts = Accounts::of(&tree, &Blobs::default()).unwrap();
        let files = entries
            .iter()
            .map(|(path, kind, user)| {
                let owner = Owner { user: (*user).into(), group: (*user).into() };
                (TreePath::fixed(path), PlannedNode { mode: 0o600, owner, kind: kind.clone() })
            })
            .collect();
        overlay(tree, &files, &accounts, Epoch::from_seconds(EPOCH.into()).unwrap())
    }

    #[test]
    fn names_become_numbers_and_folders_appear() {
        let tree = lay(&[("etc/a/b/file", PlannedKind::File(b"x".as_slice().into()), "etcd")]).unwrap();
        let file = tree.get(&TreePath::fixed("etc/a/b/file")).unwrap();
        assert_eq!((file.meta.uid, file.meta.gid, file.meta.mode, file.meta.mtime), (104, 105, 0o600, i64::from(EPOCH)));
        assert_eq!(file.layer, Layer::Role);
        let folder = tree.get(&TreePath::fixed("etc/a")).unwrap();
        assert_eq!((folder.meta.uid, folder.meta.mode, &folder.kind), (0, 0o755, &Kind::Dir));
    }

    #[test]
    fn the_base_gives_way() {
        let tree = lay(&[
            ("etc", PlannedKind::Dir, "root"),
            ("etc/group", PlannedKind::Absent, "root"),
            ("etc/motd", PlannedKind::Symlink(b"/run/motd".to_vec()), "root"),
        ])
        .unwrap();
        assert_eq!(tree.get(&TreePath::fixed("etc")).unwrap().meta.mode, 0o600);
        assert!(tree.get(&TreePath::fixed("etc/group")).is_none());
        assert_eq!(tree.get(&TreePath::fixed("etc/motd")).unwrap().kind, Kind::Symlink(b"/run/motd".to_vec()));
    }

    #[test]
    fn what_cannot_be_is_explained() {
        let file = || PlannedKind::File(b"x".as_slice().into());
        for (path, kind, user, expected) in [
            ("etc/x", file(), "nobody-knows", "no user `nobody-knows`"),
            ("etc", file(), "root", "puts a file where the base has a folder"),
            ("etc/motd", PlannedKind::Dir, "root", "makes a folder where"),
            ("lib/x", file(), "root", "/lib/x: its parent is not a folder"),
        ] {
            let error = lay(&[(path, kind, user)]).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
