//! Files that the cluster file names: additions to nodes' user-data, CA certificates.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::cluster::model::{Cluster, Node};
use crate::cluster::node::{Additions, NamedFiles};
use crate::cluster::pki;
use crate::common::error::{Error, Result};
use crate::common::fsx;

/// Reads the CA certificates that the cluster file `file` names for all nodes.
pub(super) fn authorities(file: &Path, cluster: &Cluster) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in &cluster.site.authorities {
        let path = beside(file, name);
        let found = pki::authorities(&fsx::read_to_string(&path)?);
        all.extend(found.map_err(|why| {
            Error::user(format!("{} {why}", path.display())).detail(format!("`ca-certificates` in {} names it", file.display()))
        })?);
    }
    Ok(all)
}

/// The files of a node, with the `authorities` of all nodes.
pub(super) fn of_node(file: &Path, node: &Node, authorities: &[String]) -> Result<NamedFiles> {
    let additions = node.user_data.as_ref().map(|name| {
        let path = beside(file, name);
        Additions::read(&path.display().to_string(), SecretString::from(fsx::read_to_string(&path)?))
    });
    Ok(NamedFiles { authorities: authorities.to_vec(), additions: additions.transpose()? })
}

/// Resolves a path relative to the cluster file.
fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(name)
}
