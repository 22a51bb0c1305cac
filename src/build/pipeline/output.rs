//! Output paths of images: a file there may belong to something else.

use std::path::Path;

use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Kind};
use crate::common::value::{Cancel, Sha256, quote};
use crate::storage::store::Store;

/// Mode of an image: readable by all, and protected from a machine that would write to it by mistake.
pub(in crate::build) const IMAGE_MODE: u32 = 0o444;

/// Refuses to replace the file at `to` unless kbake has written it: the store has recorded its digest, has an image of that
/// digest, or `is_known` accepts it. A machine's disk may have the same name, or may have been an image once.
///
/// # Errors
/// Something else is there, or a machine uses it.
pub(in crate::build) fn require_replaceable(store: &Store, to: &Path, cancel: &Cancel, is_known: &dyn Fn(&Sha256) -> bool) -> Result<()> {
    let Some(facts) = fsx::facts(to)? else { return Ok(()) };
    if facts.kind != Kind::File {
        return Err(taken(to, "it is a link, a folder or a device, not a file written by kbake"));
    }
    if fsx::is_used_by_a_machine(to)? {
        return Err(Error::user(format!("{} is not replaced: a running machine uses it", to.display()))
            .detail("a machine runs on a disk of its own over the image (`kbake disk`), which a new image leaves as it is")
            .hint("stop the machine, or name another folder with --out"));
    }
    if store.stamp(to)?.is_some() {
        return Ok(());
    }
    let Some((digest, _)) = fsx::digest_if_present(to, cancel)? else { return Ok(()) };
    if is_known(&digest) || store.contains(&digest)? || store.last_known(to)? == Some(digest) {
        return Ok(());
    }
    Err(taken(to, "kbake did not write it, or it was changed since").detail(format!("found sha256:{digest}")))
}

fn taken(to: &Path, why: &str) -> Error {
    let word = quote(&to.display().to_string());
    Error::user(format!("{} is not replaced: {why}", to.display()))
        .hint(format!("name another folder with --out; or, if it is not needed: mv {word} {word}.old"))
}
