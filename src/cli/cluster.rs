//! What commands on a cluster have in common: its file. And `kbake cluster`, which shows what the file means.

use std::path::Path;

use super::Session;
use super::args::Cluster as Args;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::fsx;
use crate::render;

impl Session<'_> {
    /// The cluster of the file that was named, with its warnings said.
    pub fn cluster(&self, args: &Args) -> Result<Cluster> {
        let file = args.file();
        if !fsx::exists(file)? {
            return Err(Error::user(format!("there is no cluster file {}", file.display()))
                .hint("`kbake init` writes one, with more examples in recipes/clusters/; or name yours with `--cluster FILE`"));
        }
        let cluster = Cluster::read(&file.display().to_string(), &fsx::read_to_string(file)?)?;
        for warning in cluster.warnings() {
            self.shell.notice(&format!("warning: {}: {warning}", file.display()));
        }
        Ok(cluster)
    }

    /// `kbake cluster`.
    pub fn show_cluster(&self, args: &Args) -> Result<()> {
        let cluster = self.cluster(args)?;
        self.shell.data(&render::cluster_table(&cluster))
    }
}

impl Args {
    /// The file that was named, or the usual one.
    pub fn file(&self) -> &Path {
        self.cluster.as_deref().unwrap_or(Path::new("cluster.toml"))
    }
}
