//! kube-proxy under systemd, on the nftables or iptables of its node.

use crate::error::Result;
use crate::render::image::{Entry, Facts, text, unit_link};

/// The part's files. Which mode is meant, and whether it runs at all, the cluster says.
///
/// # Errors
/// None; as all parts' that take facts.
pub fn entries(_facts: &Facts) -> Result<Vec<Entry>> {
    Ok(vec![
        text("etc/modules-load.d/90-kbake-kube-proxy.conf", include_bytes!("kube_proxy/modules.conf")),
        text("etc/systemd/system/kube-proxy.service", include_bytes!("kube_proxy/kube-proxy.service")),
        unit_link("multi-user.target.wants/kube-proxy.service", "/etc/systemd/system/kube-proxy.service"),
        super::template("node/var/lib/kube-proxy/config.yaml", include_str!("kube_proxy/config.yaml")),
    ])
}
