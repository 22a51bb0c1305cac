//! The command line, as typed. What it resolves to is decided in `cli::run`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::resolve;

/// Bakes reproducible Kubernetes node images from pinned inputs.
#[derive(Debug, Parser)]
#[command(name = "kbake", version, term_width = 100)]
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
    /// The package source: recipes/sources/CHANNEL.toml with lockfiles/CHANNEL.lock
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "CHANNEL", default_value = "debian")]
    pub channel: String,
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
    /// Print a role's filesystem: every path with mode, owner, time and digest
    Tree {
        /// A recipe in recipes/roles/
        role: String,
        #[command(flatten)]
        sources: Sources,
    },
    /// Resolve the recipes' packages to exact files and write the lockfile
    Lock(Lock),
    /// Print what the cluster file means: every node with its address, MAC and size
    Cluster(Cluster),
    /// Write nodes' seeds: private NoCloud volumes with name, network, certificates and keys
    Seed(Seed),
    /// List the roles that can be built
    Roles,
    /// Write the shipped recipes, lockfiles and example clusters into a folder, for editing
    Init {
        /// The folder; files that exist are kept
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
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
    /// Take new versions: of one package, or of all when no NAME is given. May be repeated
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub upgrade: Vec<String>,
    /// Only check, without network, that the lockfile fits the recipes
    #[arg(long, conflicts_with = "upgrade")]
    pub check: bool,
    /// A package mirror (http:, https: or file:), tried before the host's own; may be repeated
    #[arg(long, value_name = "URL", value_parser = mirror)]
    pub mirror: Vec<String>,
}

/// The cluster that a command is about.
#[derive(Debug, Args)]
pub struct Cluster {
    /// The cluster file [default: cluster.toml]
    #[arg(long, value_name = "FILE", env = "KBAKE_CLUSTER", hide_env_values = true)]
    pub cluster: Option<PathBuf>,
}

/// What a seed is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeedFormat {
    /// An ISO 9660 volume: NODE.iso
    Iso,
    /// A FAT volume: NODE.img
    Vfat,
    /// A folder with the three documents: NODE/
    Dir,
}

#[derive(Debug, Args)]
pub struct Seed {
    /// The nodes' names
    #[arg(value_name = "NODE", required_unless_present = "all")]
    pub nodes: Vec<String>,
    /// Every node of the cluster
    #[arg(long, conflicts_with = "nodes")]
    pub all: bool,
    #[command(flatten)]
    pub cluster: Cluster,
    /// The folder of private keys that `kbake pki init` has made [default: secrets beside the cluster file]
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// What to write for each node
    #[arg(long, value_enum, default_value_t = SeedFormat::Iso)]
    pub format: SeedFormat,
    /// The folder for the seeds, which are private (mode 0600)
    #[arg(short, long, value_name = "DIR", default_value = "images/seeds")]
    pub out: PathBuf,
}

/// A mirror as kbake asks it. Refused here, because with a bad one all packages would fail one by one.
fn mirror(text: &str) -> Result<String, String> {
    resolve::usable(text).ok_or_else(|| "a mirror is an http:, https: or file: address, as http://mirror.example/debian".to_owned())
}

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "it must be a whole number from 1 on".to_owned())
}
