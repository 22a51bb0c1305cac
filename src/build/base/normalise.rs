//! Removes from an installed tree everything that may differ between two installations of the same packages: secrets, identity,
//! logs, caches, times. Pure.
//!
//! Contents to remove never reach the store: the [`Filter`] stands between the archive and the sink, so that not even an
//! unreferenced blob holds a host key. The same table of rules ([`fate`]) then removes the nodes.

use std::collections::BTreeMap;
use std::io::Read;

use super::rules::{Fate, fate, is_own_to_one_machine, with_folders};
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Refused, Tree};
use crate::common::value::{Epoch, Sha256, TreePath};
use crate::formats::archive::Sink;

/// The only extended attribute that packages set on purpose. Others come from the host's filesystem: labels, ACLs.
const CAPABILITY: &[u8] = b"security.capability";
/// The maximum size of a file whose contents are rewritten, in bytes. The largest of Debian's compiled Python modules has 400
/// kB.
const REWRITE_MAX: u64 = 16 << 20;
/// The start of a PEM file.
const PEM: &[u8] = b"-----BEGIN ";
/// The end of the first line of any private key.
const PRIVATE: &[u8] = b"PRIVATE KEY-----";
/// The number of bytes that are enough to recognise a private key.
const HEAD: usize = 64;
/// The text whose digest stands for contents that were not kept.
const GONE: &[u8] = b"not kept";
/// The comment for administrators in the place of the package sources.
const SOURCES: &str = "\
# Written by kbake: the packages of this node are pinned by the lockfile that its image was built from.
# To install more by hand, name a package source here; to change all nodes, change the recipe and build anew.
";

/// A sink that keeps forbidden contents from `inner`, and passes on the others, rewritten if a rule says so.
pub(crate) struct Filter<'a> {
    inner: &'a mut dyn Sink,
    epoch: Epoch,
    cleared: &'a [TreePath],
    rewritten: Rewritten,
}

/// New contents of files, for [`normalise`]: a sink must answer with contents of the size that the archive names.
pub(crate) type Rewritten = BTreeMap<TreePath, Content>;

impl<'a> Filter<'a> {
    /// A filter in front of `inner`. Everything at or below `cleared` is dropped, too.
    pub(crate) fn new(inner: &'a mut dyn Sink, epoch: Epoch, cleared: &'a [TreePath]) -> Self {
        Filter { inner, epoch, cleared, rewritten: Rewritten::new() }
    }

    /// The rewritten files.
    pub(crate) fn finish(self) -> Rewritten {
        self.rewritten
    }
}

impl Sink for Filter<'_> {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        let failed = |e: &std::io::Error| Error::io(format_args!("read {path}"), e);
        // Stands for contents that `normalise` removes. No blob has that digest and size, in case that it does not.
        let gone = Content::Blob { digest: Sha256::of(GONE), size };
        match fate_with(path, self.cleared) {
            Fate::Remove | Fate::Empty => {
                std::io::copy(bytes, &mut std::io::sink()).map_err(|e| failed(&e))?;
                Ok(gone)
            }
            Fate::Rewrite(rewrite) => {
                if size > REWRITE_MAX {
                    return Err(Error::user(format!("{path} has {size} bytes, too many to be normalised")));
                }
                let mut held = Vec::new();
                bytes.read_to_end(&mut held).map_err(|e| failed(&e))?;
                let new = rewrite(held, self.epoch);
                let content = self.inner.put(path, new.len() as u64, &mut new.as_slice())?;
                self.rewritten.insert(path.clone(), content);
                Ok(gone)
            }
            Fate::Keep => {
                let mut head = Vec::with_capacity(HEAD);
                bytes.take(HEAD as u64).read_to_end(&mut head).map_err(|e| failed(&e))?;
                if is_private_key(&head) {
                    return Err(private_key(path));
                }
                self.inner.put(path, size, &mut head.as_slice().chain(bytes))
            }
        }
    }
}

/// True for the start of a private key in PEM.
fn is_private_key(head: &[u8]) -> bool {
    let line = head.split(|&b| b == b'\n' || b == b'\r').next().unwrap_or_default();
    line.starts_with(PEM) && line.ends_with(PRIVATE)
}

fn private_key(path: &TreePath) -> Error {
    Error::user(format!("installing the packages left a private key at {path}"))
        .detail("an image is public: all machines that are made from it would share the key")
        .hint(format!("to keep it out of the image, append these two lines to the role's recipe: `[[clear]]` and `path = \"{path}\"`"))
}

/// The fate of a path: the rules', or removal if it is cleared.
fn fate_with(path: &TreePath, cleared: &[TreePath]) -> Fate {
    if cleared.iter().any(|top| path.is_within(top)) { Fate::Remove } else { fate(path) }
}

/// Removes, empties and replaces files according to the rules, removes everything at or below `cleared`, and normalises times
/// and attributes.
///
/// # Errors
/// The tree shows that the host could not do what the packages asked for, or was not read through [`Filter`].
pub(crate) fn normalise(tree: &mut Tree, epoch: Epoch, rewritten: Rewritten, cleared: &[TreePath]) -> Result<()> {
    check_capabilities(tree)?;
    check_links(tree, cleared)?;
    apply_fates(tree, rewritten, cleared)?;
    cleared.iter().for_each(|path| tree.remove(path));
    remove_dangling(tree);
    for (_, meta) in tree.metas_mut() {
        meta.mtime = meta.mtime.clamp(0, i64::from(epoch.seconds()));
        meta.xattrs.retain(|name, _| name == CAPABILITY);
    }
    add_missing(tree, epoch).map_err(|refused| Error::user(format!("the installed base is inconsistent: {refused}")))
}

