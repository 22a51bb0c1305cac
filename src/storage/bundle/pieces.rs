//! Bundle files: one file, or numbered pieces to be concatenated.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::common::error::{Error, Result};
use crate::common::fsx::{self, EarlySync, Temp};
use crate::common::value::Size;

/// Minimum number of digits in a piece's number.
const DIGITS: usize = 3;
/// The most pieces of a bundle: all are open until the last one is complete.
const PIECES_MAX: u64 = 512;
/// One byte more than the largest file on FAT32. `--split 4G` means the largest piece that fits.
const FAT32_FULL: u64 = 4 << 30;
/// Bytes between two background syncs.
const EARLY: u64 = 32 << 20;

/// The name of piece `number` of the bundle `whole`.
pub(crate) fn piece(whole: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(whole);
    name.push(format!(".{number:0DIGITS$}"));
    name.into()
}

/// The bundle name and piece number in a piece's file name.
fn whole(file: &Path) -> Option<(PathBuf, usize)> {
    let digits = file.extension()?.to_str()?;
    let number = digits.parse().ok().filter(|_| digits.len() >= DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    let whole = file.with_extension("");
    (piece(&whole, number) == file).then_some((whole, number))
}

/// The first file of a bundle named by one file; for a bundle in pieces also the pieces' common name.
fn found(file: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let Some((stem, number)) = whole(file) else {
        let start = piece(file, 0);
        return Ok(match !fsx::exists(file)? && fsx::exists(&start)? {
            true => (start, Some(file.to_owned())),
            false => (file.to_owned(), None),
        });
    };
    // Digits at the end may also be a date in a bundle's name.
    let lonely = number != 0 && !fsx::exists(&piece(&stem, 0))?;
    Ok((file.to_owned(), (!lonely).then_some(stem)))
}

/// Refuses to write a bundle over one that it is made from.
///
/// # Errors
/// `to`, or one of its pieces if it is `split`, is a file of the bundle `from` or its pieces' common name.
pub(crate) fn refuse_over(to: &Path, split: bool, from: &Path) -> Result<()> {
    let (first, stem) = found(from)?;
    let mut names = vec![first];
    if let Some(stem) = stem {
        let mut next = piece(&stem, 1);
        while fsx::exists(&next)? {
            names.push(next);
            next = piece(&stem, names.len());
        }
        names.push(stem);
    }
    let to_place = place(to)?;
    for name in names {
        let place = place(&name)?;
        if place == to_place || (split && whole(&place).is_some_and(|(stem, number)| stem == to_place && (number as u64) < PIECES_MAX)) {
            let what = format!("the bundle {} would replace {}, which it is made from", to.display(), from.display());
            return Err(Error::user(what).hint("name another file with --out"));
        }
    }
    Ok(())
}

/// The canonical path of a file that may not exist yet.
fn place(file: &Path) -> Result<PathBuf> {
    if fsx::exists(file)? {
        return fsx::canonical(file);
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = if fsx::exists(folder)? { fsx::canonical(folder)? } else { folder.to_owned() };
    Ok(folder.join(file.file_name().unwrap_or_default()))
}

/// Bundle files, open for reading.
#[derive(Debug)]
pub struct Files {
    current: File,
    /// The first file, for messages.
    shown: PathBuf,
    /// For a bundle in pieces: the common name and the number of the next piece.
    next: Option<(PathBuf, usize)>,
    /// The next piece, if it does not exist.
    awaited: Option<PathBuf>,
}

impl Files {
    /// Opens a bundle: `files` are the bundle, or its first piece, or all its pieces in order, or the pieces' common name.
    ///
    /// # Errors
    /// A wrong order of pieces, or files of different bundles.
    pub fn open(files: &[PathBuf]) -> Result<Files> {
        let Some(first) = files.first() else { return Err(Error::internal("no bundle file is named")) };
        if let [file] = files {
            let (start, stem) = found(file)?;
            if stem.is_none() || whole(file).is_none() {
                return Self::start(&start, stem.map(|stem| (stem, 1)));
            }
        }
        let Some((stem, _)) = whole(first) else {
            return Err(Error::user(format!("{} is not a piece of a bundle, but several files are named", first.display()))
                .hint(format!("name one bundle; pieces end with .{:0DIGITS$}, .{:0DIGITS$} and so on", 0, 1)));
        };
        for (number, file) in files.iter().enumerate() {
            let expected = piece(&stem, number);
            if *file != expected {
                return Err(Error::user(format!("expected the piece {}, found {}", expected.display(), file.display()))
                    .hint("name the first piece of the bundle, or all in order"));
            }
        }
        Self::start(first, Some((stem, 1)))
    }

    fn start(file: &Path, next: Option<(PathBuf, usize)>) -> Result<Files> {
        Ok(Files { current: fsx::open_given(file)?, shown: file.to_owned(), next, awaited: None })
    }

    /// The bundle's file, or its first piece.
    pub fn name(&self) -> &Path {
        &self.shown
    }

    /// Adds the bundle's name, and the piece that may be missing, to an error.
    pub fn explain(&self, error: Error) -> Error {
        let error = error.detail(format!("the bundle is {}", self.shown.display()));
        match &self.awaited {
            Some(piece) => error.detail(format!("the piece {} does not exist", piece.display())),
            None => error,
        }
    }
}

impl Read for Files {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.current.read(buffer)?;
            let Some((stem, number)) = &mut self.next else { return Ok(n) };
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let piece = piece(stem, *number);
            if !fsx::exists(&piece)? {
                self.awaited = Some(piece);
                return Ok(0);
            }
            self.current = fsx::open_read(&piece)?;
            *number += 1;
        }
    }
}

