//! Contents of an initramfs. Hooks generate it from the root's files, and may add data of one machine.

use crate::common::error::Result;
use crate::common::tree::{ContentSource, Tree};
use crate::common::value::TreePath;
use crate::formats::archive::cpio::{Member, initramfs};

use super::super::overlay::bytes_of;

/// True when this is the path of a Debian initramfs.
pub(super) fn is_initramfs(path: &TreePath) -> bool {
    path.as_bytes().starts_with(b"boot/initrd.img-")
}

/// Visits all members of the initramfs at `path` of a tree.
///
/// # Errors
/// A file that is not an initramfs; failures of `source` and `visit`.
pub(super) fn members(
    tree: &Tree,
    source: &dyn ContentSource,
    path: &TreePath,
    visit: &mut dyn FnMut(TreePath, Member<'_>) -> Result<()>,
) -> Result<()> {
    let bytes = bytes_of(tree, source, path, super::FILE_MAX)?;
    initramfs(&bytes, &path.to_string(), visit)
}
