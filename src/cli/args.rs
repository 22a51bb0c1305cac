//! The command line, as typed. What it resolves to is decided in `cli::run`.

mod keep;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use keep::{Audit, Bundle, BundleCreate, BundleFiles, BundleImport, BundleVerify, Diff, Gc, Verify};

use super::reach::ServerUrl;
use crate::render::host::Forward;
use crate::resolve;
use crate::value::ArtifactName;

/// Bakes reproducible Kubernetes node images from pinned inputs.
#[derive(Debug, Parser)]
#[command(name = "kbake", version = env!("KBAKE_VERSION"), max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The help's heading for the options of every command.
const EVERYWHERE: &str = "Options of every command";

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Where recipes/ and lockfiles/ are [default: the current folder if it has recipes/, else those shipped in the binary]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "KBAKE_PROJECT", hide_env_values = true)]
    pub project: Option<PathBuf>,
    /// The store of blobs and built images [default: $XDG_CACHE_HOME/kbake or ~/.cache/kbake]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "KBAKE_STORE", hide_env_values = true)]
    pub store: Option<PathBuf>,
    /// Where bytes come from: recipes/sources/CHANNEL.toml with lockfiles/CHANNEL.lock [default: what cluster.toml says, else upstream]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "CHANNEL", env = "KBAKE_CHANNEL", hide_env_values = true)]
    pub channel: Option<String>,
    /// A store that others look after: what it has is used, and nothing is written to it; may be repeated; colons are between those of the variable
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "KBAKE_LOWER_STORES", value_delimiter = ':', hide_env_values = true, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub lower_store: Vec<PathBuf>,
    /// Print events as JSON, one in a line, in place of results: what was fetched, built, there already, with bytes and seconds
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Say less: no progress, only results and errors
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bake role images: images/ROLE.qcow2
    Build(Build),
    /// Fetch what the roles need into the store, for a later `build --offline`
    Fetch(Fetch),
    /// Print a role's plan: everything that decides its image, and nothing else
    Plan {
        /// A recipe in recipes/roles/
        role: String,
        /// Print only the plan's digest, the build's identity
        #[arg(long)]
        key: bool,
    },
    /// Print a role's filesystem: every path with mode, owner, digest, and who put it there
    Tree {
        /// A recipe in recipes/roles/
        role: String,
        /// Without who put it there: the text that the tree's digest is of
        #[arg(long)]
        plain: bool,
        #[command(flatten)]
        sources: Sources,
    },
    /// Print a role's bill of materials: packages, artifacts, container images
    Sbom {
        /// A recipe in recipes/roles/
        role: String,
        /// Look into them too, as they were fetched: Go modules, Python distributions, packages in container images
        #[arg(long)]
        contents: bool,
        /// The form
        #[arg(long, value_enum, default_value_t = BillFormat::Cyclonedx)]
        format: BillFormat,
    },
    /// Say which lines of recipes and lockfile are why a role must be built again, or was the last time
    Why {
        /// A recipe in recipes/roles/
        role: String,
    },
    /// Compare two revisions' lockfiles, two plans, or two disk images file by file
    Diff(Diff),
    /// Look for identity and secrets in disk images: keys, tokens, machine-ids, histories, caches
    Audit(Audit),
    /// Bundles: everything that a site without network needs, in one file
    #[command(subcommand)]
    Bundle(Bundle),
    /// Hash everything in the store, and put aside what is damaged
    Verify(Verify),
    /// Remove from the store what no project needs any more
    Gc(Gc),
    /// Print what is in the store, and how large it is
    Store,
    /// Resolve what the recipes name to exact bytes and write the lockfile
    Lock(Lock),
    /// Print what the cluster file means: every node with its address, MAC and size
    Cluster(Cluster),
    /// Print the cluster's network as XML, for `virsh net-define /dev/stdin`
    NetXml(Cluster),
    /// Print a node's machine as XML, for `virsh define /dev/stdin`
    DomainXml(Machine),
    /// Print the command that runs a node under plain QEMU, for hosts without libvirt
    Qemu(Qemu),
    /// Print the network's DHCP and DNS as dnsmasq's configuration, for hosts without libvirt
    Dnsmasq(Cluster),
    /// Print the nodes' names and addresses as lines for the host's /etc/hosts
    Hosts(Cluster),
    /// Print the nodes as an Ansible inventory
    Inventory(Cluster),
    /// Print the host's NFS shares as lines for its /etc/exports
    Exports(Cluster),
    /// Make nodes' disks: small files over the role images that take what the machines write
    Disk(Disk),
    /// Write nodes' seeds: private NoCloud volumes with their names, network, keys and certificates
    Seed(Seed),
    /// The cluster's certificates and keys, in a private folder
    #[command(subcommand)]
    Pki(Pki),
    /// Print a kubeconfig, which holds a private key
    Kubeconfig(Kubeconfig),
    /// List the roles that can be built
    Roles,
    /// Write the shipped recipes, lockfiles and example clusters into a folder, for editing
    Init {
        /// The folder; files that exist are kept
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Print the script that lets a shell complete kbake's commands and options
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, as for `kbake man build | man -l -`
    Man(Manual),
}

