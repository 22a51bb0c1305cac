//! Unique and sorted entries, for every kind of entry in a lockfile.

use std::collections::BTreeMap;

use crate::Result;
use crate::common::document::Place;

/// Required order of entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Sorted by key, as `kbake lock` writes them.
    Sorted,
    /// Any, for a lockfile that was merged by hand and is about to be rewritten.
    Any,
}

/// The entries of one kind that have been read, each with its place.
pub(super) struct Seen<'f, K> {
    places: BTreeMap<K, Place>,
    file: &'f str,
    order: Order,
}

impl<'f, K: Ord> Seen<'f, K> {
    /// No entry yet.
    pub(super) fn new(file: &'f str, order: Order) -> Self {
        Seen { places: BTreeMap::new(), file, order }
    }

    /// Adds the entry that messages call `shown`.
    ///
    /// # Errors
    /// A second entry of the same key, and one that is out of order.
    pub(super) fn add(&mut self, key: K, place: &Place, shown: &str) -> Result<()> {
        let Seen { places, file, order } = self;
        if let Some(first) = places.get(&key) {
            let error = first.note(place.error(format!("{shown} is locked twice in `{file}`")), "first here");
            return Err(error.hint("two merged branches may both have added it: remove the entry that you do not want"));
        }
        if *order == Order::Sorted && places.last_key_value().is_some_and(|(last, _)| key < *last) {
            // The bytes would be sound, but the next `kbake lock` would move lines that its change does not concern.
            let error = place.error(format!("{shown} is out of order in `{file}`: entries are sorted by name"));
            let command = relock_command(file);
            return Err(error.hint(format!("if the file was merged by hand, run `{command}`: it sorts it and keeps the locked versions")));
        }
        places.insert(key, place.clone());
        Ok(())
    }
}

/// The command that rewrites a lockfile, for the channel in the file's name.
pub(super) fn relock_command(file: &str) -> String {
    let channel = file.rsplit('/').next().and_then(|name| name.strip_suffix(".lock"));
    channel.map_or_else(|| "kbake lock".to_owned(), |channel| format!("kbake lock --channel {channel}"))
}
