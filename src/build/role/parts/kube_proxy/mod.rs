//! kube-proxy under systemd, on the nftables or iptables of its node.

use crate::build::role::{Entry, Facts, text, unit_link};
use crate::common::error::Result;

/// The part's files. The cluster decides the mode, and whether it runs at all.
///
/// # Errors
/// None; the signature is that of all parts with facts.
pub(crate) fn entries(_facts: &Facts) -> Result<Vec<Entry>> {
    Ok(vec![
        text("etc/modules-load.d/90-kbake-kube-proxy.conf", include_bytes!("modules.conf")),
        text("etc/systemd/system/kube-proxy.service", include_bytes!("kube-proxy.service")),
        unit_link("multi-user.target.wants/kube-proxy.service", "/etc/systemd/system/kube-proxy.service"),
        super::template("node/var/lib/kube-proxy/config.yaml", include_str!("config.yaml")),
    ])
}
