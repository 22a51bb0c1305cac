//! Paths of a machine's files on the host.

use std::path::Path;

use crate::common::error::{Error, Result};
use crate::common::value::shown_as_text;

/// An absolute path in UTF-8 that XML and a command line can hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPath(String);

/// The files of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachineFiles {
    /// Its own disk: a qcow2 file for the machine's writes. Its header names its backing image.
    pub disk: HostPath,
    /// Its seed. A machine without one boots with DHCP and without a host name.
    pub seed: Option<HostPath>,
    /// Its second disk, if it has one: a qcow2 file without a backing image.
    pub data: Option<HostPath>,
}

impl HostPath {
    /// Refuses paths that QEMU or libvirt would resolve elsewhere, or cannot be given.
    ///
    /// # Errors
    /// A relative path (libvirt would resolve it from the daemon's folder), one that is not UTF-8, or one with a control
    /// character.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let refused = |why: &str| Error::user(format!("the path {path:?} cannot be given to a virtual machine: {why}"));
        let text = path.to_str().ok_or_else(|| refused("it is not UTF-8"))?;
        if !text.starts_with('/') {
            return Err(refused("it is not absolute"));
        }
        if text.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
            return Err(refused("it has a control character"));
        }
        Ok(HostPath(text.to_owned()))
    }
}

shown_as_text!(HostPath);
