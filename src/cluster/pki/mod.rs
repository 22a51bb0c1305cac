//! The cluster's certificates and keys: one private folder per cluster, made once, checked at each use.
//!
//! The only module with random numbers. Nothing in here goes to the store or an image; private texts are
//! [`secrecy::SecretString`]s, and no message repeats any of them. The caller passes the time: seconds since 1970.
//!
//! - [`Pki::init`] makes what is missing, and changes nothing that exists.
//! - [`Pki::show`] lists the folder; [`Pki::load`] returns its content for seeds, if all of it is valid.
//! - [`Pki::renew`] replaces certificates, with new keys. [`Pki::import`] imports an authority.

mod certificate;
mod check;
mod clock;
mod contents;
mod folder;
mod host_key;
mod import;
mod init;
mod issue;
mod key;
mod pem;
mod renew;
mod secrets;
mod show;
#[cfg(test)]
mod tests;
mod trust;
mod wanted;

use std::path::Path;

pub(crate) use check::date;
pub(crate) use clock::check_clock;
pub(crate) use folder::{OTHERS, why_reached};
pub(crate) use host_key::HostKey;
pub(crate) use import::Imported;
pub(crate) use secrets::Secrets;
pub(crate) use show::{Row, State};
pub(crate) use trust::authorities;
pub(crate) use wanted::{Authority, Name, Purpose, Wanted, wanted};

use folder::Folder;

use crate::cluster::model::{Cluster, HostName, Net, Validity};
use crate::common::fsx::Access;

/// A problem, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The certificate or key, by its name in `kbake pki show`, or a path.
    pub name: String,
    /// The predicate of a sentence whose subject is `name`.
    pub what: String,
    /// A command or, if there is none, an instruction.
    pub remedy: String,
}

/// The required content of a cluster's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inventory {
    /// The cluster's name, which is also the folder's.
    cluster: String,
    /// Sorted by name.
    wanted: Vec<Wanted>,
    /// Every node, in the cluster's order: each has an SSH host key.
    hosts: Vec<HostName>,
    validity: Validity,
    /// The nodes' network.
    network: Net,
}

/// One cluster's certificates and keys.
pub struct Pki {
    folder: Folder,
    inventory: Inventory,
}

impl Pki {
    /// The certificates and keys under `secrets/CLUSTER`, whether they exist yet or not.
    pub fn new(secrets: &Path, cluster: &Cluster) -> Pki {
        let (name, network) = (cluster.name.to_string(), cluster.network.cidr);
        let hosts = cluster.nodes.iter().map(|node| node.name.clone()).collect();
        let inventory = Inventory { cluster: name, wanted: wanted(cluster), hosts, validity: cluster.validity, network };
        Pki { folder: Folder::new(secrets, &inventory.cluster), inventory }
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        self.folder.root()
    }

    /// Checks the folders, and waits until nobody writes.
    fn begin_reading(&self) -> crate::Result<Option<std::fs::File>> {
        self.folder.check_folders(&self.inventory.hosts)?;
        self.folder.lock(Access::Shared)
    }

    /// The certificates that the cluster needs.
    pub fn wanted(&self) -> &[Wanted] {
        &self.inventory.wanted
    }
}

/// The error that lists all of these problems, and each command once.
pub(crate) fn error(message: String, problems: &[&Problem]) -> crate::Error {
    let mut error = crate::Error::user(message);
    let (mut renew, mut others) = (String::new(), Vec::new());
    for problem in problems {
        error = error.detail(format!("{} {}", problem.name, problem.what));
        match problem.remedy.strip_prefix("kbake pki renew ") {
            // One command for all certificates that can be renewed.
            Some(name) if !renew.split(' ').any(|known| known == name) => renew.extend([" ", name]),
            Some(_) => {}
            None if !others.contains(&&problem.remedy) => others.push(&problem.remedy),
            None => {}
        }
    }
    for remedy in others {
        error = error.hint(remedy.clone());
    }
    if renew.is_empty() { error } else { error.hint(format!("kbake pki renew{renew}")) }
}
