//! Writes files of the key-value store [bbolt](https://github.com/etcd-io/bbolt) from sorted buckets.
//!
//! A file is a B+ tree of pages ([`page.go`](https://github.com/etcd-io/bbolt/blob/v1.4.3/internal/common/page.go)):
//! two meta pages, a list of free pages, which is empty here, then branch and leaf pages, the root's last. A nested
//! bucket is a value of its parent: its root page number, or all of it if it is small. The same buckets give the same
//! bytes. No I/O.

mod page;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::page::{PAGE, Pages};
use crate::common::error::{Error, Result};

/// The longest key in bytes (`MaxKeySize`).
const KEY_MAX: usize = 32_768;
/// The longest value in bytes (`MaxValueSize`).
const VALUE_MAX: usize = (1 << 31) - 2;

/// Keys with their values, sorted by bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    sequence: u64,
    entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Value(Vec<u8>),
    Bucket(Bucket),
}

impl Bucket {
    /// An empty bucket.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets the bucket's sequence number (`NextSequence`).
    pub(crate) fn set_sequence(&mut self, last: u64) {
        self.sequence = last;
    }

    /// Sets the value of a key, replacing an existing one.
    pub(crate) fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.entries.insert(key.into(), Entry::Value(value.into()));
    }

    /// The bucket at a key, created if there is none; replaces a value.
    pub(crate) fn bucket(&mut self, key: impl Into<Vec<u8>>) -> &mut Bucket {
        let entry = self.entries.entry(key.into()).or_insert_with(|| Entry::Bucket(Bucket::new()));
        if let Entry::Value(_) = entry {
            *entry = Entry::Bucket(Bucket::new());
        }
        match entry {
            Entry::Bucket(bucket) => bucket,
            Entry::Value(_) => unreachable!("it was just replaced"),
        }
    }

    /// The file with this bucket as its root.
    ///
    /// # Errors
    /// A key that is empty or too long, a value that is too long, a value in the root, which may only hold buckets.
    pub(crate) fn file(&self) -> Result<Vec<u8>> {
        if self.entries.values().any(|entry| matches!(entry, Entry::Value(_))) {
            return Err(Error::internal("a bbolt file has buckets only at its root"));
        }
        self.check()?;
        let mut pages = Pages::new();
        let root = self.write(&mut pages);
        Ok(pages.finish(root))
    }

    fn check(&self) -> Result<()> {
        for (key, entry) in &self.entries {
            if key.is_empty() || key.len() > KEY_MAX {
                return Err(Error::internal(format!("a key of a bbolt file has {} bytes, expected 1 to {KEY_MAX}", key.len())));
            }
            match entry {
                Entry::Value(value) if value.len() > VALUE_MAX => {
                    return Err(Error::internal(format!("a value of a bbolt file has {} bytes, at most {VALUE_MAX}", value.len())));
                }
                Entry::Value(_) => {}
                Entry::Bucket(bucket) => bucket.check()?,
            }
        }
        Ok(())
    }

    /// Writes the pages of the bucket after those of its nested buckets. Returns the root page.
    fn write(&self, pages: &mut Pages) -> u64 {
        let leaves: Vec<page::Leaf> = self.entries.iter().map(|(key, entry)| entry.leaf(key, pages)).collect();
        pages.tree(&leaves)
    }

    /// The value of a nested bucket (`InBucket`): root page and sequence number; if the root is 0, the only leaf page
    /// follows.
    fn value(&self, pages: &mut Pages) -> Vec<u8> {
        let (root, inline) = match self.inline() {
            Some(page) => (0, page),
            None => (self.write(pages), Vec::new()),
        };
        [&root.to_le_bytes()[..], &self.sequence.to_le_bytes(), &inline].concat()
    }

    /// The bucket as a page inside a value, if it is small and has no nested buckets.
    fn inline(&self) -> Option<Vec<u8>> {
        let mut leaves = Vec::new();
        for (key, entry) in &self.entries {
            let Entry::Value(value) = entry else { return None };
            leaves.push(page::Leaf { is_bucket: false, key, value: value.clone() });
        }
        let page = page::leaf(0, &leaves);
        (page.len() <= PAGE / 4).then_some(page)
    }
}

impl Entry {
    fn leaf<'a>(&self, key: &'a [u8], pages: &mut Pages) -> page::Leaf<'a> {
        match self {
            Entry::Value(value) => page::Leaf { is_bucket: false, key, value: value.clone() },
            Entry::Bucket(bucket) => page::Leaf { is_bucket: true, key, value: bucket.value(pages) },
        }
    }
}
