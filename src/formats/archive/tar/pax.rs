//! Extended headers: records `length key=value\n` before an entry ([POSIX
//! pax](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_03)).
//!
//! A key that would change the entry in an unsupported way is refused, and so is a duplicate key: readers disagree on
//! which one applies.

use std::collections::BTreeMap;

use crate::common::value::escape;
use crate::formats::archive::shown;

/// The longest attribute value in Linux (`XATTR_SIZE_MAX`), in bytes.
const XATTR_VALUE_MAX: usize = 64 << 10;
/// The longest attribute name in Linux (`XATTR_NAME_MAX`), in bytes.
const XATTR_NAME_MAX: usize = 255;
/// Keys without influence on a tree: owners are numeric, and other times are not kept.
const IGNORED: [&[u8]; 12] = [
    b"comment",
    b"atime",
    b"ctime",
    b"uname",
    b"gname",
    b"LIBARCHIVE.creationtime",
    b"LIBARCHIVE.symlinktype",
    b"SCHILY.dev",
    b"SCHILY.ino",
    b"SCHILY.nlink",
    b"SCHILY.filetype",
    b"SCHILY.fflags",
];

/// An extended header's values for the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    /// The name.
    pub path: Option<Vec<u8>>,
    /// The target of a link.
    pub linkpath: Option<Vec<u8>>,
    /// The number of bytes that follow in the archive.
    pub size: Option<u64>,
    /// Numeric owner.
    pub uid: Option<u32>,
    /// Numeric group.
    pub gid: Option<u32>,
    /// Seconds since 1970, rounded down.
    pub mtime: Option<i64>,
    /// Extended attributes by full name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// `GNU.sparse.*` without that prefix.
    pub sparse: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Pax {
    /// Parses the records of an entry's extended header (type `x`).
    pub(super) fn parse(records: &[u8]) -> Result<Self, String> {
        let mut found: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for record in Records(records) {
            let (key, value) = record?;
            if found.insert(key, value).is_some() {
                return Err(format!("has `{}` twice in its extended header", shown(key)));
            }
        }
        let mut pax = Pax::default();
        for (key, value) in &found {
            pax.take(key, value).map_err(|reason| format!("has an extended header whose `{}` {reason}", shown(key)))?;
        }
        for name in found.keys().filter_map(|key| key.strip_prefix(b"LIBARCHIVE.xattr.".as_slice())) {
            // bsdtar writes each attribute in both forms; the other one needs no decoding.
            if !pax.xattrs.contains_key(name) {
                return Err(format!("has the attribute `{}` in libarchive's own form only, which is not read", shown(name)));
            }
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.".as_slice()) {
            check_xattr(name, value)?;
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        if let Some(name) = key.strip_prefix(b"GNU.sparse.".as_slice()) {
            self.sparse.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        if IGNORED.contains(&key) || key.starts_with(b"LIBARCHIVE.xattr.") {
            return Ok(());
        }
        match key {
            // An empty value cancels that of a global header; global headers have no effect here.
            b"path" => self.path = (!value.is_empty()).then(|| value.to_vec()),
            b"linkpath" => self.linkpath = (!value.is_empty()).then(|| value.to_vec()),
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, id)?,
            b"gid" => self.gid = optional(value, id)?,
            b"mtime" => self.mtime = optional(value, seconds)?,
            b"hdrcharset" | b"charset" if [b"BINARY".as_slice(), b"ISO-IR 10646 2000 UTF-8"].contains(&value) => {}
            _ => return Err(format!("(`{}`) is not understood", escape(&value[..value.len().min(64)]))),
        }
        Ok(())
    }
}

/// Checks that a global header (type `g`) has only comments: `git archive` stores the commit there.
pub(super) fn check_global(records: &[u8]) -> Result<(), String> {
    for record in Records(records) {
        let (key, _) = record?;
        if key != b"comment" {
            return Err(format!("`{}` in a global header is not understood", shown(key)));
        }
    }
    Ok(())
}

/// Parses a decimal number of digits only.
pub(super) fn decimal(value: &[u8]) -> Result<u64, String> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let parsed = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("`{}` is not a number", escape(&value[..value.len().min(64)])))
}

struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let Some((key, value, after)) = split_record(rest) else {
            return Some(Err(format!("has a broken extended header at `{}`", escape(&rest[..rest.len().min(32)]))));
        };
        self.0 = after;
        Some(Ok((key, value)))
    }
}

