//! Pages: a header, elements of fixed size, then keys and values
//! ([`page.go`](https://github.com/etcd-io/bbolt/blob/v1.4.3/internal/common/page.go),
//! [`meta.go`](https://github.com/etcd-io/bbolt/blob/v1.4.3/internal/common/meta.go)). Numbers are little-endian.

use std::ops::Range;

/// The page size in bytes: that of memory pages on amd64 and arm64.
pub(super) const PAGE: usize = 4096;
/// `PageHeaderSize`: number, type, element count, overflow pages.
const HEADER: usize = 16;
/// `LeafPageElementSize` and `BranchPageElementSize`.
const ELEMENT: usize = 16;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const META: u16 = 0x04;
const FREELIST: u16 = 0x10;

/// `Magic` and `Version` of a meta page.
const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// The page of the free list; pages with contents follow.
const FREE: u64 = 2;
/// The fewest children of a branch page (`MinKeysPerPage`): a branch with one child would be superfluous.
const CHILDREN_MIN: usize = 2;

/// An entry of a leaf page.
pub(super) struct Leaf<'a> {
    /// The value is a bucket (`BucketLeafFlag`).
    pub is_bucket: bool,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: Vec<u8>,
}

/// A child of a branch page.
struct Child<'a> {
    /// The first key below the child.
    key: &'a [u8],
    page: u64,
}

/// A file under construction.
pub(super) struct Pages {
    bytes: Vec<u8>,
}

impl Pages {
    /// Starts with the pages before all contents; the meta pages are written last.
    pub(super) fn new() -> Self {
        let mut pages = Pages { bytes: vec![0; FREE as usize * PAGE] };
        pages.push(&header(FREE, FREELIST, 0, PAGE));
        pages
    }

    /// Appends a page with its overflow. Returns its number.
    fn push(&mut self, page: &[u8]) -> u64 {
        let number = self.next();
        self.bytes.extend_from_slice(page);
        self.bytes.resize(self.bytes.len().next_multiple_of(PAGE), 0);
        number
    }

    fn next(&self) -> u64 {
        (self.bytes.len() / PAGE) as u64
    }

    /// Writes the entries as leaf pages, and branch pages over them. Returns the root's number.
    pub(super) fn tree(&mut self, leaves: &[Leaf]) -> u64 {
        let sizes: Vec<usize> = leaves.iter().map(|leaf| leaf.key.len() + leaf.value.len()).collect();
        let mut level: Vec<Child> = Vec::new();
        for range in split(&sizes, 1) {
            let part = &leaves[range];
            let page = self.push(&leaf(self.next(), part));
            level.push(Child { key: part.first().map_or(b"", |first| first.key), page });
        }
        while level.len() > 1 {
            let sizes: Vec<usize> = level.iter().map(|child| child.key.len()).collect();
            let parents = split(&sizes, CHILDREN_MIN).into_iter().map(|range| {
                let part = &level[range];
                Child { key: part[0].key, page: self.push(&branch(self.next(), part)) }
            });
            level = parents.collect();
        }
        level[0].page
    }

    /// The complete file, with this page as the root bucket's root.
    pub(super) fn finish(mut self, root: u64) -> Vec<u8> {
        let end = self.next();
        for number in 0..FREE {
            let at = number as usize * PAGE;
            let page = [header(number, META, 0, PAGE), meta(root, end, number)].concat();
            self.bytes[at..at + page.len()].copy_from_slice(&page);
        }
        self.bytes
    }
}

/// Divides elements with these sizes of keys and values into pages of at least `least` elements, each as full as
/// possible.
fn split(sizes: &[usize], least: usize) -> Vec<Range<usize>> {
    let (mut parts, mut start, mut used) = (Vec::new(), 0, HEADER);
    for (at, size) in sizes.iter().enumerate() {
        let rest = sizes.len() - at;
        if at - start >= least && rest >= least && used + ELEMENT + size > PAGE {
            parts.push(start..at);
            (start, used) = (at, HEADER);
        }
        used += ELEMENT + size;
    }
    parts.push(start..sizes.len());
    parts
}

/// The header of a page of `len` bytes in total.
fn header(number: u64, kind: u16, count: usize, len: usize) -> Vec<u8> {
    let overflow = len.div_ceil(PAGE) as u32 - 1;
    // `split` allows more elements than fit into 4 KiB only up to the minimum number.
    let count = count as u16;
    [&number.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &overflow.to_le_bytes()].concat()
}

/// A leaf page without padding. An inline page has the number 0.
pub(super) fn leaf(number: u64, leaves: &[Leaf]) -> Vec<u8> {
    let data: usize = leaves.iter().map(|leaf| leaf.key.len() + leaf.value.len()).sum();
    let mut elements = Vec::new();
    let mut bytes = Vec::new();
    for (at, Leaf { is_bucket, key, value }) in leaves.iter().enumerate() {
        let words = [u32::from(*is_bucket), place(leaves.len(), at, bytes.len()), key.len() as u32, value.len() as u32];
        elements.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    let len = HEADER + elements.len() + data;
    [header(number, LEAF, leaves.len(), len), elements, bytes].concat()
}

fn branch(number: u64, children: &[Child]) -> Vec<u8> {
    let mut elements = Vec::new();
    let mut bytes = Vec::new();
    for (at, Child { key, page }) in children.iter().enumerate() {
        elements.extend(place(children.len(), at, bytes.len()).to_le_bytes());
        elements.extend((key.len() as u32).to_le_bytes());
        elements.extend(page.to_le_bytes());
        bytes.extend_from_slice(key);
    }
    let len = HEADER + elements.len() + bytes.len();
    [header(number, BRANCH, children.len(), len), elements, bytes].concat()
}

/// The offset of a key from its element, the one at index `at` of `count`, after `before` bytes of keys and values.
fn place(count: usize, at: usize, before: usize) -> u32 {
    ((count - at) * ELEMENT + before) as u32
}

/// The contents of a meta page. The one with the newest transaction is valid: here the second.
fn meta(root: u64, end: u64, transaction: u64) -> Vec<u8> {
    let words = [MAGIC, VERSION, PAGE as u32, 0];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    // The root bucket's page and sequence, the free list, the end of the file, the transaction.
    bytes.extend([root, 0, FREE, end, transaction].iter().flat_map(|number| number.to_le_bytes()));
    let sum = fnv1a(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// [FNV-1a](http://www.isthe.com/chongo/tech/comp/fnv/) of 64 bits.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_full_and_no_branch_has_one_child() {
        let cuts = |sizes: &[usize], least| split(sizes, least).into_iter().map(|range| range.len()).collect::<Vec<_>>();
        assert_eq!(cuts(&[], 1), [0], "an empty bucket has one page");
        assert_eq!(cuts(&[4064], 1), [1]);
        assert_eq!(cuts(&[2024; 2], 1), [2], "to the last byte");
        assert_eq!(cuts(&[2025; 2], 1), [1, 1]);
        assert_eq!(cuts(&[5000, 1, 5000], 1), [1, 1, 1], "a long value has pages of its own");
        assert_eq!(cuts(&[5000; 5], 2), [2, 3]);
        assert_eq!(cuts(&[3000; 3], 2), [3]);
    }

    #[test]
    fn the_checksum_is_fnv() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