/// Refuses a tree without file capabilities: without extended attributes on the host's disk, `ping` silently falls back to
/// setuid.
fn check_capabilities(tree: &Tree) -> Result<()> {
    let ping = TreePath::fixed("usr/bin/ping");
    if tree.get(&ping).is_some_and(|node| matches!(node.kind, Kind::File(_)) && node.meta.mode & 0o4000 != 0) {
        return Err(Error::user("the store's filesystem does not keep file capabilities, which packages of the base set")
            .detail(format!("{ping} became setuid instead"))
            .hint("put $KBAKE_STORE on a filesystem with extended attributes (ext4, xfs, btrfs)"));
    }
    Ok(())
}

/// Refuses a hard link between a removed file and a kept one: the removed file's contents were not kept.
fn check_links(tree: &Tree, cleared: &[TreePath]) -> Result<()> {
    let other_name = |(path, node): &(&TreePath, &Node)| match &node.kind {
        Kind::HardLink(target) => fate_with(target, cleared) != Fate::Keep || fate_with(path, cleared) != Fate::Keep,
        _ => false,
    };
    match tree.iter().find(other_name) {
        None => Ok(()),
        Some((path, _)) => {
            Err(Error::user(format!("{path} is a hard link: normalising would remove or replace only one of its two names"))
                .hint("report the package that made it, so that the base's rules can cover it"))
        }
    }
}

/// Removes, empties and replaces files.
fn apply_fates(tree: &mut Tree, mut rewritten: Rewritten, cleared: &[TreePath]) -> Result<()> {
    let changed: Vec<(TreePath, Fate)> =
        tree.iter().map(|(path, _)| (path.clone(), fate_with(path, cleared))).filter(|(_, fate)| *fate != Fate::Keep).collect();
    for (path, fate) in changed {
        let Some(node) = tree.get(&path) else { continue };
        let (is_dir, is_file, meta) = (node.kind == Kind::Dir, matches!(node.kind, Kind::File(_)), node.meta.clone());
        let content = match fate {
            // A rule for a log or cache means a file; its folder may have an owner that a program relies on.
            Fate::Remove if is_dir && !with_folders(&path) => continue,
            Fate::Remove => None,
            Fate::Empty if !is_file => None,
            Fate::Empty => Some(Content::Inline([].into())),
            Fate::Rewrite(_) if !is_file => continue,
            Fate::Keep | Fate::Rewrite(_) => match rewritten.remove(&path) {
                Some(content) => Some(content),
                None => return Err(Error::internal(format!("{path} was not rewritten when it was read"))),
            },
        };
        tree.remove(&path);
        if let Some(content) = content {
            put(tree, path, Kind::File(content), meta).map_err(|refused| Error::internal(refused.to_string()))?;
        }
    }
    // A file here is the host's or a package script's copy; the link to systemd-resolved replaces it.
    let resolver = TreePath::fixed("etc/resolv.conf");
    if tree.get(&resolver).is_some_and(|node| matches!(node.kind, Kind::File(_))) {
        tree.remove(&resolver);
    }
    Ok(())
}

/// Removes links to a removed file in the same folder, such as the hash of a certificate.
fn remove_dangling(tree: &mut Tree) {
    let leads_to_own = |(path, node): &(&TreePath, &Node)| match &node.kind {
        Kind::Symlink(target) if !target.contains(&b'/') => {
            let beside = path.parent().and_then(|folder| TreePath::parse(&[folder.as_bytes(), b"/", target].concat(), true).ok());
            beside.is_some_and(|beside| is_own_to_one_machine(&beside) && tree.get(&beside).is_none())
        }
        _ => false,
    };
    let links: Vec<TreePath> = tree.iter().filter(leads_to_own).map(|(path, _)| path.clone()).collect();
    links.iter().for_each(|path| tree.remove(path));
}

/// Adds what every node has, whether a package made it or not.
fn add_missing(tree: &mut Tree, epoch: Epoch) -> Result<(), Refused> {
    let now = i64::from(epoch.seconds());
    let file = |text: &str| Kind::File(Content::Inline(text.as_bytes().into()));
    // The archive leaves /dev out; the kernel fills it at boot.
    add(tree, "dev", Kind::Dir, Meta::new(0o755, 0, 0, now))?;
    // Empty, and not absent or `uninitialized`: systemd then gives the machine an id without treating the boot as the first of
    // a new installation, which would ask for locale and password on the console and apply all unit presets again. See
    // https://www.freedesktop.org/software/systemd/man/252/machine-id.html (First Boot Semantics).
    add(tree, "etc/machine-id", file(""), Meta::new(0o444, 0, 0, now))?;
    if tree.get(&TreePath::fixed("etc/apt")).is_some() {
        add(tree, "etc/apt/sources.list", file(SOURCES), Meta::new(0o644, 0, 0, now))?;
    }
    if tree.get(&TreePath::fixed("usr/lib/systemd/systemd-resolved")).is_some() {
        let stub = Kind::Symlink(b"../run/systemd/resolve/stub-resolv.conf".to_vec());
        add(tree, "etc/resolv.conf", stub, Meta::new(0o777, 0, 0, now))?;
    }
    Ok(())
}

fn add(tree: &mut Tree, path: &str, kind: Kind, meta: Meta) -> Result<(), Refused> {
    let path = TreePath::fixed(path);
    if tree.get(&path).is_some() {
        return Ok(());
    }
    put(tree, path, kind, meta)
}

fn put(tree: &mut Tree, path: TreePath, kind: Kind, meta: Meta) -> Result<(), Refused> {
    tree.insert(path, Node { meta, kind, layer: Layer::Base })
}
