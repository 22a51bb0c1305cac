//! `file:` addresses: a local mirror behaves like a server, with the same messages and checks.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::mpsc::SyncSender;

use super::message::{Broken, BrokenKind, CHUNK, Message};
use super::response::Head;
use crate::common::error::Error;
use crate::common::fsx;

/// Sends the file at `path`, from byte `from` on. Returns early when the receiver is gone.
pub(super) fn transfer(path: &Path, from: u64, to: &SyncSender<Message>) {
    let last = match send(path, from, to) {
        Ok(()) => Message::End,
        Err(reason) => Message::Failed(Broken { reason, kind: BrokenKind::Final }),
    };
    // The receiver may be gone.
    let _ = to.send(last);
}

fn send(path: &Path, from: u64, to: &SyncSender<Message>) -> Result<(), String> {
    // Checked before opening: opening a pipe would block until there is a writer.
    if !path.exists() {
        return Err(MISSING.to_owned());
    }
    if !path.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let failed = |error: Error| error.message().to_owned();
    let mut file = fsx::open_read(path).map_err(failed)?;
    let length = file.metadata().map_err(|e| failed(Error::io("read its metadata", &e)))?.len();
    let rest = 0 < from && from < length;
    if rest {
        file.seek(SeekFrom::Start(from)).map_err(|e| failed(Error::io("read it", &e)))?;
    }
    let range = rest.then(|| format!("bytes {from}-{}/{length}", length - 1));
    let status = if rest { 206 } else { 200 };
    let head = Head { status, content_length: (!rest).then_some(length), content_range: range, ..Head::default() };
    let mut message = Message::Head(head);
    let mut buffer = vec![0; CHUNK];
    while to.send(message).is_ok() {
        message = loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => break Message::Data(buffer[..n].to_vec()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(Error::io("read it", &e))),
            }
        };
    }
    Ok(())
}

/// The reason text for a file that the mirror does not have.
pub(super) const MISSING: &str = "does not exist";
