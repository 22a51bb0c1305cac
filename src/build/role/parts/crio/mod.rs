//! CRI-O, the alternative to containerd.

use super::images;
use crate::build::role::{Entry, Facts, Owner, Runtime, text, unit_link};
use crate::common::error::Result;
use crate::common::value::TreePath;

/// The part's files.
///
/// # Errors
/// The role has no sandbox image.
pub(crate) fn entries(facts: &Facts) -> Result<Vec<Entry>> {
    let config = config(facts, &images::sandbox(facts, "crio")?);
    let mut entries = vec![
        text("etc/containers/storage.conf", include_bytes!("storage.conf")),
        text("etc/crio/crio.conf.d/10-kbake.conf", config.as_bytes()),
        text("etc/crio/policy.json", include_bytes!("policy.json")),
        text("etc/systemd/system/crio.service", include_bytes!("crio.service")),
        unit_link("multi-user.target.wants/crio.service", "/etc/systemd/system/crio.service"),
        // CRI-O refuses to start without it; the seed fills it.
        Entry::Dir { path: TreePath::fixed("etc/cni/net.d"), mode: 0o755, owner: Owner::ROOT },
    ];
    entries.extend(images::entries(Runtime::Crio, include_str!("../images/crio.sh")));
    Ok(entries)
}

/// Its configuration ([crio.conf.5](https://github.com/cri-o/cri-o/blob/main/docs/crio.conf.5.md)).
fn config(facts: &Facts, sandbox: &str) -> String {
    let pinned: String = facts.images.values().map(|reference| format!("  \"{reference}\",\n")).collect();
    include_str!("kbake.conf").replace("{sandbox}", sandbox).replace("{pinned}", &pinned)
}
