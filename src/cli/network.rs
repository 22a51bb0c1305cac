//! The commands that print a cluster's network: `kbake net-xml`, `kbake dnsmasq`, `kbake hosts`, `kbake inventory`, `kbake exports`.

use super::Session;
use super::args::Cluster as ClusterArgs;
use crate::cluster::host;
use crate::cluster::model::{Cluster, Mode};
use crate::common::error::{Error, Result};

impl Session<'_> {
    /// `kbake net-xml`.
    pub(super) fn net_xml(&self, args: &ClusterArgs) -> Result<()> {
        let cluster = self.cluster(args)?;
        if cluster.network.mode == Mode::Bridged {
            let bridge = &cluster.network.bridge;
            self.shell
                .notice(&format!("note: no machine needs this network: the XML of `kbake domain-xml` uses the bridge {bridge} directly"));
        }
        self.shell.data(&host::network_xml(&cluster))
    }

    /// `kbake dnsmasq`.
    pub(super) fn dnsmasq(&self, args: &ClusterArgs) -> Result<()> {
        let cluster = self.cluster(args)?;
        match cluster.network.mode {
            Mode::Bridged => Err(Error::user(format!(
                "the network of bridge {} has its own DHCP and DNS, and a second server would answer its machines too",
                cluster.network.bridge
            ))
            .hint("nodes get their addresses and each other's names from their seeds; `kbake hosts` prints the names for the host")),
            Mode::Nat { .. } | Mode::Route { .. } | Mode::Isolated | Mode::Open => self.shell.data(&host::dnsmasq_conf(&cluster)),
        }
    }

    /// `kbake hosts`, `inventory`, `exports`: texts that depend on the cluster alone.
    pub(super) fn print_cluster(&self, args: &ClusterArgs, text: impl FnOnce(&Cluster) -> String) -> Result<()> {
        let cluster = self.cluster(args)?;
        self.shell.data(&text(&cluster))
    }
}
