//! Syncing written data in the background while more is written, so that the final sync is short.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Temp;

/// A thread that syncs files while they are still being written.
#[derive(Debug)]
pub(crate) struct EarlySync {
    files: SyncSender<File>,
    thread: JoinHandle<io::Result<()>>,
}

impl EarlySync {
    /// Starts the thread.
    pub(crate) fn start() -> Self {
        let (files, wanted) = sync_channel::<File>(1);
        let thread = std::thread::spawn(move || wanted.into_iter().try_for_each(|file| file.sync_data()));
        EarlySync { files, thread }
    }

    /// Queues a sync of the file's bytes so far; skipped if the thread is busy.
    pub(crate) fn begin(&self, temp: &Temp) -> io::Result<()> {
        // If the thread has failed, nobody receives this; `finish` reports the failure.
        let _ = self.files.try_send(temp.file().try_clone()?);
        Ok(())
    }

    /// Waits for all queued syncs.
    ///
    /// # Errors
    /// I/O errors of the syncs: the kernel reports each failed write only once, so a later sync of the same file would
    /// succeed.
    pub(crate) fn finish(self) -> io::Result<()> {
        drop(self.files);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs files has panicked")))
    }
}
