//! Contents of an initramfs. Hooks make them from the root's files. Hooks may bring one machine's own data, or make such data.

use crate::error::Result;
use crate::tree::{ContentSource, Tree};
use crate::unpack::cpio::{Member, initramfs};
use crate::value::TreePath;

use super::super::overlay::bytes_of;

/// True when this is the path of a Debian initramfs.
pub fn is_initramfs(path: &TreePath) -> bool {
    path.as_bytes().starts_with(b"boot/initrd.img-")
}

/// Shows all members of the initramfs at `path` of a tree.
///
/// # Errors
/// A file that is no initramfs; failures of `source` and `visit`.
pub fn members(
    tree: &Tree,
    source: &dyn ContentSource,
    path: &TreePath,
    visit: &mut dyn FnMut(TreePath, Member<'_>) -> Result<()>,
) -> Result<()> {
    let bytes = bytes_of(tree, source, path, super::FILE_MAX)?;
    initramfs(&bytes, &path.to_string(), visit)
}
