//! Container images unpacked: their layers as folders of overlayfs, ready for containerd's folder in a role's image.
//!
//! A thing made of an image is a tree, by its text and its pack, as of a base: the archive without layers, the documents, and a
//! folder for each layer. Of an image that cannot be unpacked here it is the whole archive alone, which the node imports.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};

use super::images::Blobs;
use super::pantry::{Spool, write_pack};
use super::{Bake, Resolved, made};
use crate::containerd;
use crate::error::{Class, Error, Result};
use crate::oci::{self, Descriptor, overlay};
use crate::plan::{Form, Made, PlannedKind};
use crate::store::{Blob, BlobFile, Lookup};
use crate::tree::pack::PackIndex;
use crate::tree::{Content, Kind, Layer, Meta, Node, Tree};
use crate::unpack::{self, Duplicates, Parents, Policy, Sink, Verdict};
use crate::value::{Epoch, Hasher, Reference, Sha256, TreePath};

/// The archive, in the tree of an unpacked image.
const ARCHIVE: &str = "archive.tar";
/// Its documents.
const INDEX: &str = "documents/index";
const MANIFEST: &str = "documents/manifest";
const CONFIG: &str = "documents/config";
/// The folder of its layers, by their places.
const LAYERS: &str = "layers";
/// The name of the output with the contents, beside that of the tree's text.
pub(super) const PACK: &str = "pack";
/// The largest layer, in bytes.
const LAYER_MAX: u64 = 64 << 30;

/// An image that is unpacked in the store.
pub struct Unpacked {
    /// Its place in the role's image.
    pub path: TreePath,
    /// Its name.
    pub reference: Reference,
    /// Archive, documents and layers.
    pub tree: Tree,
    /// Their contents.
    pub pack: BlobFile,
}

/// Unpacks an image. Gives the blobs of the tree's text and of its contents.
///
/// # Errors
/// A layer that is not what the image's configuration says, or not what its name says; those of the disk.
pub fn unpack(bake: &Bake, image: &oci::Image, index: Option<&[u8]>) -> Result<(Blob, Blob)> {
    let mut spool = Spool::new(bake)?;
    let mut out = Out { tree: Tree::new(meta(0o755)) };
    match layers(bake, image, &mut spool)? {
        Ok(layers) => {
            let (manifest, config) = image.documents()?;
            out.folder("documents")?;
            index.into_iter().try_for_each(|index| out.file(INDEX, index, &mut spool))?;
            out.file(MANIFEST, manifest, &mut spool)?;
            out.file(CONFIG, config, &mut spool)?;
            out.file(ARCHIVE, &image.without_layers(index)?, &mut spool)?;
            out.folder(LAYERS)?;
            layers.iter().enumerate().try_for_each(|(at, layer)| out.layer(at, layer))?;
        }
        Err(why) => {
            bake.report
                .say(&format!("{}: the node imports it when it boots first, for it cannot be unpacked here: {why}", image.reference()));
            let mut archive = bake.store.scratch_file()?;
            image.write(&Blobs(bake.store), &mut archive, bake.cancel)?;
            let size = rewind(&mut archive, image)?;
            let content = spool.put(&TreePath::fixed(ARCHIVE), size, &mut archive)?;
            out.put(ARCHIVE, 0o644, Kind::File(content))?;
        }
    }
    let (tree, pack) = write_pack(bake, out.tree, &spool.finish()?)?;
    Ok((bake.store.insert(tree.to_text().as_bytes())?, pack))
}

/// The metadata of what only this store sees.
fn meta(mode: u16) -> Meta {
    Meta::new(mode, 0, 0, 0)
}