impl Command {
    /// Whether it works on so many things that people get a table of them at its end. `gc` prints its own.
    pub fn has_table(&self) -> bool {
        matches!(self, Command::Build(_) | Command::Fetch(_) | Command::Bundle(_) | Command::Verify(_))
    }
}

/// The form of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BillFormat {
    /// CycloneDX 1.6, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
}

/// Where bytes come from.
#[derive(Debug, Args)]
pub struct Sources {
    /// Open no socket; what is missing in the store is listed
    #[arg(long)]
    pub offline: bool,
    /// A package mirror (http:, https: or file:), tried before the host's own; may be repeated
    #[arg(long, value_name = "URL", value_parser = mirror)]
    pub mirror: Vec<String>,
    #[command(flatten)]
    pub web: Web,
}

impl Sources {
    /// For commands that fetch nothing.
    pub fn nowhere() -> Self {
        Sources { offline: true, mirror: Vec::new(), web: Web { rewrite: Vec::new(), registry_mirror: Vec::new() } }
    }
}

/// Who is asked in place of release hosts and registries.
#[derive(Debug, Args)]
pub struct Web {
    /// Ask ADDRESS in place of release addresses that begin with PREFIX, as https://host/=file:///mirror/; may be repeated
    #[arg(long, value_name = "PREFIX=ADDRESS", value_parser = rewrite)]
    pub rewrite: Vec<(String, String)>,
    /// Ask the registry at URL in place of REGISTRY, as registry.k8s.io=https://mirror.example/k8s; may be repeated
    #[arg(long, value_name = "REGISTRY=URL", value_parser = registry_mirror)]
    pub registry_mirror: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub struct Build {
    /// Recipes in recipes/roles/
    #[arg(required = true, value_name = "ROLE")]
    pub roles: Vec<String>,
    #[command(flatten)]
    pub sources: Sources,
    /// How many threads compress [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<NonZeroUsize>,
    /// The folder for the images
    #[arg(short, long, value_name = "DIR", default_value = "images")]
    pub out: PathBuf,
    /// Read everything back from the written image, and compare each file with the tree
    #[arg(long)]
    pub verify: bool,
    /// Build everything again from scratch beside the store, and compare
    #[arg(long)]
    pub check: bool,
    /// Keep an image whose digest is not the one in images/expected.toml
    #[arg(long)]
    pub accept_new_digest: bool,
}

#[derive(Debug, Args)]
pub struct Fetch {
    /// Recipes in recipes/roles/
    #[arg(required = true, value_name = "ROLE")]
    pub roles: Vec<String>,
    #[command(flatten)]
    pub sources: Sources,
}

#[derive(Debug, Args)]
pub struct Lock {
    /// Take new versions of a package, or ask anew for an artifact's or image's digest; all when no NAME is given. May be repeated
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub upgrade: Vec<String>,
    /// Only check, without network, that the lockfile fits the recipes
    #[arg(long, conflicts_with_all = ["upgrade", "import", "set", "unset", "tags"])]
    pub check: bool,
    /// Take checksums from a list, as Kubespray's checksums.yml, before publishers are asked
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
    /// Lock a file of your own in an artifact's place, as kubelet=./kubelet, or an archive of `docker save` in an image's; may be repeated
    #[arg(long, value_name = "NAME=FILE", value_parser = own)]
    pub set: Vec<(ArtifactName, PathBuf)>,
    /// Lock the channel's artifact in your file's place again; may be repeated
    #[arg(long, value_name = "NAME")]
    pub unset: Vec<ArtifactName>,
    /// Also ask registries which tags have moved since they were locked; the locked digests stay
    #[arg(long)]
    pub tags: bool,
    /// A package mirror (http:, https: or file:), tried before the host's own; may be repeated
    #[arg(long, value_name = "URL", value_parser = mirror)]
    pub mirror: Vec<String>,
    #[command(flatten)]
    pub web: Web,
}

/// The cluster that a command is about.
#[derive(Debug, Args)]
pub struct Cluster {
    /// The cluster file [default: cluster.toml]
    #[arg(long, value_name = "FILE", env = "KBAKE_CLUSTER", hide_env_values = true)]
    pub cluster: Option<PathBuf>,
}

/// Some of the cluster's nodes.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Nodes {
    /// Nodes of the cluster
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
    /// All nodes of the cluster
    #[arg(long)]
    pub all: bool,
}

