//! The kubelet: its unit and configuration, the node's modules and sysctls, and what puts the cluster's values in place.

use crate::error::Result;
use crate::render::image::{Entry, Facts};

/// The part's files.
pub fn entries(_facts: &Facts) -> Result<Vec<Entry>> {
    Ok(Vec::new())
}
