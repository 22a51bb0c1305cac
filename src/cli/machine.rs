//! The commands that describe a machine: `kbake domain-xml`, `kbake qemu`.

use std::path::Path;

use super::args::{Accel, Cluster as ClusterArgs, Images, Machine, Qemu};
use super::cluster::{cluster_option, of_node, path_option};
use super::machine_files::{self, DATA_END, data_disk};
use super::{IMAGES, Session, current_folder};
use crate::cluster::host::{self, HostPath, MachineFiles};
use crate::cluster::model::{Cluster, Node};
use crate::common::error::Result;
use crate::common::fsx;

impl Session<'_> {
    /// `kbake domain-xml`.
    pub(super) fn domain_xml(&self, args: &Machine) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let node = cluster.node(&args.node)?;
        let files = machine_files(&args.images, &cluster, node)?;
        self.say_what_is_missing(&args.cluster, &args.images, &cluster, node)?;
        self.warn_of_stale_files(&of_machine(args, &cluster, node))?;
        self.shell.data(&host::domain_xml(&cluster, node, &files, accel(args.accel)))
    }

    /// `kbake qemu`.
    pub(super) fn qemu(&self, args: &Qemu) -> Result<()> {
        let machine = &args.machine;
        let cluster = self.cluster(&machine.cluster)?;
        let node = cluster.node(&machine.node)?;
        let files = machine_files(&machine.images, &cluster, node)?;
        let link = self.link(args, &cluster, node)?;
        self.say_what_is_missing(&machine.cluster, &machine.images, &cluster, node)?;
        self.warn_of_stale_files(&of_machine(machine, &cluster, node))?;
        self.shell.data(&host::qemu_command(&cluster, node, &files, accel(machine.accel), &link))
    }

    /// Notes missing files, with the commands that create them: a machine can be described without them, but not started.
    fn say_what_is_missing(&self, file: &ClusterArgs, images: &Images, cluster: &Cluster, node: &Node) -> Result<()> {
        let cluster_option = cluster_option(file);
        let is_usual = images.images == Path::new(IMAGES);
        let seeds = images.images.join("seeds").join(cluster.name.as_str());
        let folder = |option, folder: &Path| if is_usual { String::new() } else { path_option(option, folder) };
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
                self.shell.notice(&format!("note: the {what} {} does not exist yet; `{make}` creates it", path.display()));
            }
        }
        Ok(())
    }
}

fn of_machine<'a>(args: &'a Machine, cluster: &'a Cluster, node: &'a Node) -> machine_files::Machine<'a> {
    machine_files::Machine { cluster, node, file: &args.cluster, images: &args.images, secrets: &args.secrets }
}

/// The machine's files with absolute paths, as libvirt and QEMU need them.
fn machine_files(args: &Images, cluster: &Cluster, node: &Node) -> Result<MachineFiles> {
    let images = current_folder()?.join(&args.images);
    // `kbake seed --format vfat` writes the second name.
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
