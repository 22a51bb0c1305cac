//! Files of machines that are there already: whose they are, and whether they still fit the cluster file.

use std::path::Path;

use secrecy::zeroize::Zeroize as _;

use super::args::{Cluster as ClusterArgs, Images, Secrets};
use super::cluster::of_node;
use super::pki::now;
use super::{Session, named};
use crate::backing;
use crate::cluster::{Cluster, Node};
use crate::error::{Error, Result};
use crate::fsx::{self, Kind};
use crate::render::EtcdStart;
use crate::seed::{self, Found};
use crate::value::{Size, quote};

/// The largest seed that is looked into, in bytes. One has some hundred KiB.
const SEED_MAX: u64 = 16 << 20;

/// The content at a seed's path.
pub(super) enum There {
    /// Nothing, or an empty folder.
    Nothing,
    /// A seed that kbake has written.
    Seed(Found),
    /// Anything else, as the end of a sentence.
    Other(&'static str),
}

impl There {
    /// The content at `path`: a volume, or a folder of documents. Links are not followed.
    pub(super) fn at(path: &Path) -> Result<There> {
        let found = match fsx::facts(path)? {
            None => return Ok(There::Nothing),
            Some(facts) if facts.kind == Kind::Link => return Ok(There::Other("a link, which may lead anywhere")),
            Some(facts) if facts.kind == Kind::Folder && fsx::list(path)?.is_empty() => return Ok(There::Nothing),
            Some(facts) if facts.kind == Kind::Folder => {
                let text = |name: &str| read(&path.join(name)).map(|bytes| bytes.and_then(|bytes| String::from_utf8(bytes).ok()));
                let (meta_data, network) = (text("meta-data")?, text("network-config")?);
                meta_data.and_then(|meta_data| Found::of_documents(&meta_data, &network.unwrap_or_default()))
            }
            Some(_) => read(path)?.and_then(|mut bytes| {
                let found = Found::of_volume(&bytes);
                // Keys are in it, too.
                bytes.zeroize();
                found
            }),
        };
        Ok(found.map_or(There::Other("something that kbake has not written"), There::Seed))
    }