/// The size of a piece for `--split`, in bytes.
fn piece_size(split: u64) -> u64 {
    if split == FAT32_FULL { split - 1 } else { split }
}

/// A bundle being written, in temporary files.
pub(crate) struct Output {
    to: PathBuf,
    /// Size limit of a piece in bytes; none for one file.
    split: Option<u64>,
    files: Vec<Temp>,
    /// Bytes left in the last file.
    room: u64,
    early: EarlySync,
    /// Bytes written since the last background sync began.
    untold: u64,
}

impl Output {
    /// Begins a bundle of `len` bytes at `to`, in pieces of at most `split` bytes if given (4 GiB count as one byte less).
    ///
    /// # Errors
    /// [`crate::Class::NoSpace`] if the disk has fewer bytes free; an existing file that would be read as part of the bundle.
    pub(crate) fn create(to: &Path, len: u64, split: Option<u64>) -> Result<Output> {
        let split = split.map(piece_size);
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fsx::create_closed(folder)?;
        let free = fsx::free_space(folder)?;
        if free < len {
            return Err(Error::new(crate::Class::NoSpace, format!("not enough space for the bundle {}", to.display()))
                .detail(format!("needed {}  free {}", Size(len), Size(free)))
                .hint("name a file on a larger disk with --out"));
        }
        if let Some(split) = split {
            if split == 0 {
                return Err(Error::user("the size of pieces must not be 0"));
            }
            let count = len.div_ceil(split);
            if count > PIECES_MAX {
                let enough = len.div_ceil(PIECES_MAX << 20);
                return Err(Error::user(format!("the bundle would have {count} pieces, the limit is {PIECES_MAX}"))
                    .hint(format!("its size is {}: use larger pieces, at least `--split {enough}MiB`", Size(len))));
            }
            if fsx::exists(to)? {
                return Err(Error::user(format!("{} already exists and would be read instead of the pieces", to.display()))
                    .hint("remove it, or name another bundle with --out"));
            }
            let behind = piece(to, usize::try_from(len.div_ceil(split)).unwrap_or(usize::MAX));
            if fsx::exists(&behind)? {
                return Err(Error::user(format!("{} already exists and would be read as a piece of this bundle", behind.display()))
                    .hint("remove it and the following pieces, or name another bundle with --out"));
            }
        }
        Ok(Output { to: to.to_owned(), split, files: Vec::new(), room: 0, early: EarlySync::start(), untold: 0 })
    }

    /// Syncs all files and renames them to their final names, which it returns.
    pub(crate) fn finish(self) -> Result<Vec<PathBuf>> {
        self.early.finish().map_err(|e| Error::io(format!("write {}", self.to.display()), &e))?;
        let mut names = Vec::new();
        for (number, file) in self.files.into_iter().enumerate() {
            let name = if self.split.is_some() { piece(&self.to, number) } else { self.to.clone() };
            file.replace(&name, 0o644)?;
            names.push(name);
        }
        Ok(names)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.room == 0 {
            self.files.push(Temp::beside(&self.to)?);
            self.room = self.split.unwrap_or(u64::MAX);
        }
        let most = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        let Some(file) = self.files.last_mut() else { return Ok(0) };
        let n = file.write(&bytes[..most])?;
        self.room -= n as u64;
        self.untold += n as u64;
        if self.untold >= EARLY || self.room == 0 {
            self.early.begin(file)?;
            self.untold = 0;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_4_gib_fit_on_fat32() {
        let asked = |text: &str| piece_size(text.parse::<Size>().unwrap().0);
        assert_eq!(["4G", "4GiB", "4096M"].map(asked), [u64::from(u32::MAX); 3]);
        assert_eq!(["1K", "2GiB", "5GiB"].map(asked), [1 << 10, 2 << 30, 5 << 30]);
    }
}
