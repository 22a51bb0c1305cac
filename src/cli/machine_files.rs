//! Existing files of machines: their owners, and whether they still match the cluster file.

use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroize as _;

use super::args::{Cluster as ClusterArgs, Images, Secrets};
use super::clock::now;
use super::cluster::of_node;
use super::{IMAGES, Session, cluster_files};
use crate::cluster::machine_disk;
use crate::cluster::model::{Cluster, Node};
use crate::cluster::node::EtcdStart;
use crate::cluster::seed::{self, Found};
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Kind};
use crate::common::value::{Size, quote};

/// Size limit for reading a seed, in bytes. A seed has some hundred KiB.
const SEED_MAX: u64 = 16 << 20;

/// The content at a seed's path.
pub(super) enum Existing {
    /// Nothing, or an empty folder.
    Nothing,
    /// A seed written by kbake.
    Seed(Found),
    /// Anything else, described for messages.
    Other(&'static str),
}

impl Existing {
    /// The content at `path`: a volume, or a folder of documents. Links are not followed.
    pub(super) fn at(path: &Path) -> Result<Existing> {
        let found = match fsx::facts(path)? {
            None => return Ok(Existing::Nothing),
            Some(facts) if facts.kind == Kind::Link => return Ok(Existing::Other("a link")),
            Some(facts) if facts.kind == Kind::Folder && fsx::list(path)?.is_empty() => return Ok(Existing::Nothing),
            Some(facts) if facts.kind == Kind::Folder => {
                let text = |name: &str| read(&path.join(name)).map(|bytes| bytes.and_then(|bytes| String::from_utf8(bytes).ok()));
                let (meta_data, network) = (text("meta-data")?, text("network-config")?);
                meta_data.and_then(|meta_data| Found::of_documents(&meta_data, &network.unwrap_or_default()))
            }
            Some(_) => read(path)?.and_then(|mut bytes| {
                let found = Found::of_volume(&bytes);
                // The volume contains keys.
                bytes.zeroize();
                found
            }),
        };
        Ok(found.map_or(Existing::Other("a file or folder that kbake did not write"), Existing::Seed))
    }

    /// Refuses to replace anything but an earlier seed of this node.
    pub(super) fn require_replaceable(&self, path: &Path, cluster: &Cluster, node: &Node) -> Result<()> {
        let found = match self {
            Existing::Nothing => return Ok(()),
            Existing::Seed(found) if found.is_of(cluster, node) => return Ok(()),
            Existing::Seed(found) => described(found),
            Existing::Other(what) => (*what).to_owned(),
        };
        let shown = path.display();
        let word = quote(&shown.to_string());
        Err(Error::user(format!("{shown} already exists and is not a seed of node `{}` of cluster `{}`", node.name, cluster.name))
            .detail(format!("found {found}"))
            .hint(format!("name another folder with --out; or, if it is not needed: mv {word} {word}.old")))
    }
}

fn described(found: &Found) -> String {
    let cluster = found.cluster.as_ref().map(|cluster| format!(" of cluster `{}`", cluster.escape_debug())).unwrap_or_default();
    format!("the seed of node `{}`{cluster}", found.node.escape_debug())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    Ok(fsx::read_no_follow(path, SEED_MAX)?.and_then(|(_, bytes)| bytes))
}

/// The arguments of a command on a machine, for printed commands.
pub(super) struct Machine<'a> {
    pub cluster: &'a Cluster,
    pub node: &'a Node,
    pub file: &'a ClusterArgs,
    pub images: &'a Images,
    pub secrets: &'a Secrets,
}

