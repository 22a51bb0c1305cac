//! The cluster's names for the host's own hosts(5).

use crate::cluster::model::Cluster;
use crate::cluster::node::names::names;

/// The start of the line before a cluster's names; the cluster's name follows.
const HOSTS_BEGIN: &str = "# kbake begin: cluster ";
/// The start of the line behind them.
const HOSTS_END: &str = "# kbake end: cluster ";

/// A snippet for `/etc/hosts`, between two marker lines by which it can be found and replaced.
pub(crate) fn hosts(cluster: &Cluster) -> String {
    let lines: String = names(cluster).iter().map(|named| format!("{named}\n")).collect();
    format!("{HOSTS_BEGIN}{name}\n{lines}{HOSTS_END}{name}\n", name = cluster.name)
}
