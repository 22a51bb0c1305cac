//! Errors for invalid bundles.

use crate::common::error::Error;
use crate::common::value::escape;
use crate::formats::oci::tar::{self, BLOCK};

/// The place of an error in a bundle.
pub(super) enum Place<'a> {
    /// The first bytes.
    Start,
    /// The content of the file of this name.
    Inside(&'a str),
    /// A tar header.
    Header {
        /// The expected file.
        name: &'a str,
        /// The expected header block, if there is only one possible.
        expected: Option<&'a [u8]>,
        /// The found header block.
        found: &'a [u8],
    },
    /// After the last byte.
    Behind,
}

/// The error at `place`.
pub(super) fn refuse(place: Place<'_>, why: &str) -> Error {
    match place {
        Place::Start => Error::user(format!("this is not a bundle: {why}"))
            .hint("`kbake bundle create` makes bundles; for a bundle in pieces, name the first piece or all in order"),
        Place::Inside(name) => unsound(format!("at {name}: {why}")),
        Place::Header { name, expected, found } => unsound(format!("expected {name}, but {}", header(expected, found))),
        Place::Behind => unsound(why.to_owned()),
    }
}

fn unsound(why: String) -> Error {
    Error::integrity("the bundle is damaged")
        .detail(why)
        .hint("it was damaged in transfer, or not written by kbake: copy it again, and compare its digest with that of the original")
}

/// The difference between two headers.
fn header(expected: Option<&[u8]>, found: &[u8]) -> String {
    if found.iter().all(|byte| *byte == 0) {
        return "the bundle ends there".to_owned();
    }
    let expected = expected.unwrap_or(&[0; BLOCK]);
    let shown = escape(found[..100].split(|byte| *byte == 0).next().unwrap_or_default());
    let foreign = match found[156] {
        flag if flag == expected[156] => None,
        b'0' | b'\0' | b'7' => None,
        b'1' => Some("a hard link"),
        b'2' => Some("a symbolic link"),
        b'3' | b'4' => Some("a device"),
        b'5' => Some("a folder"),
        b'6' => Some("a pipe"),
        b'x' | b'g' => Some("a pax header"),
        b'L' | b'K' => Some("a GNU long name"),
        b'S' => Some("a sparse file"),
        _ => Some("an unknown entry"),
    };
    if let Some(foreign) = foreign {
        return format!("found {foreign} `{shown}`");
    }
    if found[..100] != expected[..100] && expected[0] != 0 {
        return format!("found `{shown}`");
    }
    match (tar::size(found), tar::size(expected)) {
        (None, _) => "its size is not a plain octal number".to_owned(),
        (Some(found), Some(expected)) if found != expected => format!("its size is {found} bytes, expected {expected}"),
        _ => "its header has another mode, owner, time or checksum than kbake writes".to_owned(),
    }
}
