//! The kubelet: its unit and configuration, the node's modules and sysctls, and the script that fills in the cluster's values.

use crate::build::role::{Entry, Facts, Owner, text, unit_link};
use crate::common::error::Result;
use crate::common::value::TreePath;

/// Units of this part, all started at boot. Their texts may contain `{runtime}`.
const UNITS: [(&str, &str); 3] = [
    ("kbake-masquerade.service", include_str!("kbake-masquerade.service")),
    ("kbake-settings.service", include_str!("kbake-settings.service")),
    ("kubelet.service", include_str!("kubelet.service")),
];

/// The end of the kubelet's configuration: settings that are right for every node.
pub(super) const EVERYWHERE: &str = include_str!("everywhere.yaml");

/// The part's files.
///
/// # Errors
/// The role has no container runtime.
pub(crate) fn entries(facts: &Facts) -> Result<Vec<Entry>> {
    let runtime = facts.runtime()?;
    let config = include_str!("config.yaml").replace("{endpoint}", runtime.endpoint()) + EVERYWHERE;
    let folder = |path, mode| Entry::Dir { path: TreePath::fixed(path), mode, owner: Owner::ROOT };
    let mut entries = vec![
        folder("etc/kubernetes/manifests", 0o700),
        text("etc/modules-load.d/90-kbake.conf", include_bytes!("modules.conf")),
        text("etc/sysctl.d/91-kbake-node.conf", include_bytes!("sysctl.conf")),
        text("etc/systemd/logind.conf.d/90-kbake.conf", include_bytes!("logind.conf")),
        super::program("usr/lib/kbake/settings", include_str!("settings.sh")),
        super::template("node/etc/nftables.d/kbake-masquerade.nft", include_str!("masquerade.nft")),
        super::private_template("node/var/lib/kubelet/config.yaml", &config),
        folder("var/lib/kubelet", 0o750),
    ];
    for (name, unit) in UNITS {
        let path = format!("etc/systemd/system/{name}");
        entries.push(text(&path, unit.replace("{runtime}", runtime.unit()).as_bytes()));
        entries.push(unit_link(&format!("multi-user.target.wants/{name}"), &format!("/{path}")));
    }
    Ok(entries)
}