/// Where the private half lies.
#[derive(Debug, Args)]
pub struct Secrets {
    /// The private folder [default: secrets/ beside the cluster file]
    #[arg(long, value_name = "DIR", env = "KBAKE_SECRETS", hide_env_values = true)]
    pub secrets: Option<PathBuf>,
}

/// Where what is made lies.
#[derive(Debug, Args)]
pub struct Images {
    /// The folder of role images, disks and seeds
    #[arg(long, value_name = "DIR", default_value = "images")]
    pub images: PathBuf,
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// Linux's KVM
    Kvm,
    /// macOS's Hypervisor framework
    Hvf,
    /// QEMU itself, on any host, slowly
    Tcg,
}

/// How a machine under plain QEMU reaches the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Net {
    /// The cluster's bridge on a Linux host
    Bridge,
    /// Alone, with its ports forwarded from 127.0.0.1; no rights needed
    User,
    /// macOS's shared network
    Vmnet,
    /// The cluster's nodes among themselves on one host; no rights needed
    Multicast,
}

/// One node as a machine.
#[derive(Debug, Args)]
pub struct Machine {
    /// A node of the cluster
    pub node: String,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub images: Images,
    #[command(flatten)]
    pub secrets: Secrets,
    /// What runs the guest's instructions; plain QEMU emulates them where it cannot
    #[arg(long, value_enum, default_value_t = Accel::Kvm)]
    pub accel: Accel,
}

#[derive(Debug, Args)]
pub struct Qemu {
    #[command(flatten)]
    pub machine: Machine,
    /// How the machine reaches the others
    #[arg(long, value_enum, default_value_t = Net::Bridge)]
    pub net: Net,
    /// With `--net user`: the first of the host's ports that lead to nodes: ssh from it, etcd 2000 and the API server 4000 further on, each plus
    /// the node's place in the cluster file [default: 22000]
    #[arg(long, value_name = "FIRST", value_parser = clap::value_parser!(u16).range(1024..=i64::from(Forward::FIRST_MAX)))]
    pub ports: Option<u16>,
}

#[derive(Debug, Args)]
pub struct Disk {
    #[command(flatten)]
    pub nodes: Nodes,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub images: Images,
}

/// The form of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeedFormat {
    /// An ISO 9660 volume, NODE.iso
    Iso,
    /// A FAT volume, NODE.img
    Vfat,
    /// A folder of files, NODE/
    Dir,
}

#[derive(Debug, Args)]
pub struct Seed {
    #[command(flatten)]
    pub nodes: Nodes,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub secrets: Secrets,
    /// The form
    #[arg(long, value_enum, default_value_t = SeedFormat::Iso)]
    pub format: SeedFormat,
    #[command(flatten)]
    pub images: Images,
    /// The folder for the seeds, which are private [default: seeds/CLUSTER in the folder of images]
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// For a member that `etcdctl member add` has made known to an etcd cluster that runs
    #[arg(long)]
    pub etcd_join: bool,
}

