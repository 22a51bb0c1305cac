//! What commands on a cluster have in common: its file, its nodes, its certificates, the time.

use std::path::{Path, PathBuf};

use super::Session;
use super::args::{Cluster as Args, Nodes, Secrets};
use super::data;
use super::pki::now;
use crate::cluster::{Cluster, Node};
use crate::error::{Error, Result};
use crate::fsx;
use crate::pki::{self, Pki};
use crate::value::quote;

impl Session<'_> {
    /// The cluster of the file that was named, with its warnings said.
    pub fn cluster(&self, args: &Args) -> Result<Cluster> {
        let file = args.file();
        if !fsx::exists(file)? {
            return Err(Error::user(format!("there is no cluster file {}", file.display()))
                .hint("`kbake init` writes one, with more examples in recipes/clusters/; or name yours with `--cluster FILE`"));
        }
        let cluster = Cluster::read(&file.display().to_string(), &fsx::read_given_to_string(file)?)?;
        for warning in cluster.warnings() {
            self.shell.notice(&format!("warning: {}: {warning}", file.display()));
        }
        Ok(cluster)
    }

    /// `kbake cluster`.
    pub fn show_cluster(&self, args: &Args) -> Result<()> {
        let cluster = self.cluster(args)?;
        self.shell.document(|| data::cluster(&cluster), &crate::render::cluster_table(&cluster))
    }

    /// The cluster's certificates and keys, wherever the user keeps them.
    pub fn pki(&self, args: &Args, secrets: &Secrets, cluster: &Cluster) -> Pki {
        let folder = match &secrets.secrets {
            Some(folder) => folder.clone(),
            None => args.file().with_file_name("secrets"),
        };
        Pki::new(&folder, cluster)
    }

    /// Those, read and found to fit the cluster, with what will soon be wrong about them said.
    pub fn secrets(&self, cluster: &Cluster, args: &Args, secrets: &Secrets) -> Result<pki::Secrets> {
        let loaded = self.pki(args, secrets, cluster).load(now()?).map_err(|error| pasteable(error, args, secrets))?;
        self.warn(loaded.warnings());
        Ok(loaded)
    }
}

/// The same with hints that name the files that the command named, so that they can be pasted.
pub fn pasteable(error: Error, args: &Args, secrets: &Secrets) -> Error {
    let mut options = String::new();
    for (name, path) in [("--cluster", &args.cluster), ("--secrets", &secrets.secrets)] {
        if let Some(path) = path {
            options.push_str(&format!(" {name} {}", quote(&path.display().to_string())));
        }
    }
    error.map_hints(|hint| if hint.starts_with("kbake pki ") || hint.starts_with("kbake kubeconfig ") { hint + &options } else { hint })
}

impl Args {
    /// The file that was named, or the usual one.
    pub fn file(&self) -> &Path {
        self.cluster.as_deref().unwrap_or(Path::new(super::CLUSTER_FILE))
    }
}

impl Nodes {
    /// The nodes that were named, or all: in the cluster's order and each once.
    pub fn of<'a>(&self, cluster: &'a Cluster) -> Result<Vec<&'a Node>> {
        for name in &self.nodes {
            cluster.node(name)?;
        }
        let named = |node: &&Node| self.all || self.nodes.iter().any(|name| name == node.name.as_str());
        Ok(cluster.nodes.iter().filter(named).collect())
    }
}

/// Where what is made for a node lies: `images/KIND/CLUSTER/NODE.END`. Two clusters may both have a `worker0`.
pub fn of_node(images: &Path, kind: &str, cluster: &Cluster, node: &Node, end: &str) -> PathBuf {
    images.join(kind).join(cluster.name.as_str()).join(format!("{}.{end}", node.name))
}
