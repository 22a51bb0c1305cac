//! `kbake disk`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Session;
use super::args::{Disk, Secrets};
use super::cluster::of_node;
use super::machine_files::{self, data_disk};
use super::private_files::{keep_out_of_git, open_folder, require_trust};
use crate::cluster::machine_disk;
use crate::cluster::model::{Cluster, Node};
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Persisted};
use crate::common::report::Report as _;
use crate::common::value::RoleName;

/// First words of the message about an insecure folder.
const NO_DISK: &str = "no disk is written to";

impl Session<'_> {
    /// `kbake disk`.
    pub(super) fn disk(&self, args: &Disk) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let nodes = args.nodes.of(&cluster)?;
        let place = |node: &Node| of_node(&args.images.images, "disks", &cluster, node, "qcow2");
        let mut without = Vec::new();
        for node in &nodes {
            if !fsx::exists(&place(node))? {
                without.push(*node);
            }
        }
        // All images are checked before the first disk is created.
        let roles = self.project()?.roles()?;
        for node in &without {
            check_image(&args.images.images, node, &roles)?;
        }
        let disks = args.images.images.join("disks");
        // Existing files in an insecure folder are not trusted either.
        for node in &nodes {
            require_trust(place(node).parent().unwrap_or(&disks), NO_DISK)?;
        }
        if !without.is_empty() && open_folder(&disks, machine_disk::FOLDER_MODE, NO_DISK)? {
            // A machine's disk contains its keys.
            keep_out_of_git(&disks)?;
        }
        let mut bases = BTreeMap::new();
        for node in &without {
            if !bases.contains_key(&node.image) {
                let base = machine_disk::keep_backing(&image(&args.images.images, node), &node.image, &disks, self.cancel)?;
                bases.insert(&node.image, base);
            }
        }
        for node in nodes {
            let path = place(node);
            match bases.get(&node.image).filter(|_| without.iter().any(|other| other.name == node.name)) {
                Some(base) => _ = machine_disk::create_disk(&path, base, node.disk)?,
                None => {
                    self.shell.say(&format!("{}: its disk exists and is kept", node.name));
                    let (file, images, secrets) = (&args.cluster, &args.images, &Secrets { secrets: None });
                    self.warn_of_old_disk(&machine_files::Machine { cluster: &cluster, node, file, images, secrets })?;
                }
            }
            self.shell.data(&format!("{}\n", path.display()))?;
            self.data_disk(args, &cluster, node)?;
        }
        Ok(())
    }

    /// Creates a node's data disk, if it has one that does not exist.
    fn data_disk(&self, args: &Disk, cluster: &Cluster, node: &Node) -> Result<()> {
        let Some(data) = &node.data else { return Ok(()) };
        let path = data_disk(&args.images.images, cluster, node);
        if machine_disk::create_empty(&path, data.size)? == Persisted::WasThere {
            self.shell.say(&format!("{}: its data disk exists and is kept", node.name));
        }
        self.shell.data(&format!("{}\n", path.display()))
    }
}

fn image(images: &Path, node: &Node) -> PathBuf {
    images.join(format!("{}.qcow2", node.image))
}

fn check_image(images: &Path, node: &Node, roles: &[RoleName]) -> Result<()> {
    let path = image(images, node);
    if fsx::exists(&path)? {
        return Ok(());
    }
    let error = Error::user(format!("node `{}` boots {}, which does not exist", node.name, path.display()));
    Err(match roles.contains(&node.image) {
        true => error.hint(format!("`kbake build {}` builds it; or name its folder with `--images DIR`", node.image)),
        false => error
            .detail(format!("there is no recipe recipes/roles/{}.toml to build it from", node.image))
            .hint("write that recipe, or give the node another `image`, or name the folder that has the image with `--images DIR`"),
    })
}
