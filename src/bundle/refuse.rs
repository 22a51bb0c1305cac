//! What to tell of a bundle that is not as it must be.

use crate::error::Error;
use crate::oci::tar::{self, BLOCK};
use crate::value::escape;

/// Where it is wrong.
pub enum Place<'a> {
    /// At its first bytes.
    Start,
    /// In the file of this name, behind its header.
    Inside(&'a str),
    /// At the header of the file of this name.
    Header {
        /// The file that must come.
        name: &'a str,
        /// The block that must stand there, where there is only one.
        expected: Option<&'a [u8]>,
        /// The block that does.
        found: &'a [u8],
    },
    /// Behind its last byte.
    Behind,
}

/// The error for it.
pub fn refuse(place: Place<'_>, why: &str) -> Error {
    match place {
        Place::Start => Error::user(format!("this is no bundle: {why}"))
            .hint("`kbake bundle create` makes bundles; of one in pieces, give the first piece or all in their order"),
        Place::Inside(name) => unsound(format!("at {name}: {why}")),
        Place::Header { name, expected, found } => unsound(format!("{name} must come next, and {}", header(expected, found))),
        Place::Behind => unsound(why.to_owned()),
    }
}

fn unsound(why: String) -> Error {
    Error::integrity("the bundle is not sound")
        .detail(why)
        .hint("it was damaged on its way, or kbake did not write it: copy it again, and compare its digest with the one at its source")
}

/// What is wrong with a header.
fn header(expected: Option<&[u8]>, found: &[u8]) -> String {
    if found.iter().all(|byte| *byte == 0) {
        return "the bundle ends before it".to_owned();
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
        _ => Some("something unknown"),
    };
    if let Some(foreign) = foreign {
        return format!("{foreign} called `{shown}` stands there");
    }
    if found[..100] != expected[..100] && expected[0] != 0 {
        return format!("`{shown}` stands there");
    }
    match (tar::size(found), tar::size(expected)) {
        (None, _) => "its size is no plain number".to_owned(),
        (Some(found), Some(expected)) if found != expected => format!("it has {found} bytes, expected {expected}"),
        _ => "its header is not as kbake writes it: its mode, owner, time or check sum is another".to_owned(),
    }
}