/// All layers over each other; or why one of them cannot be unpacked.
fn layers(bake: &Bake, image: &oci::Image, spool: &mut Spool) -> Result<Result<Vec<Tree>, String>> {
    let (_, config) = image.documents()?;
    let expected = oci::diff_ids(config, image.reference())?;
    let mut uppers: Vec<Tree> = Vec::new();
    for (layer, expected) in image.layers()?.iter().zip(expected) {
        bake.cancel.check()?;
        let tree = match read(bake, image, layer, expected, spool)? {
            Ok(tree) => tree,
            Err(why) => return Ok(Err(why)),
        };
        let lowers: Vec<&Tree> = uppers.iter().rev().collect();
        match overlay::upper(&tree, &lowers) {
            Ok(upper) => uppers.push(upper),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(uppers))
}

/// A layer as the tar that it is; or why that cannot be read.
fn read(bake: &Bake, image: &oci::Image, layer: &Descriptor, expected: Sha256, spool: &mut Spool) -> Result<Result<Tree, String>> {
    let policy = layer_policy(image.reference());
    let what = policy.what.clone();
    let mut scratch;
    let stored = bake.store.reader(&layer.digest)?;
    let is_stored = stored.is_some();
    let input: Box<dyn Read> = match stored {
        Some(reader) => Box::new(reader),
        None => {
            scratch = bake.store.scratch_file()?;
            image.write_layer(layer, &Blobs(bake.store), &mut scratch, bake.cancel)?;
            rewind(&mut scratch, image)?;
            Box::new(&mut scratch)
        }
    };
    let read = unpack::compress::open(input, &what, LAYER_MAX).and_then(|(_, plain)| {
        let mut hashing = Hashing { inner: BufReader::with_capacity(128 << 10, plain), hasher: Hasher::new() };
        let tree = unpack::tar::read(&mut hashing, &policy, spool)?;
        Ok((tree, hashing.hasher.finish()))
    });
    let (tree, found) = match read {
        Ok(both) => both,
        // A layer that is damaged in the store has been put aside by its reader.
        Err(error) if error.class() == Class::Integrity && (!is_stored || bake.store.verify_blob(&layer.digest)?) => {
            return Ok(Err(error.message().to_owned()));
        }
        Err(error) => return Err(error),
    };
    if found == expected {
        return Ok(Ok(tree));
    }
    Err(Error::user(format!("the container image {} cannot be used", image.reference()))
        .detail(format!("its layer sha256:{} unpacks to sha256:{found}, its configuration says sha256:{expected}", layer.digest)))
}

/// The limits of a layer.
pub(super) fn layer_policy(reference: &Reference) -> Policy {
    Policy {
        limits: unpack::Limits { total_bytes: LAYER_MAX, ..unpack::Limits::default() },
        root: overlay::unnamed(),
        devices: Verdict::Allow,
        privileged: Verdict::Allow,
        duplicates: Duplicates::LastWins,
        parents: Parents::Create,
        ..Policy::strict(format!("a layer of {reference}"), Layer::Role)
    }
}

/// Back to the start. Gives the length.
fn rewind(file: &mut crate::fsx::Temp, image: &oci::Image) -> Result<u64> {
    let failed = |e: &io::Error| Error::io(format!("write {} to the store", image.reference()), e);
    file.flush().map_err(|e| failed(&e))?;
    let size = file.stream_position().map_err(|e| failed(&e))?;
    file.seek(SeekFrom::Start(0)).map_err(|e| failed(&e))?;
    Ok(size)
}

/// Hashes what is read.
struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// The tree of an unpacked image as it grows.
struct Out {
    tree: Tree,
}

impl Out {
    fn put(&mut self, path: &str, mode: u16, kind: Kind) -> Result<()> {
        self.insert(TreePath::fixed(path), Node { meta: meta(mode), kind, layer: Layer::Role })
    }

    fn insert(&mut self, path: TreePath, node: Node) -> Result<()> {
        self.tree.insert(path, node).map_err(|refused| Error::internal(format!("an unpacked image cannot be laid out: {refused}")))
    }

    fn folder(&mut self, path: &str) -> Result<()> {
        self.put(path, 0o755, Kind::Dir)
    }

    fn file(&mut self, path: &str, mut bytes: &[u8], spool: &mut Spool) -> Result<()> {
        let content = spool.put(&TreePath::fixed(path), bytes.len() as u64, &mut bytes)?;
        self.put(path, 0o644, Kind::File(content))
    }

    fn layer(&mut self, at: usize, layer: &Tree) -> Result<()> {
        let root = layer_path(at);
        let mut links = Vec::new();
        for (path, node) in layer.iter() {
            let mut node = Node { layer: Layer::Role, ..node.clone() };
            let path = moved(&TreePath::root(), &root, path)?;
            match &node.kind {
                Kind::HardLink(target) => {
                    node.kind = Kind::HardLink(moved(&TreePath::root(), &root, target)?);
                    links.push((path, node));
                }
                _ => self.insert(path, node)?,
            }
        }
        links.into_iter().try_for_each(|(path, node)| self.insert(path, node))
    }
}

fn layer_path(at: usize) -> TreePath {
    TreePath::fixed(&format!("{LAYERS}/{at:03}"))
}

/// A path below `from` as one below `to`.
fn moved(from: &TreePath, to: &TreePath, path: &TreePath) -> Result<TreePath> {
    let rest = path.as_bytes().strip_prefix(from.as_bytes()).unwrap_or_default();
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let slash: &[u8] = if to.is_root() || rest.is_empty() { b"" } else { b"/" };
    TreePath::parse(&[to.as_bytes(), slash, rest].concat(), true)
        .map_err(|why| Error::user(format!("a container image has the path {path}, which cannot be in a node's image: {why}")))
}

impl Bake<'_> {
    /// The unpacked image that `made` gave, to lie at `path`.
    pub(super) fn unpacked(&self, path: &TreePath, made: &Made) -> Result<Unpacked> {
        let gone = || Error::internal(format!("{} is gone from the store", made.text()));
        let Lookup::Hit(action) = self.store.action(made::MADE, &made.key()) else { return Err(gone()) };
        let text = made::file_of(&action).ok_or_else(gone)?;
        let pack = action.outputs.get(PACK).ok_or_else(gone)?;
        let (reference, _) = made.image().ok_or_else(gone)?;
        let tree = self.tree_of(&text)?;
        let pack = self.store.blob(&pack.digest)?.ok_or_else(gone)?;
        Ok(Unpacked { path: path.clone(), reference: reference.clone(), tree, pack })
    }

    fn tree_of(&self, text: &Blob) -> Result<Tree> {
        let gone = || Error::internal(format!("sha256:{} is gone from the store", text.digest));
        let mut reader = self.store.reader(&text.digest)?.ok_or_else(gone)?;
        let text = io::read_to_string(&mut reader).map_err(|e| Error::io("read an unpacked container image from the store", &e))?;
        Tree::parse_text(&text, "an unpacked container image in the store")
    }

    /// The contents of an unpacked image, each with its size.
    pub(super) fn contents_of(&self, text: &Blob) -> Result<Vec<(Sha256, u64)>> {
        let contents = |node: &Node| match &node.kind {
            Kind::File(Content::Blob { digest, size }) => Some((*digest, *size)),
            _ => None,
        };
        Ok(self.tree_of(text)?.iter().filter_map(|(_, node)| contents(node)).collect())
    }
}

