//! A member of etcd under systemd, for nodes of role `etcd`.

use crate::build::role::{Entry, Owner, text, unit_link};
use crate::common::value::TreePath;

/// The unit, enabled, and its folders.
pub(crate) fn entries() -> Vec<Entry> {
    vec![
        Entry::Dir { path: TreePath::fixed("etc/etcd"), mode: 0o755, owner: Owner::ROOT },
        text("etc/sysctl.d/90-kbake-etcd.conf", include_bytes!("etcd.sysctl.conf")),
        text("etc/systemd/system/etcd.service", include_bytes!("etcd.service")),
        // The package's own link leads to the package's unit. systemd uses only its name; people read the target.
        unit_link("multi-user.target.wants/etcd.service", "/etc/systemd/system/etcd.service"),
        Entry::Absent { path: TreePath::fixed("etc/systemd/system/etcd2.service") },
        Entry::Dir { path: TreePath::fixed("var/lib/etcd"), mode: 0o700, owner: Owner::ETCD },
    ]
}
