//! The cluster's certificates and keys: one folder of the user's per cluster, made once, checked whenever it is used.
//!
//! The only module in which anything is random. Nothing in here goes to the store or an image; what is private is a
//! [`secrecy::SecretString`], and no message repeats what a private file holds. Time is the caller's: seconds since 1970.
//!
//! - [`Pki::init`] makes what is missing, and touches nothing that is there.
//! - [`Pki::show`] tells what is there; [`Pki::load`] gives it to whoever makes seeds, if all of it fits.
//! - [`Pki::renew`] makes certificates anew, with new keys. [`Pki::import`] takes an authority made elsewhere.

mod certificate;
mod check;
mod clock;
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
mod survey;
#[cfg(test)]
mod tests;
mod trust;
mod wanted;

use std::path::Path;

pub use check::{SOON_DAYS, date};
pub use clock::check_clock;
pub use folder::{OTHERS, why_reached};
pub use host_key::HostKey;
pub use import::Imported;
pub use init::Report;
pub use renew::Renewed;
pub use secrets::{Identity, Secrets};
pub use show::{Row, State};
pub use trust::authorities;
pub use wanted::{Authority, Name, Purpose, Usage, Wanted, text, wanted};

use folder::Folder;

use crate::cluster::{Cluster, HostName, Net, Validity};
use crate::fsx::Access;

/// Something that does not fit, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about: a name as in `kbake pki show`, or a path.
    pub name: String,
    /// The rest of a sentence that begins with the name.
    pub what: String,
    /// A command, or where there is none, what a person must do.
    pub mend: String,
}

/// What a cluster's folder must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inventory {
    /// The cluster's name, which is the folder's.
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
    /// Those under `secrets/CLUSTER`, whether they are there yet or not.
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

    /// The certificates that the cluster must have.
    pub fn wanted(&self) -> &[Wanted] {
        &self.inventory.wanted
    }
}

/// The error that lists all of these, with each command that mends once.
pub fn error(message: String, problems: &[&Problem]) -> crate::Error {
    let mut error = crate::Error::user(message);
    let (mut renew, mut others) = (String::new(), Vec::new());
    for problem in problems {
        error = error.detail(format!("{} {}", problem.name, problem.what));
        match problem.mend.strip_prefix("kbake pki renew ") {
            // One command for all that can be renewed.
            Some(name) if !renew.split(' ').any(|known| known == name) => renew.extend([" ", name]),
            Some(_) => {}
            None if !others.contains(&&problem.mend) => others.push(&problem.mend),
            None => {}
        }
    }
    for mend in others {
        error = error.hint(mend.clone());
    }
    if renew.is_empty() { error } else { error.hint(format!("kbake pki renew{renew}")) }
}
