//! `kbake cluster`, and the parts shared by all commands on a cluster: its file, nodes, certificates and paths.

use std::path::{Path, PathBuf};

use super::Session;
use super::args::{Cluster as Args, Nodes, Secrets};
use super::clock::now;
use super::data;
use crate::cluster::model::{Cluster, Firmware, Node};
use crate::cluster::pki::{self, Pki};
use crate::cluster::programs::{self, Versions};
use crate::common::document::nearest;
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::quote;
use crate::spec::compatibility;

impl Session<'_> {
    /// Reads the cluster file and prints its warnings.
    pub(super) fn cluster(&self, args: &Args) -> Result<Cluster> {
        self.cluster_and_text(args).map(|(cluster, _)| cluster)
    }

    /// The cluster and its text, because a pipe can be read only once.
    fn cluster_and_text(&self, args: &Args) -> Result<(Cluster, String)> {
        let file = args.file();
        if !fsx::exists(file)? {
            return Err(Error::user(format!("the cluster file {} does not exist", file.display()))
                .hint("`kbake init` writes one, with more examples in recipes/clusters/; or name yours with `--cluster FILE`"));
        }
        // Only a file from the command line may be a pipe; reading a pipe at the default name would block.
        let text = if args.cluster.is_some() { fsx::read_given_to_string(file)? } else { fsx::read_to_string(file)? };
        let cluster = Cluster::read(&file.display().to_string(), &text)?;
        for warning in cluster.warnings() {
            self.shell.notice(&format!("warning: {}: {warning}", file.display()));
        }
        Ok((cluster, text))
    }

    /// `kbake cluster`.
    pub(super) fn show_cluster(&self, args: &Args) -> Result<()> {
        let (cluster, text) = self.cluster_and_text(args)?;
        self.check_names(&args.file().display().to_string(), &cluster, &text)?;
        self.check_settings(args, &cluster)?;
        let data = data::cluster(&cluster)?;
        self.shell.document(|| data, &crate::cluster::host::cluster_table(&cluster))
    }

    /// Checks the cluster's settings of Kubernetes programs against the versions of its channel.
    pub(super) fn check_settings(&self, args: &Args, cluster: &Cluster) -> Result<()> {
        if cluster.given_settings().next().is_none() {
            return Ok(());
        }
        let channel = self.global.channel.as_deref().unwrap_or(cluster.channel.as_str());
        let sources = self.project()?.channel(channel)?.sources;
        let versions = Versions {
            kubernetes: compatibility::release(&sources, &["kube-apiserver", "kubelet"])?,
            etcd: compatibility::release(&sources, &["etcd"])?,
        };
        for warning in programs::check(cluster, &versions)? {
            self.shell.notice(&format!("warning: {}: {warning}", args.file().display()));
        }
        Ok(())
    }

    /// Checks the names of the channel and of images against the project. An unknown image may come from elsewhere, but a name
    /// that is almost that of a recipe is an error.
    fn check_names(&self, shown: &str, cluster: &Cluster, text: &str) -> Result<()> {
        let project = self.project()?;
        let named = Cluster::channel_of(shown, text)?;
        let channels = project.channels()?;
        if let Some(channel) = named.filter(|channel| !channels.iter().any(|known| known == channel.as_str())) {
            let error = Error::user(format!("{shown} names the channel `{channel}`, which does not exist in the project"));
            let error = error.detail(format!("known: {}", channels.join(", ")));
            return Err(match nearest(channel.as_str(), channels.iter().map(String::as_str)) {
                Some(meant) => error.hint(format!("did you mean `channel = \"{meant}\"`?")),
                None => error.hint("a channel is defined by recipes/sources/<channel>.toml"),
            });
        }
        let roles = project.role_names()?;
        let unknown =
            cluster.nodes.iter().filter(|node| node.firmware == Firmware::Bios && !roles.iter().any(|role| role == node.image.as_str()));
        for node in unknown {
            let said = format!("node `{}` boots the image `{}`, for which the project has no recipe", node.name, node.image);
            if let Some(meant) = nearest(node.image.as_str(), roles.iter().map(String::as_str)) {
                return Err(Error::user(said)
                    .detail(format!("known: {}", roles.join(", ")))
                    .hint(format!("did you mean `image = \"{meant}\"`?")));
            }
            self.shell.notice(&format!("warning: {shown}: {said}: recipes/roles/{}.toml", node.image));
        }
        Ok(())
    }

    /// The cluster's private folder of certificates and keys.
    pub(super) fn pki(&self, args: &Args, secrets: &Secrets, cluster: &Cluster) -> Pki {
        let folder = match &secrets.secrets {
            Some(folder) => folder.clone(),
            None => args.file().with_file_name("secrets"),
        };
        Pki::new(&folder, cluster)
    }

    /// The certificates and keys, checked against the cluster, with warnings printed.
    pub(super) fn secrets(&self, cluster: &Cluster, args: &Args, secrets: &Secrets) -> Result<pki::Secrets> {
        let loaded = self.pki(args, secrets, cluster).load(now()?).map_err(|error| pasteable(error, args, secrets))?;
        self.warn(loaded.warnings());
        Ok(loaded)
    }
}

/// The error with `--cluster` and `--secrets` added to commands in hints, so that they work as typed.
pub(super) fn pasteable(error: Error, args: &Args, secrets: &Secrets) -> Error {
    let mut options = String::new();
    for (name, path) in [("--cluster", &args.cluster), ("--secrets", &secrets.secrets)] {
        if let Some(path) = path {
            options.push_str(&format!(" {name} {}", quote(&path.display().to_string())));
        }
    }
    error.map_hints(|hint| if hint.starts_with("kbake pki ") || hint.starts_with("kbake kubeconfig ") { hint + &options } else { hint })
}

impl Args {
    /// The cluster file from the command line, or the default.
    pub(super) fn file(&self) -> &Path {
        self.cluster.as_deref().unwrap_or(Path::new(super::CLUSTER_FILE))
    }
}

impl Nodes {
    /// The selected nodes in the cluster's order, each once.
    pub(super) fn of<'a>(&self, cluster: &'a Cluster) -> Result<Vec<&'a Node>> {
        for name in &self.nodes {
            cluster.node(name)?;
        }
        let named = |node: &&Node| self.all || self.nodes.iter().any(|name| name == node.name.as_str());
        Ok(cluster.nodes.iter().filter(named).collect())
    }
}

/// The path of a node's output: `images/KIND/CLUSTER/NODE.END`. Two clusters may both have a `worker0`.
pub(super) fn of_node(images: &Path, kind: &str, cluster: &Cluster, node: &Node, end: &str) -> PathBuf {
    images.join(kind).join(cluster.name.as_str()).join(format!("{}.{end}", node.name))
}

/// The `--cluster` option of this call, for printed commands.
pub(super) fn cluster_option(file: &Args) -> String {
    file.cluster.as_ref().map(|file| path_option(" --cluster ", file)).unwrap_or_default()
}

/// An option with a path, quoted for a shell.
pub(super) fn path_option(option: &str, path: &Path) -> String {
    format!("{option}{}", quote(&path.display().to_string()))
}
