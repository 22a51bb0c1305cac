//! haproxy before the API servers; its configuration comes with the seed.

use crate::render::image::Entry;

/// The part's files.
pub fn entries() -> Vec<Entry> {
    Vec::new()
}
