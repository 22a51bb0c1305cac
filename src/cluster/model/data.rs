//! A node's second disk, for data that outlives the first disk: that one is replaced with each new image.

use std::str::FromStr;

use crate::common::value::{Size, shown_as_text};

/// A disk that the node formats once and mounts before its services start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDisk {
    /// Its size.
    pub size: Size,
    /// Its mount point.
    pub mount: DataMount,
}

/// A folder that a disk may be mounted on: absolute, below one of [`DataMount::BELOW`], of characters that need no shell
/// quoting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataMount(String);

shown_as_text!(DataMount);

impl DataMount {
    /// Folders in which services keep data. Elsewhere a mount would hide files of the image.
    const BELOW: [&str; 4] = ["/var/lib/", "/srv/", "/mnt/", "/data/"];
    /// Below these the image has its own state, of cloud-init, dpkg, apt and systemd.
    const KEPT: [&str; 4] = ["/var/lib/apt", "/var/lib/cloud", "/var/lib/dpkg", "/var/lib/systemd"];
    /// A folder that one program keeps as a whole: its databases name what is in its other folders.
    const WHOLE: &str = "/var/lib/containerd";
}

impl FromStr for DataMount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let is_plain =
            |part: &str| !["", ".", ".."].contains(&part) && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_plain)) {
            return Err(format!("`{shown}` must be an absolute path of letters, digits and `/._-`, without empty parts"));
        }
        if !DataMount::BELOW.iter().any(|folder| text.starts_with(folder)) {
            return Err(format!("`{shown}` is not below {}, and would hide files of the image", DataMount::BELOW.join(", ")));
        }
        match DataMount::KEPT.iter().find(|kept| text == **kept || text.starts_with(&format!("{kept}/"))) {
            Some(kept) => Err(format!("`{shown}` would hide {kept}, which the image needs")),
            None if text.strip_prefix(DataMount::WHOLE).is_some_and(|rest| rest.starts_with('/')) => {
                Err(format!("`{shown}` is a part of containerd's data: mount all of {}", DataMount::WHOLE))
            }
            None => Ok(DataMount(text.to_owned())),
        }
    }
}
