//! `kbake seed`: nodes of a cluster file into private files.

use std::path::{Path, PathBuf};

use super::Session;
use super::args::{Seed, SeedFormat};
use crate::cluster::{Cluster, Node};
use crate::error::Result;
use crate::fsx::{self, Batch};
use crate::pki::{Pki, Secrets};
use crate::report::Report as _;
use crate::seed::{self, Volume};
use crate::value::Epoch;

impl Session<'_> {
    /// `kbake seed`.
    pub fn seed(&self, args: &Seed) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let nodes = chosen(&cluster, args)?;
        let secrets = self.secrets(&cluster, args)?;
        let epoch = self.project()?.channel(cluster.channel.as_str())?.sources.epoch;
        // All are made before one is written: what is missing for the last must not show after the first.
        let seeds = nodes.iter().map(|node| Ok((*node, seed::of(&cluster, node, &secrets)?))).collect::<Result<Vec<_>>>()?;
        if let Some(above) = args.out.parent().filter(|above| !above.as_os_str().is_empty()) {
            fsx::create_dir_all(above)?;
        }
        fsx::create_dir(&args.out, seed::FOLDER_MODE)?;
        let mut batch = Batch::default();
        let mut names = String::new();
        for (node, seed) in &seeds {
            let path = place(&args.out, node, args.format);
            write(seed, &path, args.format, epoch, &mut batch)?;
            names.push_str(&format!("{}\n", path.display()));
        }
        batch.commit()?;
        self.shell.data(&names)?;
        let what = if nodes.len() == 1 { "the seed is written; it is" } else { "the seeds are written; they are" };
        self.shell.say(&format!("{what} private (mode 0600)"));
        Ok(())
    }

    /// The cluster's keys, with what will soon be wrong about them said.
    fn secrets(&self, cluster: &Cluster, args: &Seed) -> Result<Secrets> {
        let folder = args.secrets.clone().unwrap_or_else(|| args.cluster.file().with_file_name("secrets"));
        let secrets = Pki::new(&folder, cluster).load(now())?;
        for problem in secrets.warnings() {
            self.shell.notice(&format!("warning: {} {}: {}", problem.name, problem.what, problem.mend));
        }
        Ok(secrets)
    }
}

/// The nodes that were asked for, in the cluster's order and each once.
fn chosen<'c>(cluster: &'c Cluster, args: &Seed) -> Result<Vec<&'c Node>> {
    for name in &args.nodes {
        cluster.node(name)?;
    }
    Ok(cluster.nodes.iter().filter(|node| args.all || args.nodes.iter().any(|name| name == node.name.as_str())).collect())
}

fn place(out: &Path, node: &Node, format: SeedFormat) -> PathBuf {
    out.join(match format {
        SeedFormat::Iso => format!("{}.iso", node.name),
        SeedFormat::Vfat => format!("{}.img", node.name),
        SeedFormat::Dir => node.name.to_string(),
    })
}

fn write(seed: &seed::Seed, path: &Path, format: SeedFormat, epoch: Epoch, batch: &mut Batch) -> Result<()> {
    let volume = match format {
        SeedFormat::Iso => Volume::Iso,
        SeedFormat::Vfat => Volume::Vfat,
        SeedFormat::Dir => {
            fsx::create_dir(path, seed::FOLDER_MODE)?;
            return seed.write_private(|name, bytes| batch.add(&path.join(name), seed::FILE_MODE, bytes));
        }
    };
    seed.volume(volume, epoch)?.write_private(|bytes| batch.add(path, seed::FILE_MODE, bytes))
}

/// Seconds since 1970, for what expires.
#[expect(clippy::disallowed_methods, reason = "the cli is where the clock is read")]
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 makes every certificate one of the future, which is what the person then reads.
    now.map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}
