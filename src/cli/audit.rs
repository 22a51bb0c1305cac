//! `kbake audit`.

use super::Session;
use super::args::Audit;
use crate::error::{Error, Result};

impl Session<'_> {
    /// `kbake audit`.
    pub fn audit(&self, _: &Audit) -> Result<()> {
        Err(Error::internal("not written yet"))
    }
}
