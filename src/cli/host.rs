//! The host's side of a cluster: XML for libvirt, commands and files for whoever has none, disks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::args::{Accel, Cluster as ClusterArgs, Disk, Images, Machine, Qemu, Secrets};
use super::cluster::of_node;
use super::found;
use super::private::{keep_out_of_git, open_folder, require_trust};
use super::{Session, current_folder};
use crate::backing;
use crate::cluster::{Cluster, Mode, Node};
use crate::error::{Error, Result};
use crate::fsx::{self, Persisted};
use crate::render::host::{self, HostPath, MachineFiles};
use crate::report::Report as _;
use crate::value::{RoleName, quote};

/// The usual folder of images, disks and seeds.
pub(super) const IMAGES: &str = "images";
/// Begins the message about a folder that others can change.
const NO_DISK: &str = "no disk is put into";

impl Session<'_> {
    /// `kbake net-xml`.
    pub fn net_xml(&self, args: &ClusterArgs) -> Result<()> {
        let cluster = self.cluster(args)?;
        if cluster.network.mode == Mode::Bridged {
            let bridge = &cluster.network.bridge;
            self.shell.notice(&format!("note: no machine needs this network: `kbake domain-xml` names the bridge {bridge} itself"));
        }
        self.shell.data(&host::network_xml(&cluster))
    }

    /// `kbake dnsmasq`.
    pub fn dnsmasq(&self, args: &ClusterArgs) -> Result<()> {
        let cluster = self.cluster(args)?;
        match cluster.network.mode {
            Mode::Bridged => Err(Error::user(format!(
                "the network of bridge {} has DHCP and DNS of its own, and a second one would answer its machines, too",
                cluster.network.bridge
            ))
            .hint("nodes have their addresses and each other's names from their seeds; `kbake hosts` has the names for the host")),
            Mode::Nat { .. } | Mode::Route { .. } | Mode::Isolated | Mode::Open => self.shell.data(&host::dnsmasq_conf(&cluster)),
        }
    }

    /// `kbake hosts`, `inventory`, `exports`: text that follows from the cluster alone.
    pub fn print_cluster(&self, args: &ClusterArgs, text: impl FnOnce(&Cluster) -> String) -> Result<()> {
        let cluster = self.cluster(args)?;
        self.shell.data(&text(&cluster))
    }

    /// `kbake domain-xml`.
    pub fn domain_xml(&self, args: &Machine) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let node = cluster.node(&args.node)?;
        let files = machine_files(&args.images, &cluster, node)?;
        self.say_what_is_missing(&args.cluster, &args.images, &cluster, node)?;
        self.say_what_is_stale(&of_machine(args, &cluster, node))?;
        self.shell.data(&host::domain_xml(&cluster, node, &files, accel(args.accel)))
    }

    /// `kbake qemu`.
    pub fn qemu(&self, args: &Qemu) -> Result<()> {
        let machine = &args.machine;
        let cluster = self.cluster(&machine.cluster)?;
        let node = cluster.node(&machine.node)?;
        let files = machine_files(&machine.images, &cluster, node)?;
        let link = self.link(args, &cluster, node)?;
        self.say_what_is_missing(&machine.cluster, &machine.images, &cluster, node)?;
        self.say_what_is_stale(&of_machine(machine, &cluster, node))?;
        self.shell.data(&host::qemu_command(&cluster, node, &files, accel(machine.accel), &link))
    }

    /// `kbake disk`.
    pub fn disk(&self, args: &Disk) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let nodes = args.nodes.of(&cluster)?;
        let place = |node: &Node| of_node(&args.images.images, "disks", &cluster, node, "qcow2");
        let mut without = Vec::new();
        for node in &nodes {
            if !fsx::exists(&place(node))? {
                without.push(*node);
            }
        }
        // All images first: a missing one must not show after the first disks.
        let roles = self.project()?.roles()?;
        for node in &without {
            check_image(&args.images.images, node, &roles)?;
        }
        let disks = args.images.images.join("disks");
        // Files in a folder of others count for nothing, even when they exist already.
        for node in &nodes {
            require_trust(place(node).parent().unwrap_or(&disks), NO_DISK)?;
        }
        if !without.is_empty() && open_folder(&disks, backing::FOLDER_MODE, NO_DISK)? {
            // Machines copy their keys to their disks.
            keep_out_of_git(&disks)?;
        }
        let mut bases = BTreeMap::new();
        for node in &without {
            if !bases.contains_key(&node.image) {
                let base = backing::keep(&image(&args.images.images, node), &node.image, &disks, self.cancel)?;
                bases.insert(&node.image, base);
            }
        }
        for node in nodes {
            let path = place(node);
            match bases.get(&node.image).filter(|_| without.iter().any(|other| other.name == node.name)) {
                Some(base) => _ = backing::place_disk(&path, base, node.disk)?,
                None => {
                    self.shell.say(&format!("{}: its disk is there, and stays as it is", node.name));
                    let (file, images, secrets) = (&args.cluster, &args.images, &Secrets { secrets: None });
                    self.say_what_is_old_of_the_disk(&found::Machine { cluster: &cluster, node, file, images, secrets })?;
                }
            }
            self.shell.data(&format!("{}\n", path.display()))?;
            self.data_disk(args, &cluster, node)?;
        }
        Ok(())
    }

    /// Makes a node's data disk, if it has one that is not there yet.
    fn data_disk(&self, args: &Disk, cluster: &Cluster, node: &Node) -> Result<()> {
        let Some(data) = &node.data else { return Ok(()) };
        let path = data_disk(&args.images.images, cluster, node);
        if backing::place_empty(&path, data.size)? == Persisted::WasThere {
            self.shell.say(&format!("{}: its data disk is there, and stays as it is", node.name));
        }
        self.shell.data(&format!("{}\n", path.display()))
    }

    /// Machines can be described before their files are there, but not started. Says so, with the commands that make them.
    fn say_what_is_missing(&self, file: &ClusterArgs, images: &Images, cluster: &Cluster, node: &Node) -> Result<()> {
        let cluster_option = cluster_option(file);
        let is_usual = images.images == Path::new(IMAGES);
        let seeds = images.images.join("seeds").join(cluster.name.as_str());
        let folder = |option, folder: &Path| if is_usual { String::new() } else { word(option, folder) };
        let mut needed = vec![
            ("disk", "disk", "disks", "qcow2", folder(" --images ", &images.images)),
            ("seed", "seed", "seeds", "iso", folder(" --out ", &seeds)),
        ];
        if node.data.is_some() {
            needed.push(("data disk", "disk", "disks", DATA_END, folder(" --images ", &images.images)));
        }
        for (what, command, kind, end, option) in needed {
            let path = of_node(&images.images, kind, cluster, node, end);
            if !fsx::exists(&path)? {
                let make = format!("kbake {command} {}{cluster_option}{option}", node.name);
                self.shell.notice(&format!("note: the {what} {} is not there yet; `{make}` makes it", path.display()));
            }
        }
        Ok(())
    }
}

