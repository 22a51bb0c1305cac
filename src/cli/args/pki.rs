//! The arguments of `kbake pki` and `kbake kubeconfig`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::cluster::{Cluster, Secrets};
use super::server_url::ServerUrl;

#[derive(Debug, Subcommand)]
pub(crate) enum Pki {
    /// Create missing certificates and keys; existing ones are kept
    Init(PkiArgs),
    /// Show each certificate with its names, expiry and validity
    Show(PkiArgs),
    /// Renew certificates, with new keys
    Renew {
        /// Names as in `kbake pki show`, or a node's name for all its certificates [default: all but the authorities]
        names: Vec<String>,
        #[command(flatten)]
        args: PkiArgs,
    },
    /// Import a certificate authority that was created elsewhere
    Import {
        /// Authority to import
        #[arg(value_parser = ["ca", "etcd-ca", "front-proxy-ca"])]
        authority: String,
        /// Certificate of the authority, PEM
        certificate: PathBuf,
        /// Private key of the authority, PEM
        key: PathBuf,
        #[command(flatten)]
        args: PkiArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PkiArgs {
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub secrets: Secrets,
}

/// An administrator's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Admin {
    /// For daily use: the cluster can revoke the permissions of its group
    Admin,
    /// For emergencies: its permissions cannot be revoked before the certificate expires
    SuperAdmin,
}

#[derive(Debug, Args)]
pub(crate) struct Kubeconfig {
    /// User; the kubeconfigs of nodes and components are in the seeds
    #[arg(value_enum, default_value = "admin")]
    pub user: Admin,
    /// Output file, mode 0600; an existing file must have only this cluster's entries [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Merge the cluster into this kubeconfig, such as ~/.kube/config; other entries are kept
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    pub merge: Option<PathBuf>,
    /// API server's address [default: the one that nodes use]: https://HOST:PORT, with a host in its certificate
    #[arg(long, value_name = "URL")]
    pub server: Option<ServerUrl>,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub secrets: Secrets,
}
