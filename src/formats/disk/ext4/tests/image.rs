//! Sample trees, and a minimal writer of pieces.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;

use crate::common::testing::Blobs;
use crate::common::tree::{Content, ContentSource as _, Kind, Layer, Meta, Node, Refused, Segment, Tree};
use crate::common::value::{Epoch, TreePath};
use crate::formats::disk::ext4::{Params, Size, layout};
use crate::formats::disk::{Data, Pieces};

pub(crate) const EPOCH: u32 = 1_700_000_000;
/// The partition's size in bytes: less than a flex group, to keep images small.
pub(crate) const SMALL: u64 = 2000 << 20;

pub(crate) fn params(size: Size) -> Params {
    Params {
        uuid: *b"kbake ext4 tests",
        label: "root".to_owned(),
        hash_seed: *b"seed of the hash",
        epoch: Epoch::from_seconds(EPOCH.into()).unwrap(),
        size,
        journal_blocks: 1024,
    }
}

pub(crate) fn fit() -> Params {
    params(Size::Fit { slack: 0, room: SMALL })
}

/// A tree that is easy to fill, with its blobs.
#[derive(Clone)]
pub(crate) struct Sample {
    pub tree: Tree,
    pub blobs: Blobs,
    pub layer: Layer,
    /// The base tree, if it is not derived from the sample's own nodes.
    pub under: Option<Tree>,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let tree = Tree::new(Meta::new(0o755, 0, 0, EPOCH.into()));
        Sample { tree, blobs: Blobs::default(), layer: Layer::Base, under: None }
    }

    pub(crate) fn node(&mut self, path: &[u8], meta: Meta, kind: Kind) {
        let path = TreePath::parse(path, false).unwrap();
        self.tree.insert(path, Node { meta, kind, layer: self.layer }).unwrap();
    }

    pub(crate) fn add(&mut self, path: &str, kind: Kind) {
        self.node(path.as_bytes(), Meta::new(0o755, 0, 0, EPOCH.into()), kind);
    }

    pub(crate) fn dir(&mut self, path: &str) {
        self.add(path, Kind::Dir);
    }

    pub(crate) fn file(&mut self, path: &str, bytes: &[u8]) {
        let content = self.blob(bytes);
        self.add(path, Kind::File(content));
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) -> Content {
        self.blobs.content(bytes)
    }

    pub(crate) fn segment(&mut self, offset: u64, bytes: &[u8]) -> Segment {
        let Content::Blob { digest, size } = self.blob(bytes) else { unreachable!() };
        Segment { offset, digest, size }
    }

    pub(crate) fn xattr(&mut self, path: &str, name: &str, value: &[u8]) {
        let meta = self.tree.meta_mut(&TreePath::fixed(path)).unwrap();
        meta.xattrs.insert(name.as_bytes().to_vec(), value.to_vec());
    }

    /// The base tree: by default the sample's nodes of the base that are complete without the role.
    pub(crate) fn base(&self) -> Tree {
        if let Some(under) = &self.under {
            return under.clone();
        }
        let mut nodes = self.tree.iter().filter(|(_, node)| node.layer == Layer::Base);
        let mut base = Tree::new(nodes.next().unwrap().1.meta.clone());
        let (links, others): (Vec<_>, Vec<_>) = nodes.partition(|(_, node)| matches!(node.kind, Kind::HardLink(_)));
        for (path, node) in others.into_iter().chain(links) {
            match base.insert(path.clone(), node.clone()) {
                Ok(()) | Err(Refused::NoParent(_) | Refused::BadLink(_)) => {}
                Err(refused) => panic!("{refused}"),
            }
        }
        base
    }

    /// The layout over the base.
    pub(crate) fn pieces(&self, params: &Params) -> Pieces {
        layout(&self.tree, &self.base(), params).unwrap()
    }

    /// Writes the image to a file and checks it with e2fsck.
    pub(crate) fn image(&self, params: &Params) -> NamedTempFile {
        let file = write(&self.pieces(params), &self.blobs);
        fsck(file.path());
        file
    }
}

/// Bytes that differ from block to block and from seed to seed, and are not zero.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&(state | 0x0101_0101_0101_0101).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes pieces as every writer may: in one pass, each blob read once from start to end.
pub(crate) fn write(pieces: &Pieces, blobs: &Blobs) -> NamedTempFile {
    let temp = NamedTempFile::new().unwrap();
    write_to(temp.as_file(), pieces, blobs);
    temp
}

fn write_to(file: &File, pieces: &Pieces, blobs: &Blobs) {
    file.set_len(pieces.len()).unwrap();
    let mut reader: Option<Box<dyn Read + Send + '_>> = None;
    for piece in pieces.iter() {
        match &piece.data {
            Data::Bytes(bytes) => file.write_all_at(bytes, piece.at).unwrap(),
            Data::Blob { digest, size, offset, len } => {
                if *offset == 0 {
                    reader = Some(blobs.open(digest, *size).unwrap());
                }
                let mut buffer = vec![0; *len as usize];
                reader.as_mut().unwrap().read_exact(&mut buffer).unwrap();
                file.write_all_at(&buffer, piece.at).unwrap();
            }
        }
    }
}

/// Runs a host tool; returns its exit code and all its output.
pub(crate) fn tool(name: &str, args: &[&str]) -> (i32, Vec<u8>) {
    // Distributions install these tools in sbin.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let result = Command::new(name).args(args).env("PATH", path).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").output();
    let output = match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => panic!("{name} is missing: run tests/setup.sh"),
        result => result.unwrap(),
    };
    let mut said = output.stdout;
    said.extend_from_slice(&output.stderr);
    (output.status.code().unwrap_or(-1), said)
}

pub(crate) fn fsck(image: &Path) {
    let (code, said) = tool("e2fsck", &["-fn", image.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&said);
    assert!(code == 0 && !said.to_lowercase().contains("fix"), "e2fsck -fn says {code}:\n{said}");
}
