//! The cluster's names for the host's own hosts(5).

use super::names;
use crate::cluster::Cluster;

/// How the line before a cluster's names starts; the cluster's name follows.
pub const HOSTS_BEGIN: &str = "# kbake begin: cluster ";
/// How the line behind them starts.
pub const HOSTS_END: &str = "# kbake end: cluster ";

/// A snippet for `/etc/hosts`, between two marker lines by which it can be found and replaced.
pub fn hosts(cluster: &Cluster) -> String {
    let lines: String = names(cluster).iter().map(|named| format!("{} {}\n", named.address, named.names.join(" "))).collect();
    format!("{HOSTS_BEGIN}{name}\n{lines}{HOSTS_END}{name}\n", name = cluster.name)
}
