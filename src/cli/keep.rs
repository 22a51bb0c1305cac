//! The commands that look after the store: `kbake gc`, `kbake store`.

use super::Session;
use super::args::Gc;
use crate::error::{Error, Result};

impl Session<'_> {
    /// `kbake gc`.
    pub fn gc(&self, _: &Gc) -> Result<()> {
        Err(Error::internal("not written yet"))
    }

    /// `kbake store`.
    pub fn show_store(&self) -> Result<()> {
        Err(Error::internal("not written yet"))
    }
}
