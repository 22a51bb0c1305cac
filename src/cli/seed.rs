//! `kbake seed`: nodes of a cluster file into private files.

use std::path::{Path, PathBuf};

use super::args::{Seed, SeedFormat};
use super::{Session, named};
use crate::cluster::Node;
use crate::error::{Error, Result};
use crate::fsx::{self, Batch, Kind};
use crate::render::EtcdStart;
use crate::report::Report as _;
use crate::seed::{self, Volume};
use crate::value::{Epoch, quote};

/// Of the folder of seeds. A hypervisor that runs as another user must pass through it to a file that it was given;
/// each file in it is its owner's alone.
const FOLDER_MODE: u32 = 0o711;
const IGNORE_MODE: u32 = 0o644;

impl Session<'_> {
    /// `kbake seed`.
    pub fn seed(&self, args: &Seed) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let nodes = args.nodes.of(&cluster)?;
        let secrets = self.secrets(&cluster, &args.cluster, &args.secrets)?;
        let channel = self.global.channel.as_deref().unwrap_or(cluster.channel.as_str());
        let epoch = self.project()?.channel(channel)?.sources.epoch;
        let start = if args.etcd_join { EtcdStart::Join } else { EtcdStart::New };
        // All are made before one is written: what is missing for the last must not show after the first.
        let file = args.cluster.file();
        let authorities = named::authorities(file, &cluster)?;
        let seed = |node: &Node| seed::of(&cluster, node, start, &secrets, &named::of_node(file, node, &authorities)?);
        let seeds = nodes.iter().map(|node| Ok((*node, seed(node)?))).collect::<Result<Vec<_>>>()?;
        let out = args.out.clone().unwrap_or_else(|| args.images.images.join("seeds").join(cluster.name.as_str()));
        open_folder(&out, FOLDER_MODE)?;
        keep_out_of_git(&out)?;
        let mut batch = Batch::default();
        let mut names = String::new();
        for (node, seed) in &seeds {
            let path = place(&out, node, args.format);
            write(seed, &path, args.format, epoch, &mut batch)?;
            names.push_str(&format!("{}\n", path.display()));
        }
        batch.commit()?;
        self.shell.data(&names)?;
        let what = if nodes.len() == 1 { "the seed is written; it is" } else { "the seeds are written; they are" };
        self.shell.say(&format!("{what} private (mode 0600)"));
        Ok(())
    }
}

/// Makes the folder, or takes the one that is there if nobody else can change what is in it.
fn open_folder(path: &Path, mode: u32) -> Result<()> {
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        fsx::create_dir_all(above)?;
    }
    fsx::create_dir(path, mode)?;
    let Some(facts) = fsx::facts(path)? else { return Ok(()) };
    let shown = path.display();
    let refused = |why: String| Err(Error::user(format!("no seed is put into {shown}: {why}")));
    match facts.kind {
        Kind::Folder if facts.owner != fsx::user() => refused("it is somebody else's".to_owned()),
        Kind::Folder if facts.mode & 0o022 != 0 => refused(format!("others may write to it (mode {:04o})", facts.mode & 0o7777))
            .map_err(|error: Error| error.hint(format!("chmod go-w {}", quote(&shown.to_string())))),
        Kind::Folder => Ok(()),
        _ => refused("it is no folder of its own, but a link or a file".to_owned()),
    }
}

/// A seed holds keys, and `git add` takes whatever is not refused.
pub(super) fn keep_out_of_git(folder: &Path) -> Result<()> {
    fsx::write_new(&folder.join(".gitignore"), IGNORE_MODE, b"*\n").map(drop)
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
            // It is replaced as a whole, if it is one's own.
            if fsx::exists(path)? {
                open_folder(path, seed::FOLDER_MODE)?;
            }
            let folder = batch.folder(path, seed::FOLDER_MODE)?;
            return seed.write_private(|name, bytes| folder.add(name, seed::FILE_MODE, bytes));
        }
    };
    seed.volume(volume, epoch)?.write_private(|bytes| batch.add(path, seed::FILE_MODE, bytes))
}
