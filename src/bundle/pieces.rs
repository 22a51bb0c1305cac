//! Bundles as files: one, or numbered pieces that are joined by putting them behind each other.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fsx::{self, EarlySync, Temp};
use crate::value::Size;

/// The digits of a piece's number; of more pieces than they can say, the numbers are longer.
const DIGITS: usize = 3;
/// The most pieces that a bundle is written in: all are open until the last one is whole.
const PIECES_MAX: u64 = 512;
/// FAT32 takes files of one byte less, and whoever says `--split 4G` means what fits.
const FAT32_FULL: u64 = 4 << 30;
/// So many bytes are written before they are sent to the disk while more are written.
const EARLY: u64 = 32 << 20;

/// The name of the piece `number` of `whole`.
pub fn piece(whole: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(whole);
    name.push(format!(".{number:0DIGITS$}"));
    name.into()
}

/// The bundle that a file is a piece of, and the piece's number.
fn whole(file: &Path) -> Option<(PathBuf, usize)> {
    let digits = file.extension()?.to_str()?;
    let number = digits.parse().ok().filter(|_| digits.len() >= DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    let whole = file.with_extension("");
    (piece(&whole, number) == file).then_some((whole, number))
}

/// The first file of a bundle that is named by one file, and if it is in pieces, the name that they have together.
fn found(file: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let Some((stem, number)) = whole(file) else {
        let start = piece(file, 0);
        return Ok(match !fsx::exists(file)? && fsx::exists(&start)? {
            true => (start, Some(file.to_owned())),
            false => (file.to_owned(), None),
        });
    };
    // A name may end with a date.
    let lonely = number != 0 && !fsx::exists(&piece(&stem, 0))?;
    Ok((file.to_owned(), (!lonely).then_some(stem)))
}

/// Refuses to write a bundle over one that it is made from.
///
/// # Errors
/// `to`, or a piece of it where it is `split`, is a file of the bundle `from`, or has the name that its pieces have together.
pub fn refuse_over(to: &Path, split: bool, from: &Path) -> Result<()> {
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
            let what = format!("the bundle {} would take the place of {}, which it is made from", to.display(), from.display());
            return Err(Error::user(what).hint("name another file with --out"));
        }
    }
    Ok(())
}

