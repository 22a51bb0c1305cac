//! Container images unpacked: their layers as folders of overlayfs, ready for containerd's folder in a role's image.
//!
//! The result is a tree, stored like a base as its text and its pack: the archive without layers, the documents, and a
//! folder for each layer. For an image that cannot be unpacked here it is the complete archive alone, which the node
//! imports.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};

use super::install::{Spool, write_pack};
use super::step::{Step, extractions, file_of};
use crate::build::{Bake, Resolved};
use crate::common::error::{Class, Error, Result};
use crate::common::tree::pack::PackIndex;
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Tree};
use crate::common::value::{Epoch, Hasher, Reference, Sha256, TreePath};
use crate::formats::archive::{self, Duplicates, Parents, Policy, Sink, Verdict};
use crate::formats::containerd;
use crate::formats::oci::{self, Descriptor, overlay};
use crate::spec::plan::{Extraction, Form, PlannedKind};
use crate::storage::store::{Blob, BlobFile, StoreSource};

/// The archive, in the tree of an unpacked image.
const ARCHIVE: &str = "archive.tar";
/// The folder of the image's documents.
const INDEX: &str = "documents/index";
const MANIFEST: &str = "documents/manifest";
const CONFIG: &str = "documents/config";
/// The folder of its layers, by index.
const LAYERS: &str = "layers";
/// The output with the contents, beside the output with the tree's text.
pub(in crate::build) const PACK: &str = "pack";
/// The largest layer, in bytes.
const LAYER_MAX: u64 = 64 << 30;

/// An unpacked image in the store.
pub(crate) struct Unpacked {
    /// The path of its archive in the role's image.
    pub path: TreePath,
    /// Its reference.
    pub reference: Reference,
    /// Archive, documents and layers.
    pub tree: Tree,
    /// Their contents.
    pub pack: BlobFile,
}

/// Unpacks an image. Returns the blobs of the tree's text and of its contents.
///
/// # Errors
/// A layer does not match the image's configuration or its own digest; I/O errors.
pub(crate) fn unpack(bake: &Bake, image: &oci::Image, index: Option<&[u8]>) -> Result<(Blob, Blob)> {
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
            bake.report.say(&format!("{}: cannot be unpacked here, so the node imports it at its first boot: {why}", image.reference()));
            let mut archive = bake.store.scratch_file()?;
            image.write(&StoreSource(bake.store), &mut archive, bake.cancel)?;
            let size = rewind(&mut archive, image)?;
            let content = spool.put(&TreePath::fixed(ARCHIVE), size, &mut archive)?;
            out.put(ARCHIVE, 0o644, Kind::File(content))?;
        }
    }
    let (tree, pack) = write_pack(bake, out.tree, &spool.finish()?)?;
    Ok((bake.store.insert(tree.to_text().as_bytes())?, pack))
}

/// Metadata of nodes that only the store has.
fn meta(mode: u16) -> Meta {
    Meta::new(mode, 0, 0, 0)
}

/// All layers, lowest first; or the reason why one cannot be unpacked.
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