/// True for what is made as an unpacked image.
pub(super) fn is_unpacked(made: &Made) -> bool {
    matches!(made.image(), Some((_, Form::Unpacked)))
}

/// The paths of a plan's unpacked images, and what makes each.
pub(super) fn planned(resolved: &Resolved) -> impl Iterator<Item = (&TreePath, &Made)> {
    resolved.plan.files().iter().filter_map(|(path, node)| match &node.kind {
        PlannedKind::Made(made) if is_unpacked(made) => Some((path, made)),
        _ => None,
    })
}

impl Unpacked {
    /// The places of contents in the pack.
    pub fn index(&self) -> Result<PackIndex> {
        PackIndex::of(&self.tree)
    }

    /// The archive, which lies at the image's path.
    pub fn archive(&self) -> Result<PlannedKind> {
        match self.tree.get(&TreePath::fixed(ARCHIVE)).map(|node| &node.kind) {
            Some(Kind::File(Content::Blob { digest, size })) => Ok(PlannedKind::Named { digest: *digest, size: *size }),
            _ => Err(Error::internal(format!("{} was unpacked without an archive", self.reference))),
        }
    }

    /// Its part of containerd's folder; none of an image that could not be unpacked.
    fn image(&self, index: &PackIndex) -> Result<Option<containerd::Image>> {
        let Some(manifest) = self.document(index, MANIFEST)? else { return Ok(None) };
        let described = |bytes: Vec<u8>| {
            let descriptor = match oci::document(&bytes, &self.reference)? {
                oci::Document::Index(index) => index.descriptor,
                oci::Document::Manifest(manifest) => manifest.descriptor,
            };
            Ok::<_, Error>((descriptor, bytes))
        };
        let lacks = || Error::internal(format!("{} was unpacked without a configuration", self.reference));
        let config = self.document(index, CONFIG)?.ok_or_else(lacks)?;
        let file = String::from_utf8_lossy(self.path.name()).into_owned();
        let index = self.document(index, INDEX)?.map(described).transpose()?;
        let layers = (0..).map(layer_path).take_while(|path| self.tree.get(path).is_some()).map(|path| self.layer(&path));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Some(containerd::Image { file, reference: self.reference.clone(), index, manifest: described(manifest)?, config, layers }))
    }

    fn document(&self, index: &PackIndex, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(node) = self.tree.get(&TreePath::fixed(path)) else { return Ok(None) };
        let place = match &node.kind {
            Kind::File(Content::Blob { digest, .. }) => index.get(digest).map(|place| (*digest, place)),
            _ => None,
        };
        let (digest, (at, size)) = place.ok_or_else(|| Error::internal(format!("{path} of {} is not in its pack", self.reference)))?;
        let mut bytes = Vec::new();
        let read = self.pack.range(at, size, digest)?.read_to_end(&mut bytes);
        read.map_err(|e| Error::io(format!("read a document of {}", self.reference), &e))?;
        Ok(Some(bytes))
    }

    fn layer(&self, root: &TreePath) -> Result<Tree> {
        let top = self.tree.get(root).map(|node| node.meta.clone());
        let mut layer = Tree::new(top.ok_or_else(|| Error::internal(format!("{} lacks {root}", self.reference)))?);
        let mut links = Vec::new();
        let mut put = |path: TreePath, node: Node| {
            layer.insert(path, node).map_err(|refused| Error::internal(format!("{}: {refused}", self.reference)))
        };
        for (path, node) in self.tree.below(root).filter(|(path, _)| *path != root) {
            let path = moved(root, &TreePath::root(), path)?;
            match &node.kind {
                Kind::HardLink(target) => {
                    let kind = Kind::HardLink(moved(root, &TreePath::root(), target)?);
                    links.push((path, Node { kind, ..node.clone() }));
                }
                _ => put(path, node.clone())?,
            }
        }
        links.into_iter().try_for_each(|(path, node)| put(path, node))?;
        Ok(layer)
    }
}