/// `--cluster` as it was typed, for commands that are to be pasted.
pub(super) fn cluster_option(file: &ClusterArgs) -> String {
    file.cluster.as_ref().map(|file| word(" --cluster ", file)).unwrap_or_default()
}

/// How a data disk's name ends. No node's name has a dot, so none has the disk of this name.
const DATA_END: &str = "data.qcow2";

fn data_disk(images: &Path, cluster: &Cluster, node: &Node) -> PathBuf {
    of_node(images, "disks", cluster, node, DATA_END)
}

fn of_machine<'a>(args: &'a Machine, cluster: &'a Cluster, node: &'a Node) -> found::Machine<'a> {
    found::Machine { cluster, node, file: &args.cluster, images: &args.images, secrets: &args.secrets }
}

/// An option with a path, as a shell takes it.
fn word(option: &str, path: &Path) -> String {
    format!("{option}{}", quote(&path.display().to_string()))
}

fn image(images: &Path, node: &Node) -> PathBuf {
    images.join(format!("{}.qcow2", node.image))
}

fn check_image(images: &Path, node: &Node, roles: &[RoleName]) -> Result<()> {
    let path = image(images, node);
    if fsx::exists(&path)? {
        return Ok(());
    }
    let error = Error::user(format!("node `{}` boots {}, which is not there", node.name, path.display()));
    Err(match roles.contains(&node.image) {
        true => error.hint(format!("`kbake build {}` bakes it; or name its folder with `--images DIR`", node.image)),
        false => error
            .detail(format!("there is no recipe recipes/roles/{}.toml to bake it from", node.image))
            .hint("write that recipe, or give the node another `image`, or name the folder that has the image with `--images DIR`"),
    })
}

/// Absolute: libvirt and QEMU are told where files are, not where to look.
fn machine_files(args: &Images, cluster: &Cluster, node: &Node) -> Result<MachineFiles> {
    let images = current_folder()?.join(&args.images);
    // `kbake seed --format vfat` makes the other kind.
    let seed = ["iso", "img"].map(|end| of_node(&images, "seeds", cluster, node, end));
    let [iso, fat] = [fsx::exists(&seed[0])?, fsx::exists(&seed[1])?];
    let files = MachineFiles {
        disk: HostPath::new(&of_node(&images, "disks", cluster, node, "qcow2"))?,
        seed: Some(HostPath::new(&seed[usize::from(fat && !iso)])?),
        data: node.data.as_ref().map(|_| HostPath::new(&data_disk(&images, cluster, node))).transpose()?,
    };
    Ok(files)
}

fn accel(typed: Accel) -> host::Accel {
    match typed {
        Accel::Kvm => host::Accel::Kvm,
        Accel::Hvf => host::Accel::Hvf,
        Accel::Tcg => host::Accel::Emulated,
    }
}