#[derive(Debug, Subcommand)]
pub enum Pki {
    /// Make the certificates and keys that are missing; what is there stays as it is
    Init(PkiArgs),
    /// Show each certificate with its names, its end and whether it fits
    Show(PkiArgs),
    /// Make certificates anew, with new keys
    Renew {
        /// Names as in `kbake pki show`, or a node's name for all of its [default: all but the authorities]
        names: Vec<String>,
        #[command(flatten)]
        args: PkiArgs,
    },
    /// Make an authority that was made elsewhere the cluster's
    Import {
        /// Which one
        #[arg(value_parser = ["ca", "etcd-ca", "front-proxy-ca"])]
        authority: String,
        /// The authority's certificate, PEM
        certificate: PathBuf,
        /// Its private key, PEM
        key: PathBuf,
        #[command(flatten)]
        args: PkiArgs,
    },
}

#[derive(Debug, Args)]
pub struct PkiArgs {
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub secrets: Secrets,
}

/// A person with all rights in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Admin {
    /// For daily use: the cluster can take the rights of its group away
    Admin,
    /// For emergencies: nobody can, before the certificate ends
    SuperAdmin,
}

#[derive(Debug, Args)]
pub struct Manual {
    /// The command that the page is about [default: kbake itself]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write the pages of all commands into this folder, as COMMAND.1
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Kubeconfig {
    /// Whose; those of nodes and components are in the seeds
    #[arg(value_enum, default_value = "admin")]
    pub user: Admin,
    /// A file to write it to, mode 0600; one that is there must be this cluster's alone [default: print it]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// A kubeconfig to put the cluster into, as ~/.kube/config; all that is in it stays
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    pub merge: Option<PathBuf>,
    /// The API server's address, if not the one that nodes use: https://HOST:PORT, of a name that its certificate has
    #[arg(long, value_name = "URL")]
    pub server: Option<ServerUrl>,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub secrets: Secrets,
}

/// A mirror as kbake asks it. Refused here, because with a bad one all packages would fail one by one.
fn mirror(text: &str) -> Result<String, String> {
    resolve::usable(text).ok_or_else(|| "a mirror is an http:, https: or file: address, as http://mirror.example/debian".to_owned())
}

/// The two sides of `LEFT=RIGHT`.
fn sides<'a>(text: &'a str, shape: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once('=').filter(|(left, right)| !left.is_empty() && !right.is_empty()).ok_or_else(|| format!("it must be {shape}"))
}

fn own(text: &str) -> Result<(ArtifactName, PathBuf), String> {
    let (name, file) = sides(text, "NAME=FILE, as kubelet=./kubelet")?;
    Ok((name.parse()?, file.into()))
}

fn rewrite(text: &str) -> Result<(String, String), String> {
    let (prefix, address) = sides(text, "PREFIX=ADDRESS")?;
    is_rewrite(prefix, address).map(|()| (prefix.to_owned(), address.to_owned()))
}

/// Whether addresses that begin with one may be asked below the other instead.
pub fn is_rewrite(prefix: &str, address: &str) -> Result<(), String> {
    let is_address = |text: &str| ["https://", "http://", "file:///"].iter().any(|scheme| text.starts_with(scheme));
    match is_address(prefix) && is_address(address) {
        true => Ok(()),
        false => Err("an address and what takes its place both begin with https://, http:// or file:///".into()),
    }
}

fn registry_mirror(text: &str) -> Result<(String, String), String> {
    let (registry, url) = sides(text, "REGISTRY=URL, as registry.k8s.io=https://mirror.example")?;
    is_registry_mirror(registry, url).map(|()| (registry.to_owned(), url.to_owned()))
}

/// Whether a registry may have a mirror at the address.
pub fn is_registry_mirror(registry: &str, url: &str) -> Result<(), String> {
    match !registry.contains('/') && ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) {
        true => Ok(()),
        false => Err("a registry is named by its host, and its mirror begins with https:// or http://".into()),
    }
}

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "it must be a whole number from 1 on".to_owned())
}
