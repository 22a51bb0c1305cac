//! The command line as typed. `cli::run` dispatches it.

mod build;
mod bundle;
mod cluster;
mod cve;
mod image;
mod lock;
mod pki;
mod server_url;
mod sources;
mod store;

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use build::{Build, Fetch};
pub(super) use bundle::{Bundle, BundleCreate, BundleFiles, BundleImport, BundleVerify};
pub(super) use cluster::{Accel, Cluster, Disk, Images, Machine, Net, Nodes, Qemu, Secrets, Seed, SeedFormat};
pub(super) use cve::{Cve, CveFormat, FailOn};
pub(super) use image::{Audit, Diff};
pub(super) use lock::Lock;
pub(super) use pki::{Admin, Kubeconfig, Pki};
pub(super) use sources::{Sources, Web, is_registry_mirror, is_rewrite};
pub(super) use store::{Gc, Verify};

/// Builds reproducible Kubernetes node images from pinned inputs.
#[derive(Debug, Parser)]
#[command(name = "kbake", version = env!("KBAKE_VERSION"), max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Help heading of the global options.
const EVERYWHERE: &str = "Options of every command";

/// Global options.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Folder with recipes/ and lockfiles/ [default: the current folder if it has recipes/, else those shipped in the binary]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "KBAKE_PROJECT", hide_env_values = true)]
    pub project: Option<PathBuf>,
    /// Store of blobs and built images [default: $XDG_CACHE_HOME/kbake or ~/.cache/kbake]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "KBAKE_STORE", hide_env_values = true)]
    pub store: Option<PathBuf>,
    /// Channel: sources in recipes/sources/CHANNEL.toml, lockfile lockfiles/CHANNEL.lock [default: the one in cluster.toml, else upstream]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "CHANNEL", env = "KBAKE_CHANNEL", hide_env_values = true)]
    pub channel: Option<String>,
    /// Read-only store to look up after the store itself; repeatable (the variable is colon-separated)
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "KBAKE_LOWER_STORES", value_delimiter = ':', hide_env_values = true, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub lower_store: Vec<PathBuf>,
    /// Print events as JSON lines instead of results: what was fetched, built or cached, with bytes and seconds
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Print no progress, only results and errors
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Build role images: images/ROLE.qcow2
    Build(Build),
    /// Fetch all inputs of roles into the store, for a later `build --offline`
    Fetch(Fetch),
    /// Print a role's plan: everything that determines its image
    Plan {
        /// Role with a recipe in recipes/roles/
        role: String,
        /// Print only the plan's digest, which identifies the build
        #[arg(long)]
        key: bool,
    },
    /// Print a role's filesystem: every path with mode, owner, digest and origin
    Tree {
        /// Role with a recipe in recipes/roles/
        role: String,
        /// Omit the origins: print exactly the text that the tree's digest covers
        #[arg(long)]
        plain: bool,
        #[command(flatten)]
        sources: Sources,
    },
    /// Print a role's bill of materials: packages, artifacts, container images
    Sbom {
        /// Role with a recipe in recipes/roles/
        role: String,
        /// Also list what they contain, as fetched: Go modules, Python distributions, packages in container images
        #[arg(long)]
        contents: bool,
        /// Output format
        #[arg(long, value_enum, default_value_t = BillFormat::Cyclonedx)]
        format: BillFormat,
    },
    /// List the known vulnerabilities of roles' packages and Go programs
    Cve(Cve),
    /// Explain why a role must be rebuilt, or was rebuilt the last time, by lines of recipes and lockfile
    Why {
        /// Role with a recipe in recipes/roles/
        role: String,
    },
    /// Compare the lockfiles of two revisions, two plans, or two disk images file by file
    Diff(Diff),
    /// Search disk images for machine identity and secrets: keys, tokens, machine-ids, histories, caches
    Audit(Audit),
    /// Transfer everything that a site without network needs in one file
    #[command(subcommand)]
    Bundle(Bundle),
    /// Verify the digest of everything in the store, and quarantine damaged blobs
    Verify(Verify),
    /// Remove everything from the store that no project needs
    Gc(Gc),
    /// Print the contents of the store with their sizes
    Store,
    /// Resolve the recipes to exact bytes and write the lockfile
    Lock(Lock),
    /// Print the resolved cluster file: every node with its address, MAC and size
    Cluster(Cluster),
    /// Print the cluster's network as libvirt XML, for `virsh net-define /dev/stdin`
    NetXml(Cluster),
    /// Print a node's machine as libvirt XML, for `virsh define /dev/stdin`
    DomainXml(Machine),
    /// Print the command that runs a node under plain QEMU, for hosts without libvirt
    Qemu(Qemu),
    /// Print a dnsmasq configuration for the network's DHCP and DNS, for hosts without libvirt
    Dnsmasq(Cluster),
    /// Print the nodes' names and addresses as lines for /etc/hosts
    Hosts(Cluster),
    /// Print the nodes as an Ansible inventory
    Inventory(Cluster),
    /// Print the host's NFS shares as lines for /etc/exports
    Exports(Cluster),
    /// Create nodes' disks: small overlays over the role images
    Disk(Disk),
    /// Write nodes' seeds: private NoCloud volumes with name, network, keys and certificates
    Seed(Seed),
    /// Manage the cluster's certificates and keys in a private folder
    #[command(subcommand)]
    Pki(Pki),
    /// Print a kubeconfig, which contains a private key
    Kubeconfig(Kubeconfig),
    /// List the roles that can be built
    Roles,
    /// Write the shipped recipes, lockfiles and example clusters into a folder, for editing
    Init {
        /// Folder; existing files are kept
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Print a shell completion script
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, for example `kbake man build | man -l -`
    Man(Manual),
}

impl Command {
    /// True if the command ends with a table of the items it worked on. `gc` prints its own table.
    pub(super) fn has_table(&self) -> bool {
        matches!(self, Command::Build(_) | Command::Fetch(_) | Command::Bundle(_) | Command::Verify(_))
    }
}

#[derive(Debug, Args)]
pub(super) struct Manual {
    /// Command that the page documents [default: kbake itself]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write the pages of all commands into this folder, as COMMAND.1
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    pub out: Option<PathBuf>,
}

/// The format of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BillFormat {
    /// CycloneDX 1.6, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
}
