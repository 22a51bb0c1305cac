//! A disk as a raw file, byte for byte, with holes instead of zeros.
//!
//! A cross-check of the qcow2 writer: it walks the pieces on its own, without clusters.

use std::io::{Seek, SeekFrom, Write};

use super::blob::Blobs;
use super::{ContentSource, Data, Pieces};
use crate::common::error::{Error, Result};
use crate::common::value::Cancel;

/// The step of reading and writing, in bytes; a step of zeros stays a hole.
const STEP: u64 = 32 << 10;

/// Writes the disk to `out`, which is empty.
///
/// # Errors
/// Errors of the source and of `out`; a blob that is shorter or longer than its size; cancellation.
pub fn write(pieces: &Pieces, source: &dyn ContentSource, out: &mut (impl Write + Seek), cancel: &Cancel) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("write the raw disk", &e);
    let mut blobs = Blobs::new(source);
    let mut buffer = Vec::with_capacity(STEP as usize);
    let mut end = 0;
    for piece in pieces.iter() {
        let len = piece.data.len();
        let mut at = 0;
        while at < len {
            cancel.check()?;
            let step = STEP.min(len - at) as usize;
            match &piece.data {
                Data::Bytes(bytes) => {
                    buffer.clear();
                    buffer.extend_from_slice(&bytes[at as usize..][..step]);
                }
                Data::Blob { digest, size, offset, .. } => {
                    buffer.resize(step, 0);
                    blobs.read(*digest, *size, offset + at, &mut buffer)?;
                }
            }
            if buffer.iter().any(|&byte| byte != 0) {
                out.seek(SeekFrom::Start(piece.at + at)).map_err(failed)?;
                out.write_all(&buffer).map_err(failed)?;
                end = piece.at + at + step as u64;
            }
            at += step as u64;
        }
    }
    if end < pieces.len() {
        // Writing the last byte sets the file's length; `Write` has no `set_len`.
        out.seek(SeekFrom::Start(pieces.len() - 1)).map_err(failed)?;
        out.write_all(&[0]).map_err(failed)?;
    }
    out.flush().map_err(failed)
}
