//! Initial RAM disks as the kernel reads them: concatenated archives in [cpio's new
//! format](https://docs.kernel.org/driver-api/early-userspace/buffer-format.html), the last one compressed.

use std::io::Read;

use super::compress::{self, Format};
use crate::common::error::{Error, Result};
use crate::common::value::TreePath;

/// The size of a header in bytes: a magic number and 13 numbers of 8 hexadecimal digits.
const HEADER: usize = 110;
/// The magic numbers of the format without and with checksums.
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
/// The length of the magic number, and of each number after it, in bytes.
const MAGIC_LEN: usize = 6;
const NUMBER_LEN: usize = 8;
/// The numbers of the header that are read, counted from 0.
const MODE: usize = 1;
const FILE_SIZE: usize = 6;
const NAME_SIZE: usize = 11;
/// The name of an archive's last member.
const TRAILER: &[u8] = b"TRAILER!!!";
/// The alignment of names and contents.
const ALIGN: usize = 4;
/// The largest unpacked size of an initial RAM disk, in bytes: it must fit into a small machine's memory.
const UNPACKED_MAX: u64 = 1 << 30;
/// The type bits of a mode, and their values (inode(7)).
const TYPE: u32 = 0o170_000;
const FILE: u32 = 0o100_000;

/// A member's mode, and its contents or link target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// Type and permission bits.
    pub mode: u32,
    /// A file's contents, or a link's target.
    pub bytes: &'a [u8],
}

impl Member<'_> {
    /// A regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.mode & TYPE == FILE
    }
}

/// Passes all members of an initial RAM disk to `visit`, in order. `what` names it in messages.
///
/// # Errors
/// Bytes that are not an initial RAM disk, or are truncated; errors of `visit`.
pub(crate) fn initramfs(bytes: &[u8], what: &str, visit: &mut dyn FnMut(TreePath, Member<'_>) -> Result<()>) -> Result<()> {
    let mut rest = bytes;
    loop {
        // Archives are padded with zeros.
        let Some(start) = rest.iter().position(|&byte| byte != 0) else { return Ok(()) };
        rest = &rest[start..];
        if MAGICS.iter().any(|magic| rest.starts_with(magic)) {
            rest = archive(rest, what, visit)?;
        } else if Format::sniff(rest) != Format::Plain {
            let mut unpacked = Vec::new();
            let (_, mut decoded) = compress::open(rest, what, UNPACKED_MAX)?;
            decoded.read_to_end(&mut unpacked).map_err(|e| Error::io(format_args!("unpack {what}"), &e))?;
            return archive(&unpacked, what, visit).map(drop);
        } else {
            return Err(broken(what, "the data after its first part is neither an archive nor compressed"));
        }
    }
}

/// Reads one archive; returns the bytes after it.
fn archive<'a>(bytes: &'a [u8], what: &str, visit: &mut dyn FnMut(TreePath, Member<'_>) -> Result<()>) -> Result<&'a [u8]> {
    let mut at = 0;
    loop {
        let header = bytes.get(at..at + HEADER).ok_or_else(|| broken(what, "it is cut off in a header"))?;
        if !MAGICS.iter().any(|magic| header.starts_with(magic)) {
            return Err(broken(what, "a member has no magic"));
        }
        let mode = number(header, MODE, what)?;
        let (size, name_size) = (number(header, FILE_SIZE, what)? as usize, number(header, NAME_SIZE, what)? as usize);
        let name =
            bytes.get(at + HEADER..).and_then(|rest| rest.get(..name_size)).ok_or_else(|| broken(what, "it is cut off in a name"))?;
        let name = name.strip_suffix(b"\0").ok_or_else(|| broken(what, "a name does not end"))?;
        let start = (at + HEADER + name_size).next_multiple_of(ALIGN);
        let content = bytes.get(start..).and_then(|rest| rest.get(..size)).ok_or_else(|| broken(what, "it is cut off in a file"))?;
        at = (start + size).next_multiple_of(ALIGN);
        if name == TRAILER {
            return Ok(bytes.get(at..).unwrap_or_default());
        }
        let path = TreePath::parse(name, true).map_err(|why| broken(what, &why))?;
        visit(path, Member { mode, bytes: content })?;
    }
}

/// Number `index` of a header, counted from 0.
fn number(header: &[u8], index: usize, what: &str) -> Result<u32> {
    let digits = std::str::from_utf8(&header[MAGIC_LEN + NUMBER_LEN * index..][..NUMBER_LEN]).ok();
    let valid = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    valid.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or_else(|| broken(what, "a header has no numbers"))
}

fn broken(what: &str, why: &str) -> Error {
    Error::user(format!("{what} is not an initial RAM disk: {why}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An archive of these members: name, mode, contents.
    pub(crate) fn archive_of(members: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, mode, bytes) in members.iter().copied().chain([("TRAILER!!!", 0, &b""[..])]) {
            let numbers = [0, mode, 0, 0, 1, 0, bytes.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
            out.extend(b"070701");
            numbers.iter().for_each(|number| out.extend(format!("{number:08X}").bytes()));
            out.extend(name.bytes().chain([0]));
            out.resize(out.len().next_multiple_of(ALIGN), 0);
            out.extend(bytes);
            out.resize(out.len().next_multiple_of(ALIGN), 0);
        }
        out
    }

    fn names(bytes: &[u8]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        initramfs(bytes, "the initramfs", &mut |path, member| {
            names.push(format!("{path} {:o} {}", member.mode, member.bytes.len()));
            Ok(())
        })?;
        Ok(names)
    }

    #[test]
    fn plain_and_compressed_archives_follow_each_other() {
        let early = archive_of(&[(".", 0o040_755, b""), ("kernel/x.bin", 0o100_644, b"abc")]);
        let main = zstd::encode_all(&*archive_of(&[("etc", 0o040_755, b""), ("etc/a", 0o100_600, b"12345")]), 1).unwrap();
        let all = [&early[..], &[0; 512], &main].concat();
        assert_eq!(names(&all).unwrap(), ["/ 40755 0", "/kernel/x.bin 100644 3", "/etc 40755 0", "/etc/a 100600 5"]);
        assert_eq!(names(&early).unwrap().len(), 2, "uncompressed");
        assert_eq!(names(&[]).unwrap(), [] as [String; 0]);
    }

    #[test]
    fn damaged_archives_are_refused() {
        let good = archive_of(&[("etc/a", 0o100_600, b"12345")]);
        for cut in 1..good.len() - 4 {
            assert!(names(&good[..cut]).is_err(), "{cut}");
        }
        let mut odd = good.clone();
        odd[6 + 8 * 6] = b'+';
        assert!(names(&odd).unwrap_err().message().contains("no numbers"));
        odd[6 + 8 * 6] = b'F';
        assert!(names(&odd).unwrap_err().message().contains("cut off"), "a claimed size allocates no memory");
        assert!(names(b"hello").unwrap_err().message().contains("neither"));
    }
}
