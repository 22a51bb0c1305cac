//! A request to stop, set by a signal handler and looked at by every long loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::{Class, Error, Result};

/// Shared by all threads of a command. Clones are the same request.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// The request to this process, which signals make. Loops deep down that no request is handed to look at this one: a
    /// file that is hashed may be of any length.
    pub fn of_process() -> &'static Cancel {
        static PROCESS: OnceLock<Cancel> = OnceLock::new();
        PROCESS.get_or_init(Cancel::default)
    }

    /// Not asked to stop, yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The flag itself, for the signal handler.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Fails with [`Class::Interrupted`] once a stop was asked for.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new(Class::Interrupted, "interrupted").hint("nothing was kept half-written; run the command again to go on"));
        }
        Ok(())
    }
}
