//! Where a machine's files lie on the host.

use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};

/// An absolute path in UTF-8 that can stand in XML and on a command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPath(String);

/// The files of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFiles {
    /// Its own disk: a qcow2 file that takes what the machine writes. It says itself what it lies on, and where.
    pub disk: HostPath,
    /// Its seed. A machine without one boots with DHCP and no name of its own.
    pub seed: Option<HostPath>,
    /// Its second disk, if it has one: a qcow2 file that lies on nothing.
    pub data: Option<HostPath>,
}

impl HostPath {
    /// Refuses what QEMU or libvirt would look for elsewhere, or could not be told.
    ///
    /// # Errors
    /// A relative path (libvirt would look for it from the daemon's folder), one that is no UTF-8, or with a control
    /// character.
    pub fn new(path: &Path) -> Result<Self> {
        let refused = |why: &str| Error::user(format!("the path {path:?} cannot be given to a virtual machine: {why}"));
        let text = path.to_str().ok_or_else(|| refused("it is no UTF-8"))?;
        if !text.starts_with('/') {
            return Err(refused("it is not absolute"));
        }
        if text.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
            return Err(refused("it has a control character"));
        }
        Ok(HostPath(text.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
