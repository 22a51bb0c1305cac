//! Bringing what is written to the disk while more is written, so that the wait at the end is short.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Temp;

/// A thread that syncs files of which more is still to come.
#[derive(Debug)]
pub struct EarlySync {
    files: SyncSender<File>,
    thread: JoinHandle<io::Result<()>>,
}

impl EarlySync {
    /// Nothing is synced yet.
    pub fn start() -> Self {
        let (files, wanted) = sync_channel::<File>(1);
        let thread = std::thread::spawn(move || wanted.into_iter().try_for_each(|file| file.sync_data()));
        EarlySync { files, thread }
    }

    /// Has the file's bytes so far brought to the disk, unless there is work enough already.
    pub fn begin(&self, temp: &Temp) -> io::Result<()> {
        // When the thread has failed there is nobody to take it, and the failure shows at the end.
        let _ = self.files.try_send(temp.file().try_clone()?);
        Ok(())
    }

    /// Waits for what was begun.
    ///
    /// # Errors
    /// The disk's: it tells of each failed write once only, so a later sync of the same file would succeed.
    pub fn finish(self) -> io::Result<()> {
        drop(self.files);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs files has panicked")))
    }
}
