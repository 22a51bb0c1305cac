//! `kbake bundle …`.

use super::Session;
use super::args::Bundle;
use crate::error::{Error, Result};

impl Session<'_> {
    /// `kbake bundle …`.
    pub fn bundle(&self, _: &Bundle) -> Result<()> {
        Err(Error::internal("not written yet"))
    }
}
