//! POSIX access control lists: ext4 keeps [version 1](https://docs.kernel.org/filesystems/ext4/attributes.html), system calls
//! and trees use version 2 (`posix_acl_xattr_header` in Linux).

use crate::formats::inspect::bytes::{le16, le32};

/// Tags of entries that name a user or a group (`ACL_USER`, `ACL_GROUP`). Only these have an id.
const NAMED: [u16; 2] = [0x02, 0x08];

/// An entry: tag, permissions, and the id where the tag has one.
type Entry = (u16, u16, Option<u32>);

/// True for the name of an attribute that holds an access control list.
pub(super) fn is_list(name: &str) -> bool {
    matches!(name, "system.posix_acl_access" | "system.posix_acl_default")
}

/// The entries of a list as ext4 keeps it; none where it is malformed.
pub(super) fn stored(value: &[u8]) -> Option<Vec<Entry>> {
    let mut rest = value.strip_prefix(&1u32.to_le_bytes())?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let len = if NAMED.contains(&le16(rest, 0)) { 8 } else { 4 };
        let (entry, behind) = rest.split_at_checked(len)?;
        entries.push(entry_of(entry));
        rest = behind;
    }
    Some(entries)
}

/// The entries of a list as `getxattr(2)` returns it; none where it is malformed.
pub(super) fn shown(value: &[u8]) -> Option<Vec<Entry>> {
    let (entries, []) = value.strip_prefix(&2u32.to_le_bytes())?.as_chunks::<8>() else { return None };
    Some(entries.iter().map(|entry| entry_of(entry)).collect())
}

fn entry_of(bytes: &[u8]) -> Entry {
    let tag = le16(bytes, 0);
    (tag, le16(bytes, 2), NAMED.contains(&tag).then(|| le32(bytes, 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_give_the_same_entries() {
        let entries = Some(vec![(1, 6, None), (2, 4, Some(4711)), (4, 4, None)]);
        let on_disk = [&[1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0][..], &4711u32.to_le_bytes(), &[4, 0, 4, 0]].concat();
        let none = [0xff; 4];
        let by_call = [&[2, 0, 0, 0, 1, 0, 6, 0][..], &none, &[2, 0, 4, 0], &4711u32.to_le_bytes(), &[4, 0, 4, 0], &none].concat();
        assert_eq!(stored(&on_disk), entries);
        assert_eq!(shown(&by_call), entries);
        for cut in 1..4 {
            assert_eq!(stored(&on_disk[..on_disk.len() - cut]), None, "{cut} bytes less");
            assert_eq!(shown(&by_call[..by_call.len() - cut]), None, "{cut} bytes less");
        }
        assert_eq!((stored(&by_call), shown(&on_disk)), (None, None), "each has its own version");
    }
}
