//! containerd: its configuration, its unit, and the import of preloaded container images.

use super::images;
use crate::build::role::{Entry, Facts, Owner, Runtime, text, unit_link};
use crate::common::error::{Error, Result};
use crate::common::value::{ReleaseVersion, TreePath};

/// The part's files.
///
/// # Errors
/// The channel has no version of containerd, or the role has no sandbox image.
pub(crate) fn entries(facts: &Facts) -> Result<Vec<Entry>> {
    let version = facts.version("containerd").ok_or_else(|| {
        Error::user("the part `containerd` needs the artifact `containerd`, which the channel does not have")
            .hint("the format of its configuration depends on its version")
    })?;
    let config = config(version, &images::sandbox(facts, "containerd")?);
    let mut entries = vec![
        text("etc/containerd/config.toml", config.as_bytes()),
        Entry::Dir { path: TreePath::fixed("etc/containerd/certs.d"), mode: 0o755, owner: Owner::ROOT },
        text("etc/systemd/system/containerd.service", include_bytes!("containerd.service")),
        // The package's own link leads to the package's unit. systemd uses only its name; people read the target.
        unit_link("multi-user.target.wants/containerd.service", "/etc/systemd/system/containerd.service"),
    ];
    entries.extend(images::entries(Runtime::Containerd, include_str!("../images/containerd.sh")));
    Ok(entries)
}

/// Its configuration ([config.md](https://github.com/containerd/containerd/blob/main/docs/cri/config.md)). Version 2 of the
/// file is read by containerd 1.3 and later, version 3 by 2.0 and later, version 4 by 2.3 and later. Each converts an older one
/// at every start, with a warning. Version 4 differs from version 3 only in sections that are not used here: the daemon's
/// listeners.
fn config(version: &ReleaseVersion, sandbox: &str) -> String {
    if version.major() < 2 {
        return include_str!("config-2.toml").replace("{sandbox}", sandbox);
    }
    let format = if (version.major(), version.minor()) < (2, 3) { "3" } else { "4" };
    // 2.4 dropped the one, 2.0 lacks the other.
    let folders = match (version.major(), version.minor()) {
        (2, 0) => "bin_dir = \"/opt/cni/bin\"",
        _ => "bin_dirs = [\"/opt/cni/bin\"]",
    };
    let text = include_str!("config-3.toml").replace("{format}", format);
    text.replace("{sandbox}", sandbox).replace("{plugin-folders}", folders)
}
