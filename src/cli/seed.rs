//! `kbake seed`.

use std::path::{Path, PathBuf};

use super::args::{Seed, SeedFormat};
use super::machine_files::Existing;
use super::pki::write_known_hosts;
use super::private_files::{keep_out_of_git, open_folder};
use super::{Session, cluster_files};
use crate::cluster::model::Node;
use crate::cluster::node::EtcdStart;
use crate::cluster::seed::{self, Volume};
use crate::common::error::Result;
use crate::common::fsx::{self, Batch};
use crate::common::value::Epoch;

/// Mode of the folder of seeds. A hypervisor that runs as another user must be able to traverse it; each file in it is
/// accessible to its owner only.
const FOLDER_MODE: u32 = 0o711;
/// First words of the message about an insecure folder.
const NO_SEED: &str = "no seed is written to";

impl Session<'_> {
    /// `kbake seed`.
    pub(super) fn seed(&self, args: &Seed) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let nodes = args.nodes.of(&cluster)?;
        self.check_settings(&args.cluster, &cluster)?;
        let secrets = self.secrets(&cluster, &args.cluster, &args.secrets)?;
        let channel = self.global.channel.as_deref().unwrap_or(cluster.channel.as_str());
        let epoch = self.project()?.channel(channel)?.sources.epoch;
        let start = if args.etcd_join { EtcdStart::Join } else { EtcdStart::New };
        // All seeds are composed before the first is written, so that an error leaves nothing half done.
        let file = args.cluster.file();
        let authorities = cluster_files::authorities(file, &cluster)?;
        let seed = |node: &Node| seed::of(&cluster, node, start, &secrets, &cluster_files::of_node(file, node, &authorities)?);
        let seeds = nodes.iter().map(|node| Ok((*node, seed(node)?))).collect::<Result<Vec<_>>>()?;
        let out = args.out.clone().unwrap_or_else(|| args.images.images.join("seeds").join(cluster.name.as_str()));
        let places: Vec<PathBuf> = nodes.iter().map(|node| place(&out, node, args.format)).collect();
        for (node, path) in nodes.iter().zip(&places) {
            Existing::at(path)?.require_replaceable(path, &cluster, node)?;
        }
        if open_folder(&out, FOLDER_MODE, NO_SEED)? {
            keep_out_of_git(&out)?;
        }
        let mut batch = Batch::default();
        for ((_, seed), path) in seeds.iter().zip(&places) {
            write(seed, path, args.format, epoch, &mut batch)?;
        }
        batch.commit()?;
        // The addresses may have changed since the keys were created.
        write_known_hosts(&self.pki(&args.cluster, &args.secrets, &cluster), &cluster)?;
        let names: String = places.iter().map(|path| format!("{}\n", path.display())).collect();
        self.shell.data(&names)?;
        let subject = if nodes.len() == 1 { "the seed is written and" } else { "the seeds are written and" };
        let files = places.iter().map(|path| if args.format == SeedFormat::Dir { path.join("user-data") } else { path.clone() });
        let files: Vec<PathBuf> = files.collect();
        self.warn_of_git(files.iter().map(PathBuf::as_path));
        self.tell_private(subject, files.iter().map(PathBuf::as_path))
    }
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
            // An earlier seed folder is replaced as a whole.
            if fsx::exists(path)? {
                open_folder(path, seed::FOLDER_MODE, NO_SEED)?;
            }
            let folder = batch.folder(path, seed::FOLDER_MODE)?;
            return seed.write_private(|name, bytes| folder.add(name, seed::FILE_MODE, bytes));
        }
    };
    seed.volume(volume, epoch)?.write_private(|bytes| batch.add(path, seed::FILE_MODE, bytes))
}
