//! containerd's state folder with container images in it, as containerd leaves it after importing their archives.
//!
//! An image consists of its documents in the content store, its layers as snapshots of the overlay snapshotter, and the
//! records of both in two databases. Layers are not kept as blobs: containerd starts containers from snapshots, as after a
//! pull with `discard_unpacked_layers`. A label protects everything from containerd's garbage collection, even when an
//! image's name is removed, so that the name can be restored. All times are the role image's epoch. No I/O.

mod encode;
mod image;
mod metadata;
mod schema;
mod snapshots;

use std::collections::BTreeMap;

pub(crate) use image::Image;

use self::image::{Chain, Snapshot};
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Kind, Layer, Meta, Node};
use crate::common::value::{Epoch, Sha256, TreePath};

/// containerd's state folder (`root`), by default.
pub(crate) const ROOT: &str = "var/lib/containerd";
/// The list of the images and layers in the state folder, for the script that checks that they are complete: one record a
/// line, words separated by spaces.
pub(crate) const LIST: &str = "var/lib/containerd/kbake-images";
/// The folder of snapshots in [`ROOT`].
const SNAPSHOTS: &str = "/io.containerd.snapshotter.v1.overlayfs/snapshots";
/// The namespace of Kubernetes' images.
const NAMESPACE: &str = "k8s.io";
/// The snapshotter in kbake's configuration of containerd.
const SNAPSHOTTER: &str = "overlayfs";

/// Nodes by path, each folder before its contents.
pub(crate) type Nodes = BTreeMap<TreePath, Node>;

/// containerd's state folder with these images, whose names must be distinct.
///
/// # Errors
/// Documents that do not match an image's layers.
pub(crate) fn store(images: &[Image], epoch: Epoch) -> Result<Nodes> {
    let mut snapshots: Vec<Snapshot> = Vec::new();
    let mut chains = Vec::new();
    for image in images {
        let chain = image.chain()?;
        for (link, tree) in chain.links.iter().zip(&image.layers) {
            if snapshots.iter().all(|known| known.link.id != link.id) {
                snapshots.push(Snapshot { link: *link, tree });
            }
        }
        chains.push(chain);
    }
    let mut out = Out { nodes: Nodes::new(), epoch };
    out.folder(ROOT, 0o700)?;
    out.folder(&format!("{ROOT}/io.containerd.metadata.v1.bolt"), 0o711)?;
    let database = metadata::database(images, &chains, &snapshots, epoch).file()?;
    out.file(&format!("{ROOT}/io.containerd.metadata.v1.bolt/meta.db"), 0o644, database)?;
    out.content(images)?;
    out.snapshots(&snapshots)?;
    out.file(LIST, 0o644, list(images, &chains, &snapshots).into_bytes())?;
    Ok(out.nodes)
}

/// The text of [`LIST`]: a line for each image (file, name, digests), followed by its layers (chain id, parent's chain id,
/// snapshot number).
fn list(images: &[Image], chains: &[Chain], snapshots: &[Snapshot]) -> String {
    let number = |id: Sha256| snapshots.iter().position(|known| known.link.id == id).map_or(0, |at| at + 1);
    let mut text = String::new();
    for (image, chain) in images.iter().zip(chains) {
        text.push_str(&format!(
            "image {} {} sha256:{} sha256:{}\n",
            image.file,
            image.reference,
            image.target().digest,
            chain.config.digest
        ));
        for link in &chain.links {
            let parent = link.parent.map_or_else(|| "-".to_owned(), |parent| format!("sha256:{parent}"));
            text.push_str(&format!("layer sha256:{} {parent} {}\n", link.id, number(link.id)));
        }
    }
    text
}

/// Archive names by snapshot number, from the text of [`LIST`]. A layer that several images share counts for the first.
pub(crate) fn snapshots_of(list: &str) -> BTreeMap<&str, &str> {
    let (mut file, mut found) = ("", BTreeMap::new());
    for line in list.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["image", name, ..] => file = name,
            ["layer", _, _, number] => _ = found.entry(number).or_insert(file),
            _ => {}
        }
    }
    found
}

/// The number of the snapshot that contains `path`.
pub(crate) fn snapshot_at(path: &TreePath) -> Option<&str> {
    let rest = path.as_bytes().strip_prefix(ROOT.as_bytes())?.strip_prefix(SNAPSHOTS.as_bytes())?.strip_prefix(b"/")?;
    std::str::from_utf8(rest.split(|&byte| byte == b'/').next()?).ok()
}

struct Out {
    nodes: Nodes,
    epoch: Epoch,
}

impl Out {
    fn put(&mut self, path: TreePath, meta: Meta, kind: Kind) {
        self.nodes.insert(path, Node { meta, kind, layer: Layer::Role });
    }

    fn folder(&mut self, path: &str, mode: u16) -> Result<()> {
        let meta = Meta::new(mode, 0, 0, i64::from(self.epoch.seconds()));
        self.put(parse(path.as_bytes())?, meta, Kind::Dir);
        Ok(())
    }

    fn file(&mut self, path: &str, mode: u16, bytes: Vec<u8>) -> Result<()> {
        let meta = Meta::new(mode, 0, 0, i64::from(self.epoch.seconds()));
        self.put(parse(path.as_bytes())?, meta, Kind::File(Content::Inline(bytes.into())));
        Ok(())
    }

    /// [`plugins/content/local`](https://github.com/containerd/containerd/blob/v2.3.4/plugins/content/local/store.go).
    fn content(&mut self, images: &[Image]) -> Result<()> {
        let root = format!("{ROOT}/io.containerd.content.v1.content");
        for folder in ["", "/blobs", "/blobs/sha256", "/ingest"] {
            self.folder(&format!("{root}{folder}"), 0o755)?;
        }
        for (descriptor, bytes) in images.iter().flat_map(Image::documents) {
            self.file(&format!("{root}/blobs/sha256/{}", descriptor.digest), 0o444, bytes.to_vec())?;
        }
        Ok(())
    }

    /// [`plugins/snapshots/overlay`](https://github.com/containerd/containerd/blob/v2.3.4/plugins/snapshots/overlay/overlay.go).
    fn snapshots(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        let root = format!("{ROOT}/io.containerd.snapshotter.v1.overlayfs");
        self.folder(&root, 0o700)?;
        self.file(&format!("{root}/metadata.db"), 0o600, snapshots::database(snapshots, self.epoch).file()?)?;
        self.folder(&format!("{root}/snapshots"), 0o700)?;
        for (number, snapshot) in (1..).zip(snapshots) {
            self.folder(&format!("{root}/snapshots/{number}"), 0o700)?;
            let files = parse(format!("{root}/snapshots/{number}/fs").as_bytes())?;
            for (path, node) in snapshot.tree.iter() {
                let kind = match &node.kind {
                    Kind::HardLink(target) => Kind::HardLink(below(&files, target)?),
                    kind => kind.clone(),
                };
                self.put(below(&files, path)?, node.meta.clone(), kind);
            }
        }
        Ok(())
    }
}

fn below(folder: &TreePath, path: &TreePath) -> Result<TreePath> {
    if path.is_root() { Ok(folder.clone()) } else { parse(&[folder.as_bytes(), b"/", path.as_bytes()].concat()) }
}

fn parse(path: &[u8]) -> Result<TreePath> {
    TreePath::parse(path, false).map_err(|why| Error::user(format!("a container image has a path that is too long for the node: {why}")))
}