/// Decompresses a layer and reads it as a tar; or the reason why it cannot be read.
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
            image.write_layer(layer, &StoreSource(bake.store), &mut scratch, bake.cancel)?;
            rewind(&mut scratch, image)?;
            Box::new(&mut scratch)
        }
    };
    let read = archive::compress::open(input, &what, LAYER_MAX).and_then(|(_, plain)| {
        let mut hashing = Hashing { inner: BufReader::with_capacity(128 << 10, plain), hasher: Hasher::new() };
        let tree = archive::tar::read(&mut hashing, &policy, spool)?;
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

/// The policy for reading a layer.
pub(in crate::build) fn layer_policy(reference: &Reference) -> Policy {
    Policy {
        limits: archive::Limits { total_bytes: LAYER_MAX, ..archive::Limits::default() },
        root: overlay::unnamed(),
        devices: Verdict::Allow,
        privileged: Verdict::Allow,
        duplicates: Duplicates::LastWins,
        parents: Parents::Create,
        ..Policy::strict(format!("a layer of {reference}"), Layer::Role)
    }
}

/// Rewinds the file. Returns its length.
fn rewind(file: &mut crate::common::fsx::Temp, image: &oci::Image) -> Result<u64> {
    let failed = |e: &io::Error| Error::io(format!("write {} to the store", image.reference()), e);
    file.flush().map_err(|e| failed(&e))?;
    let size = file.stream_position().map_err(|e| failed(&e))?;
    file.seek(SeekFrom::Start(0)).map_err(|e| failed(&e))?;
    Ok(size)
}

/// A reader that hashes its bytes.
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

/// Builds the tree of an unpacked image.
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

/// Moves a path below `from` to the same path below `to`.
fn moved(from: &TreePath, to: &TreePath, path: &TreePath) -> Result<TreePath> {
    let rest = path.as_bytes().strip_prefix(from.as_bytes()).unwrap_or_default();
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let slash: &[u8] = if to.is_root() || rest.is_empty() { b"" } else { b"/" };
    TreePath::parse(&[to.as_bytes(), slash, rest].concat(), true)
        .map_err(|why| Error::user(format!("a container image has the path {path}, which cannot be in a node's image: {why}")))
}

impl Bake<'_> {
    /// The unpacked image that `made` resulted in, for `path`.
    pub(in crate::build) fn unpacked(&self, path: &TreePath, extraction: &Extraction) -> Result<Unpacked> {
        let gone = || Error::internal(format!("{} is gone from the store", extraction.text()));
        let Some(action) = self.recorded(&Step::Extraction(extraction)) else { return Err(gone()) };
        let text = file_of(&action).ok_or_else(gone)?;
        let pack = action.outputs.get(PACK).ok_or_else(gone)?;
        let (reference, _) = extraction.image().ok_or_else(gone)?;
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
    pub(in crate::build) fn contents_of(&self, text: &Blob) -> Result<Vec<(Sha256, u64)>> {
        let contents = |node: &Node| match &node.kind {
            Kind::File(Content::Blob { digest, size }) => Some((*digest, *size)),
            _ => None,
        };
        Ok(self.tree_of(text)?.iter().filter_map(|(_, node)| contents(node)).collect())
    }
}

/// True for a file that is built as an unpacked image.
pub(in crate::build) fn is_unpacked(extraction: &Extraction) -> bool {
    matches!(extraction.image(), Some((_, Form::Unpacked)))
}

/// The paths of a plan's unpacked images, each with its build description.
pub(in crate::build) fn planned(resolved: &Resolved) -> impl Iterator<Item = (&TreePath, &Extraction)> {
    extractions(resolved).filter(|(_, extraction)| is_unpacked(extraction))
}

impl Unpacked {
    /// The offsets of contents in the pack.
    pub(crate) fn index(&self) -> Result<PackIndex> {
        PackIndex::of(&self.tree)
    }

    /// The archive, which goes to the image's path.
    pub(crate) fn archive(&self) -> Result<PlannedKind> {
        match self.tree.get(&TreePath::fixed(ARCHIVE)).map(|node| &node.kind) {
            Some(Kind::File(Content::Blob { digest, size })) => Ok(PlannedKind::Named { digest: *digest, size: *size }),
            _ => Err(Error::internal(format!("{} was unpacked without an archive", self.reference))),
        }
    }

    /// The image's part of containerd's folder; none for an image that could not be unpacked.
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

/// Lays out containerd's folder with these images in a tree. Existing folders stay as they are.
///
/// # Errors
/// The tree has something else at the folder's path, or at a path below it.
pub(crate) fn lay(mut tree: Tree, images: &[Unpacked], epoch: Epoch) -> Result<Tree> {
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
mod tests;
