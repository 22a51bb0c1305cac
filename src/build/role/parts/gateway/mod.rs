//! haproxy in front of the API servers; its configuration is in the seed.

use crate::build::role::{Entry, text};
use crate::common::value::TreePath;

/// The part's files.
pub(crate) fn entries() -> Vec<Entry> {
    vec![
        // The package's own has no front end, and a start with it says nothing about this gateway.
        Entry::Absent { path: TreePath::fixed("etc/haproxy/haproxy.cfg") },
        text("etc/sysctl.d/90-kbake-gateway.conf", include_bytes!("sysctl.conf")),
        text("etc/systemd/system/haproxy.service.d/90-kbake.conf", include_bytes!("haproxy.conf")),
    ]
}

#[cfg(test)]
mod tests;