/// Splits off a record: key, value and the rest. The length counts the whole record, including itself and the line
/// feed.
fn split_record(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = rest.iter().take(20).position(|&b| b == b' ')?;
    let len = usize::try_from(decimal(&rest[..space]).ok()?).ok()?;
    let record = rest.get(..len)?.strip_suffix(b"\n")?.get(space + 1..)?;
    let equals = record.iter().position(|&b| b == b'=')?;
    (equals > 0).then(|| (&record[..equals], &record[equals + 1..], &rest[len..]))
}

fn optional<T>(value: &[u8], read: impl Fn(&[u8]) -> Result<T, String>) -> Result<Option<T>, String> {
    if value.is_empty() { Ok(None) } else { read(value).map(Some) }
}

fn id(value: &[u8]) -> Result<u32, String> {
    let id = decimal(value)?;
    u32::try_from(id).ok().filter(|&id| id < u32::MAX).ok_or_else(|| format!("{id} is out of range"))
}

/// Parses `1234.56` or `-1.5`, rounded down to whole seconds.
fn seconds(value: &[u8]) -> Result<i64, String> {
    let bad = || format!("`{}` is not a time", escape(&value[..value.len().min(64)]));
    let (negative, rest) = value.strip_prefix(b"-").map_or((false, value), |rest| (true, rest));
    let dot = rest.iter().position(|&b| b == b'.');
    let (whole, fraction) = dot.map_or((rest, b"".as_slice()), |dot| (&rest[..dot], &rest[dot + 1..]));
    if !fraction.iter().all(u8::is_ascii_digit) || fraction.len() > 32 {
        return Err(bad());
    }
    let whole = i64::try_from(decimal(whole).map_err(|_| bad())?).map_err(|_| bad())?;
    let part = fraction.iter().any(|&b| b != b'0');
    Ok(if negative { -whole - i64::from(part) } else { whole })
}

fn check_xattr(name: &[u8], value: &[u8]) -> Result<(), String> {
    let spaced = [b"user.".as_slice(), b"security.", b"trusted.", b"system."]
        .iter()
        .any(|space| name.len() > space.len() && name.starts_with(space));
    if !spaced || name.len() > XATTR_NAME_MAX || name.contains(&0) {
        return Err("is not an attribute that Linux supports".into());
    }
    // GNU tar writes `=` as `%3D`, others write it plain: the name would be ambiguous.
    if name.contains(&b'%') {
        return Err("is a name that tars write in two ways".into());
    }
    if value.len() > XATTR_VALUE_MAX {
        return Err(format!("has a value of {} bytes, {XATTR_VALUE_MAX} are allowed", value.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let digits = (1..).find(|digits| (body + digits).to_string().len() == *digits).unwrap();
        [format!("{} {key}=", body + digits).as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn binary_attribute_values_are_complete() {
        let value = b"\x01\0\0\x02\n\0=\0 \n";
        let pax = Pax::parse(&[record("SCHILY.xattr.security.capability", value), record("mtime", b"7.5")].concat()).unwrap();
        assert_eq!(pax.xattrs[b"security.capability".as_slice()], value);
        assert_eq!(pax.mtime, Some(7));
    }

    #[test]
    fn times_round_down() {
        for (text, expected) in [
            ("0", Some(0)),
            ("12.", Some(12)),
            ("12.999", Some(12)),
            ("-1.5", Some(-2)),
            ("-1.0", Some(-1)),
            ("1e3", None),
            (".5", None),
            ("+1", None),
            ("--1", None),
        ] {
            assert_eq!(seconds(text.as_bytes()).ok(), expected, "{text}");
        }
    }

    #[test]
    fn odd_records_are_refused() {
        let cases: &[(&[u8], &str)] = &[
            (b"x", "broken"),
            (b"5 a=b\n", "broken"),
            (b"7 a=b\n", "broken"),
            (b"6 a=b\n6 a=c\n", "twice"),
            (b"+6 a=b\n", "broken"),
            (b"99999999999999999999 a=b\n", "broken"),
            (b"5 =b\n", "broken"),
            (b"0 \n", "broken"),
            (b"9 uid=-1\n", "`-1` is not a number"),
            (b"18 uid=4294967295\n", "out of range"),
            (b"6 a=b\n", "`a` (`b`) is not understood"),
        ];
        for (bytes, expected) in cases {
            let reason = Pax::parse(bytes).unwrap_err();
            assert!(reason.contains(expected), "{}: {reason}", escape(bytes));
        }
        assert!(Pax::parse(&record("SCHILY.acl.access", b"user::rwx")).unwrap_err().contains("not understood"));
        assert!(Pax::parse(&record("LIBARCHIVE.xattr.user.a", b"eA==")).unwrap_err().contains("libarchive"));
        assert!(check_global(&record("path", b"/etc/shadow")).unwrap_err().contains("global"));
        assert!(check_global(&record("comment", b"0123")).is_ok());
    }
}