impl Session<'_> {
    /// Warns of differences between a machine's disk and seeds and the cluster file, with both values and a command. Missing files
    /// are ignored.
    pub(super) fn warn_of_stale_files(&self, machine: &Machine<'_>) -> Result<()> {
        let Machine { cluster, node, images, .. } = machine;
        for end in ["iso", "img"] {
            let path = of_node(&images.images, "seeds", cluster, node, end);
            if let Some(why) = self.seed_problem(machine, &Existing::at(&path)?)? {
                let make = machine.command("seed", if end == "img" { " --format vfat" } else { "" });
                self.shell.notice(&format!("warning: the seed {} {why}; `{make}` writes it again", path.display()));
            }
        }
        self.warn_of_old_disk(machine)
    }

    fn seed_problem(&self, machine: &Machine<'_>, there: &Existing) -> Result<Option<String>> {
        let Machine { cluster, node, .. } = machine;
        let found = match there {
            Existing::Nothing => return Ok(None),
            Existing::Other(_) => return Ok(Some("was not written by kbake".to_owned())),
            Existing::Seed(found) if !found.is_of(cluster, node) => return Ok(Some(format!("is {}", described(found)))),
            Existing::Seed(found) => found,
        };
        let file = machine.file.file().display();
        if let Some((old, new)) = found.other_network(cluster, node) {
            return Ok(Some(format!("no longer matches {file}: its network has `{old}`, the file has `{new}`")));
        }
        let Some(now) = self.instances(machine) else { return Ok(None) };
        Ok((!now.contains(&found.instance))
            .then(|| format!("no longer matches {file} and the certificates: it is instance {}, they give {}", found.instance, now[0])))
    }

    /// The instance IDs of the node's current seed, as a new and as a joining member of etcd; none without the keys.
    fn instances(&self, machine: &Machine<'_>) -> Option<[String; 2]> {
        let pki = self.pki(machine.file, machine.secrets, machine.cluster);
        let secrets = pki.load(now().ok()?).ok()?;
        let file = machine.file.file();
        let files = cluster_files::of_node(file, machine.node, &cluster_files::authorities(file, machine.cluster).ok()?).ok()?;
        let instance = |start| Some(seed::of(machine.cluster, machine.node, start, &secrets, &files).ok()?.instance().to_owned());
        Some([instance(EtcdStart::New)?, instance(EtcdStart::Join)?])
    }

    /// Warns if a machine's disk lies on another role image than the current one, has another size than in the cluster file, or
    /// lacks its backing image.
    pub(super) fn warn_of_old_disk(&self, machine: &Machine<'_>) -> Result<()> {
        let Machine { cluster, node, images, .. } = machine;
        let path = of_node(&images.images, "disks", cluster, node, "qcow2");
        let (shown, word) = (path.display(), quote(&path.display().to_string()));
        let Some(disk) = machine_disk::read_disk(&path)? else { return Ok(()) };
        let anew = format!("rm {word} && {}", machine.command("disk", ""));
        let over = format!("`{anew}` starts over, and loses everything that the machine has written");
        if !disk.backing_exists {
            let what = format!("the backing image {} of the disk {shown} does not exist", disk.backing);
            self.shell.notice(&format!("warning: {what}: the machine cannot start; restore the file, otherwise {over}"));
        }
        let image = images.images.join(format!("{}.qcow2", node.image));
        if let Some(name) = machine_disk::backing_name(&image, &node.image, self.cancel)?.filter(|name| *name != disk.backing) {
            let what = format!("the backing image of the disk {shown} is {}, but {} is now {name}", disk.backing, image.display());
            self.shell.notice(&format!("note: {what}; {over}"));
        }
        if disk.size < node.disk.0 {
            let what = format!("the disk {shown} has {}, but {} has {}", Size(disk.size), machine.file.file().display(), node.disk);
            self.shell.notice(&format!(
                "warning: {what}; to enlarge the disk, run `qemu-img resize {word} {}` while the machine is off",
                node.disk.0
            ));
        }
        if disk.size > node.disk.0.max(machine_disk::min_size(&image)?) {
            let what = format!("the disk {shown} has {}, but {} has {}", Size(disk.size), machine.file.file().display(), node.disk);
            self.shell.notice(&format!("warning: {what}; a disk cannot shrink: raise `disk`, otherwise {over}"));
        }
        Ok(())
    }
}

impl Machine<'_> {
    /// A command on the node, with this call's options.
    pub(super) fn command(&self, command: &str, more: &str) -> String {
        let mut text = format!("kbake {command} {}", self.node.name);
        let option = |name: &str, path: &Path| format!(" {name} {}", quote(&path.display().to_string()));
        text.extend(self.file.cluster.as_ref().map(|file| option("--cluster", file)));
        if command == "seed" {
            text.extend(self.secrets.secrets.as_ref().map(|folder| option("--secrets", folder)));
        }
        if self.images.images != Path::new(IMAGES) {
            text.push_str(&option("--images", &self.images.images));
        }
        text + more
    }
}

/// Extension of a data disk. No node's name has a dot, so it cannot be the disk of another node.
pub(super) const DATA_END: &str = "data.qcow2";

/// The path of a node's data disk.
pub(super) fn data_disk(images: &Path, cluster: &Cluster, node: &Node) -> PathBuf {
    of_node(images, "disks", cluster, node, DATA_END)
}
