//! The arguments of the commands on a cluster.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cluster::host::Forward;

/// The cluster that a command works on.
#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// Cluster file [default: cluster.toml]
    #[arg(long, value_name = "FILE", env = "KBAKE_CLUSTER", hide_env_values = true)]
    pub cluster: Option<PathBuf>,
}

/// A selection of the cluster's nodes.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Nodes {
    /// Nodes of the cluster
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
    /// All nodes of the cluster
    #[arg(long)]
    pub all: bool,
}

/// The private folder.
#[derive(Debug, Args)]
pub(crate) struct Secrets {
    /// Private folder [default: secrets/ beside the cluster file]
    #[arg(long, value_name = "DIR", env = "KBAKE_SECRETS", hide_env_values = true)]
    pub secrets: Option<PathBuf>,
}

/// The folder of outputs.
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Folder of role images, disks and seeds
    #[arg(long, value_name = "DIR", default_value = "images")]
    pub images: PathBuf,
}

/// The accelerator, which runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// Linux's KVM
    Kvm,
    /// macOS's Hypervisor framework
    Hvf,
    /// QEMU itself, on any host, slowly
    Tcg,
}

/// The network of a machine under plain QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Net {
    /// The cluster's bridge on a Linux host
    Bridge,
    /// Isolated, with ports forwarded from 127.0.0.1; no privileges needed
    User,
    /// macOS's shared network
    Vmnet,
    /// The cluster's nodes among themselves on one host; no privileges needed
    Multicast,
}

/// One node's machine.
#[derive(Debug, Args)]
pub(crate) struct Machine {
    /// Node of the cluster
    pub node: String,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub images: Images,
    #[command(flatten)]
    pub secrets: Secrets,
    /// Accelerator; plain QEMU falls back to emulation if it is not available
    #[arg(long, value_enum, default_value_t = Accel::Kvm)]
    pub accel: Accel,
}

#[derive(Debug, Args)]
pub(crate) struct Qemu {
    #[command(flatten)]
    pub machine: Machine,
    /// Network of the machine
    #[arg(long, value_enum, default_value_t = Net::Bridge)]
    pub net: Net,
    /// With `--net user`: first forwarded port of the host: ssh at FIRST, etcd at FIRST+2000 and the API server at FIRST+4000, each plus the
    /// node's position in the cluster file [default: 22000]
    #[arg(long, value_name = "FIRST", value_parser = clap::value_parser!(u16).range(1024..=i64::from(Forward::FIRST_MAX)))]
    pub ports: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct Disk {
    #[command(flatten)]
    pub nodes: Nodes,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub images: Images,
}

/// The format of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SeedFormat {
    /// An ISO 9660 volume, NODE.iso
    Iso,
    /// A FAT volume, NODE.img
    Vfat,
    /// A folder of files, NODE/
    Dir,
}

#[derive(Debug, Args)]
pub(crate) struct Seed {
    #[command(flatten)]
    pub nodes: Nodes,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub secrets: Secrets,
    /// Format of the seed
    #[arg(long, value_enum, default_value_t = SeedFormat::Iso)]
    pub format: SeedFormat,
    #[command(flatten)]
    pub images: Images,
    /// Folder for the seeds, which are private [default: seeds/CLUSTER in the folder of images]
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// For a member added to a running etcd cluster by `etcdctl member add`
    #[arg(long)]
    pub etcd_join: bool,
}
