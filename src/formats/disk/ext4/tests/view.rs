//! Reads images back with ext4-view, which verifies every checksum on its way.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::debugfs::contents;
use super::image::Sample;
use crate::common::tree::Kind;
use crate::common::value::TreePath;

struct Disk(File);

impl ext4_view::Ext4Read for Disk {
    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.read_exact_at(buffer, at)?)
    }
}

pub(crate) fn load(image: &Path) -> ext4_view::Ext4 {
    ext4_view::Ext4::load(Box::new(Disk(File::open(image).unwrap()))).unwrap()
}

/// Panics if ext4-view finds other names, kinds, owners, modes, targets or contents than the tree's.
pub(crate) fn compare(sample: &Sample, image: &Path) {
    let ext4 = load(image);
    let absolute = |path: &TreePath| [b"/", path.as_bytes()].concat();
    for (path, node) in sample.tree.iter() {
        let (node, name) = match &node.kind {
            Kind::HardLink(target) => (sample.tree.get(target).unwrap(), absolute(path)),
            _ => (node, absolute(path)),
        };
        let name = ext4_view::Path::try_from(name.as_slice()).unwrap();
        let meta = ext4.symlink_metadata(name).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (node.meta.uid, node.meta.gid), "{path}");
        assert_eq!(meta.mode() & 0o7777, node.meta.mode, "{path}");
        match &node.kind {
            Kind::Dir => {
                let found: BTreeSet<Vec<u8>> =
                    ext4.read_dir(name).unwrap().map(|entry| entry.unwrap().file_name().as_ref().to_vec()).collect();
                let mut wanted: BTreeSet<Vec<u8>> = [b".".to_vec(), b"..".to_vec()].into();
                let inside = sample.tree.below(path).filter(|(child, _)| child.parent().as_ref() == Some(path));
                wanted.extend(inside.map(|(child, _)| child.name().to_vec()));
                if path.is_root() {
                    wanted.insert(b"lost+found".to_vec());
                }
                assert_eq!(found, wanted, "{path}");
            }
            Kind::File(content) => assert!(ext4.read(name).unwrap() == contents(sample, content), "{path}: contents"),
            Kind::Symlink(target) => assert_eq!(ext4.read_link(name).unwrap().as_ref(), target, "{path}"),
            Kind::CharDev { .. } => assert!(meta.file_type().is_char_dev(), "{path}"),
            Kind::BlockDev { .. } => assert!(meta.file_type().is_block_dev(), "{path}"),
            Kind::Fifo => assert!(meta.file_type().is_fifo(), "{path}"),
            Kind::Socket => assert!(meta.file_type().is_socket(), "{path}"),
            Kind::HardLink(_) => unreachable!(),
        }
    }
}