    /// Refuses to write this node's seed over what is somebody else's.
    pub(super) fn require_replaceable(&self, path: &Path, cluster: &Cluster, node: &Node) -> Result<()> {
        let found = match self {
            There::Nothing => return Ok(()),
            There::Seed(found) if found.is_of(cluster, node) => return Ok(()),
            There::Seed(found) => described(found),
            There::Other(what) => (*what).to_owned(),
        };
        let shown = path.display();
        let word = quote(&shown.to_string());
        Err(Error::user(format!("{shown} is there, and is no seed of node `{}` of cluster `{}`", node.name, cluster.name))
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

/// Arguments of a command on a machine, to name it in commands that mend.
pub(super) struct Machine<'a> {
    pub cluster: &'a Cluster,
    pub node: &'a Node,
    pub file: &'a ClusterArgs,
    pub images: &'a Images,
    pub secrets: &'a Secrets,
}

impl Session<'_> {
    /// Says where a machine's disk and seed do not say what the cluster file says, with both values and the command that
    /// helps. What is not there is not spoken of.
    pub(super) fn say_what_is_stale(&self, machine: &Machine<'_>) -> Result<()> {
        let Machine { cluster, node, images, .. } = machine;
        for end in ["iso", "img"] {
            let path = of_node(&images.images, "seeds", cluster, node, end);
            if let Some(why) = self.seed_trouble(machine, &There::at(&path)?)? {
                let make = machine.command("seed", if end == "img" { " --format vfat" } else { "" });
                self.shell.notice(&format!("warning: the seed {} {why}; `{make}` makes it anew", path.display()));
            }
        }
        self.say_what_is_old_of_the_disk(machine)
    }

    fn seed_trouble(&self, machine: &Machine<'_>, there: &There) -> Result<Option<String>> {
        let Machine { cluster, node, .. } = machine;
        let found = match there {
            There::Nothing => return Ok(None),
            There::Other(_) => return Ok(Some("was not written by kbake".to_owned())),
            There::Seed(found) if !found.is_of(cluster, node) => return Ok(Some(format!("is {}", described(found)))),
            There::Seed(found) => found,
        };
        let file = machine.file.file().display();
        if let Some((old, new)) = found.other_network(cluster, node) {
            return Ok(Some(format!("does not fit {file} any more: its network has `{old}`, the file says `{new}`")));
        }
        let Some(now) = self.instances(machine) else { return Ok(None) };
        Ok((!now.contains(&found.instance)).then(|| {
            format!("does not fit {file} and the certificates any more: it is instance {}, and they make {}", found.instance, now[0])
        }))
    }

    /// The instances that the node's seed could be now, as a new member of etcd and as one that joins; none without the keys.
    fn instances(&self, machine: &Machine<'_>) -> Option<[String; 2]> {
        let pki = self.pki(machine.file, machine.secrets, machine.cluster);
        let secrets = pki.load(now().ok()?).ok()?;
        let file = machine.file.file();
        let files = named::of_node(file, machine.node, &named::authorities(file, machine.cluster).ok()?).ok()?;
        let instance = |start| Some(seed::of(machine.cluster, machine.node, start, &secrets, &files).ok()?.instance().to_owned());
        Some([instance(EtcdStart::New)?, instance(EtcdStart::Join)?])
    }

    /// Says where a machine's disk is not over the role image that is there, is not as large as the cluster file says, or
    /// cannot be read any more.
    pub(super) fn say_what_is_old_of_the_disk(&self, machine: &Machine<'_>) -> Result<()> {
        let Machine { cluster, node, images, .. } = machine;
        let path = of_node(&images.images, "disks", cluster, node, "qcow2");
        let (shown, word) = (path.display(), quote(&path.display().to_string()));
        let Some(disk) = backing::look(&path)? else { return Ok(()) };
        let anew = format!("rm {word} && {}", machine.command("disk", ""));
        if !disk.base_is_there {
            let what = format!("the disk {shown} lies on {}, which is not there", disk.base);
            self.shell.notice(&format!("warning: {what}: the machine cannot start; bring the file back, or `{anew}`"));
        }
        let image = images.images.join(format!("{}.qcow2", node.image));
        if let Some(name) = backing::name_of(&image, &node.image, self.cancel)?.filter(|name| *name != disk.base) {
            let what = format!("the disk {shown} lies on {}, {} is {name} now", disk.base, image.display());
            self.shell.notice(&format!("note: {what}; `{anew}` starts over on it, and loses what the machine has written"));
        }
        if disk.size < node.disk.0 {
            let what = format!("the disk {shown} has {}, {} says {}", Size(disk.size), machine.file.file().display(), node.disk);
            self.shell.notice(&format!("warning: {what}; while the machine is off: `qemu-img resize {word} {}`", node.disk.0));
        }
        if disk.size > node.disk.0.max(backing::least(&image)?) {
            let what = format!("the disk {shown} has {}, {} says {}", Size(disk.size), machine.file.file().display(), node.disk);
            self.shell.notice(&format!("warning: {what}; a disk is not made smaller: keep the larger `disk`, or `{anew}`"));
        }
        Ok(())
    }
}

impl Machine<'_> {
    /// A command on the node that can be pasted.
    pub(super) fn command(&self, command: &str, more: &str) -> String {
        let mut text = format!("kbake {command} {}", self.node.name);
        let option = |name: &str, path: &Path| format!(" {name} {}", quote(&path.display().to_string()));
        text.extend(self.file.cluster.as_ref().map(|file| option("--cluster", file)));
        if command == "seed" {
            text.extend(self.secrets.secrets.as_ref().map(|folder| option("--secrets", folder)));
        }
        if self.images.images != Path::new(super::host::IMAGES) {
            text.push_str(&option("--images", &self.images.images));
        }
        text + more
    }
}
