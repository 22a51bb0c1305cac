//! The commands that compare and explain: `kbake why`, `kbake diff`.

use super::Session;
use super::args::Diff;
use crate::error::{Error, Result};

impl Session<'_> {
    /// `kbake why`.
    pub fn why(&self, _: &str) -> Result<()> {
        Err(Error::internal("not written yet"))
    }

    /// `kbake diff`.
    pub fn diff(&self, _: &Diff) -> Result<()> {
        Err(Error::internal("not written yet"))
    }
}