/// Lays containerd's folder with these images into a tree. What is there already stays as it is, if it is a folder.
///
/// # Errors
/// Something else is where the folder, or something in it, goes.
pub fn lay(mut tree: Tree, images: &[Unpacked], epoch: Epoch) -> Result<Tree> {
    let mut stored = Vec::new();
    for image in images {
        stored.extend(image.image(&image.index()?)?);
    }
    if stored.is_empty() {
        return Ok(tree);
    }
    let nodes = containerd::store(&stored, epoch)?;
    let (links, others): (BTreeMap<_, _>, BTreeMap<_, _>) = nodes.into_iter().partition(|(_, node)| matches!(node.kind, Kind::HardLink(_)));
    super::overlay::make_parents(&mut tree, &TreePath::fixed(containerd::ROOT), epoch)?;
    for (path, node) in others.into_iter().chain(links) {
        let is_dir = |kind: &Kind| matches!(kind, Kind::Dir);
        if is_dir(&node.kind) && tree.get(&path).is_some_and(|there| is_dir(&there.kind)) {
            continue;
        }
        tree.insert(path, node).map_err(|refused| {
            Error::user(format!("containerd's folder with the preloaded images cannot be laid out: {refused}"))
                .hint(format!("remove what a recipe puts below /{}", containerd::ROOT))
        })?;
    }
    Ok(tree)
}

#[cfg(test)]
#[path = "tests/unpacked.rs"]
mod tests;
