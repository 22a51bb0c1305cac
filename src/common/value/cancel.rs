//! The cancellation flag, set by a signal handler and checked by every long loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::error::{Class, Error, Result};

/// The cancellation flag of a command, shared by all its threads. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The raw flag, for the signal handler.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Fails with [`Class::Interrupted`] once the flag is set.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(
                Error::new(Class::Interrupted, "interrupted").hint("nothing was kept half-written; run the command again to continue")
            );
        }
        Ok(())
    }
}
