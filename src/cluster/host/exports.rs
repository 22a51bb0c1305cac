//! The host's NFS shares for the cluster: exports(5).

use crate::cluster::model::Cluster;

/// One line per exported folder, open to the nodes' network only. Empty when there is none.
pub(crate) fn exports(cluster: &Cluster) -> String {
    let line = |path: &str, options: &str| format!("{} {}({options})\n", escape(path), cluster.network.cidr);
    cluster.exports.iter().map(|export| line(&export.path, &export.options)).collect()
}

/// exports(5): white space, quotes, comments and backslashes as an octal number.
fn escape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            ' ' | '\t' | '\n' | '"' | '#' | '\\' => out.push_str(&format!("\\{:03o}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}
