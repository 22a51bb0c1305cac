//! The bytes of a publisher's OSV file: one JSON document, or an archive of them.

use std::io::Read;

use super::osv::{self, Record};
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Layer};
use crate::common::value::{Sha256, TreePath};
use crate::formats::archive::{Duplicates, Limits, Policy, Sink, Verdict, tar, zip};

/// The most bytes of a publisher's file.
pub(crate) const FILE_MAX: u64 = 1 << 30;
/// The most bytes of one record.
const RECORD_MAX: u64 = 16 << 20;
/// The most records of an archive.
const RECORDS_MAX: u64 = 1_000_000;
/// The most bytes of all records of an archive.
const TOTAL_MAX: u64 = 4 << 30;

/// All records of a file; `what` names it in messages.
///
/// # Errors
/// Those of [`osv::records`]; an archive that is hostile, corrupt or too large; errors of `reader`.
pub(super) fn records(reader: impl Read, what: &str) -> Result<Vec<Record>> {
    let mut bytes = Vec::new();
    reader.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|e| Error::io(format_args!("read {what}"), &e))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Error::user(format!("{what} has more than {FILE_MAX} bytes")));
    }
    let mut found = Vec::new();
    let limits = Limits { total_bytes: TOTAL_MAX, file_bytes: RECORD_MAX, entries: RECORDS_MAX, ..Limits::default() };
    let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| b"{[".contains(byte));
    if is_json {
        osv::records(&bytes, what, &mut found)?;
    } else if zip::is_zip(&bytes) {
        zip::read(&bytes, what, &limits, &mut |name, contents| match is_record(name.as_bytes()) {
            true => osv::records(&contents, &format!("{what}: {name}"), &mut found),
            false => Ok(()),
        })?;
    } else {
        let policy = Policy { limits, devices: Verdict::Refuse, duplicates: Duplicates::LastWins, ..Policy::strict(what, Layer::Base) };
        tar::read(&bytes[..], &policy, &mut Records { what, found: &mut found })?;
    }
    Ok(found)
}

fn is_record(name: &[u8]) -> bool {
    name.ends_with(b".json")
}

/// Reads each record of a tar archive.
struct Records<'a> {
    what: &'a str,
    found: &'a mut Vec<Record>,
}

impl Sink for Records<'_> {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        let mut held = Vec::new();
        bytes.read_to_end(&mut held).map_err(|e| Error::io(format_args!("read {path}"), &e))?;
        if is_record(path.as_bytes()) {
            osv::records(&held, &format!("{}: {path}", self.what), self.found)?;
        }
        Ok(Content::Blob { digest: Sha256::of(""), size })
    }
}
