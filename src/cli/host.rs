//! The host's side of a cluster: XML for libvirt, commands and files for whoever has none, disks.

use std::path::Path;

use super::args::{Accel, Cluster as ClusterArgs, Disk, DomainXml, Images, Net, Qemu};
use super::cluster::of_node;
use super::{Session, current_folder};
use crate::cluster::{Cluster, Node};
use crate::disk::qcow2::{Backing, Format, overlay};
use crate::disk::readback::Image;
use crate::error::{Error, Result};
use crate::fsx;
use crate::render::host::{self, HostPath, Link, MachineFiles};
use crate::report::Report as _;

/// Of disks: what a machine writes is its owner's matter, but its hypervisor often runs as another user of the group.
const DISK_MODE: u32 = 0o640;

impl Session<'_> {
    /// `kbake net-xml`, `dnsmasq`, `hosts`, `inventory`, `exports`: text that follows from the cluster alone.
    pub fn print_cluster(&self, args: &ClusterArgs, text: impl FnOnce(&Cluster) -> String) -> Result<()> {
        let cluster = self.cluster(args)?;
        self.shell.data(&text(&cluster))
    }

    /// `kbake domain-xml`.
    pub fn domain_xml(&self, args: &DomainXml) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let node = cluster.node(&args.node)?;
        let files = machine_files(&args.images, &cluster, node)?;
        self.shell.data(&host::domain_xml(&cluster, node, &files, accel(args.accel)))
    }

    /// `kbake qemu`.
    pub fn qemu(&self, args: &Qemu) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let node = cluster.node(&args.node)?;
        let files = machine_files(&args.images, &cluster, node)?;
        let link = match args.net {
            Net::Bridge => Link::Bridge,
            Net::User => Link::user(&cluster, node),
            Net::Vmnet => Link::Vmnet,
            Net::Multicast => Link::Multicast,
        };
        self.shell.data(&host::qemu_command(&cluster, node, &files, accel(args.accel), &link))
    }

    /// `kbake disk`.
    pub fn disk(&self, args: &Disk) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let nodes = args.nodes.of(&cluster)?;
        // All images first: a missing one must not show after the first disks.
        let sizes = nodes.iter().map(|node| image_size(&args.images.images, node)).collect::<Result<Vec<_>>>()?;
        for (node, size) in nodes.into_iter().zip(sizes) {
            let path = of_node(&args.images.images, "disks", &cluster, node, "qcow2");
            if fsx::exists(&path)? {
                self.shell.say(&format!("{}: its disk is there, and stays as it is", node.name));
            } else {
                // From the disk's own folder, so that images/ can be moved as a whole.
                let name = format!("../../{}.qcow2", node.image);
                let bytes = overlay(&Backing { name: &name, format: Format::Qcow2, size }, node.disk.0.max(size))?;
                place_new(&path, &bytes)?;
            }
            self.shell.data(&format!("{}\n", path.display()))?;
        }
        Ok(())
    }
}

/// The size of a role image's disk, in bytes.
fn image_size(images: &Path, node: &Node) -> Result<u64> {
    let path = images.join(format!("{}.qcow2", node.image));
    if !fsx::exists(&path)? {
        return Err(Error::user(format!("node `{}` boots {}, which is not there", node.name, path.display()))
            .hint(format!("`kbake build {}` bakes it; or name its folder with `--images DIR`", node.image)));
    }
    Ok(Image::open(&path)?.size())
}

/// Never replaces a disk: it holds what a machine has written.
fn place_new(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fsx::create_dir_all(folder)?;
    }
    fsx::write_new(path, DISK_MODE, bytes).map(drop)
}

/// Absolute: libvirt and QEMU are told where files are, not where to look.
fn machine_files(args: &Images, cluster: &Cluster, node: &Node) -> Result<MachineFiles> {
    let images = current_folder()?.join(&args.images);
    let files = MachineFiles {
        disk: HostPath::new(&of_node(&images, "disks", cluster, node, "qcow2"))?,
        image: HostPath::new(&images.join(format!("{}.qcow2", node.image)))?,
        seed: Some(HostPath::new(&of_node(&images, "seeds", cluster, node, "iso"))?),
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