/// Where a file is or would be, without links.
fn place(file: &Path) -> Result<PathBuf> {
    if fsx::exists(file)? {
        return fsx::canonical(file);
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = if fsx::exists(folder)? { fsx::canonical(folder)? } else { folder.to_owned() };
    Ok(folder.join(file.file_name().unwrap_or_default()))
}

/// A bundle in files, open for reading.
#[derive(Debug)]
pub struct Files {
    current: File,
    /// The files that were read to their end, in bytes and number.
    shown: PathBuf,
    /// Of a bundle in pieces: its name, and the number of the next piece.
    next: Option<(PathBuf, usize)>,
    /// The piece that would have been next.
    awaited: Option<PathBuf>,
}

impl Files {
    /// Opens a bundle: `files` are the bundle, or its first piece, or all of its pieces in their order. Of a bundle in
    /// pieces its own name will do, too.
    ///
    /// # Errors
    /// A piece that is missing between others.
    pub fn open(files: &[PathBuf]) -> Result<Files> {
        let Some(first) = files.first() else { return Err(Error::internal("no bundle is named")) };
        if let [file] = files {
            let (start, stem) = found(file)?;
            if stem.is_none() || whole(file).is_none() {
                return Self::start(&start, stem.map(|stem| (stem, 1)));
            }
        }
        let Some((stem, _)) = whole(first) else {
            return Err(Error::user(format!("{} is no piece of a bundle, and other files are named beside it", first.display()))
                .hint(format!("give one bundle; the pieces of one end with .{:0DIGITS$}, .{:0DIGITS$} and so on", 0, 1)));
        };
        for (number, file) in files.iter().enumerate() {
            let expected = piece(&stem, number);
            if *file != expected {
                return Err(Error::user(format!("{} must come where {} does", expected.display(), file.display()))
                    .hint("give the first piece of the bundle, or all in their order"));
            }
        }
        Self::start(first, Some((stem, 1)))
    }

    fn start(file: &Path, next: Option<(PathBuf, usize)>) -> Result<Files> {
        Ok(Files { current: fsx::open_given(file)?, shown: file.to_owned(), next, awaited: None })
    }

    /// The bundle's name, or its first piece's.
    pub fn name(&self) -> &Path {
        &self.shown
    }

    /// What was found wrong with the bundle, with the piece that may be missing.
    pub fn explain(&self, error: Error) -> Error {
        let error = error.detail(format!("the bundle is {}", self.shown.display()));
        match &self.awaited {
            Some(piece) => error.detail(format!("the piece {} is not there", piece.display())),
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

/// So many bytes go into a piece when pieces of `split` are asked for.
fn piece_size(split: u64) -> u64 {
    if split == FAT32_FULL { split - 1 } else { split }
}

/// A bundle that is being written: files that have no names yet.
pub struct Output {
    to: PathBuf,
    /// The most bytes of a piece; none for one file.
    split: Option<u64>,
    files: Vec<Temp>,
    /// How many bytes the last file can still take.
    room: u64,
    early: EarlySync,
    /// How many bytes were written since that was told.
    untold: u64,
}

impl Output {
    /// A bundle that will be at `to`, of `len` bytes; in pieces of at most `split` bytes where that is given. Of 4 GiB they
    /// have one byte less.
    ///
    /// # Errors
    /// [`crate::Class::NoSpace`] when the disk has fewer bytes free; a file of another bundle that would be taken for one of
    /// this.
    pub fn create(to: &Path, len: u64, split: Option<u64>) -> Result<Output> {
        let split = split.map(piece_size);
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fsx::create_closed(folder)?;
        let free = fsx::free_space(folder)?;
        if free < len {
            return Err(Error::new(crate::Class::NoSpace, format!("not enough space for the bundle {}", to.display()))
                .detail(format!("needed {}  free {}", Size(len), Size(free)))
                .hint("name a larger disk with --out"));
        }
        if let Some(split) = split {
            if split == 0 {
                return Err(Error::user("pieces of no bytes cannot hold a bundle"));
            }
            let count = len.div_ceil(split);
            if count > PIECES_MAX {
                let enough = len.div_ceil(PIECES_MAX << 20);
                return Err(Error::user(format!("the bundle would be in {count} pieces, at most {PIECES_MAX} are written"))
                    .hint(format!("it has {}: make the pieces larger, `--split {enough}MiB` at least", Size(len))));
            }
            if fsx::exists(to)? {
                return Err(Error::user(format!("{} is there, and would be taken for the bundle in place of its pieces", to.display()))
                    .hint("remove it, or name another bundle with --out"));
            }
            let behind = piece(to, usize::try_from(len.div_ceil(split)).unwrap_or(usize::MAX));
            if fsx::exists(&behind)? {
                return Err(Error::user(format!("{} is there, and would be taken for a piece of this bundle", behind.display()))
                    .hint("remove it with those behind it, or name another bundle with --out"));
            }
        }
        Ok(Output { to: to.to_owned(), split, files: Vec::new(), room: 0, early: EarlySync::start(), untold: 0 })
    }

    /// Gives all files their names, once they are on the disk. Gives these names.
    pub fn finish(self) -> Result<Vec<PathBuf>> {
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
    fn pieces_of_4_gib_fit_fat32() {
        let asked = |text: &str| piece_size(text.parse::<Size>().unwrap().0);
        assert_eq!(["4G", "4GiB", "4096M"].map(asked), [u64::from(u32::MAX); 3]);
        assert_eq!(["1K", "2GiB", "5GiB"].map(asked), [1 << 10, 2 << 30, 5 << 30]);
    }
}
