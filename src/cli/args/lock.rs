//! The arguments of `kbake lock`.

use std::path::PathBuf;

use clap::Args;

use super::sources::{Web, mirror, sides};
use crate::common::value::{ArtifactName, Mirror, Timestamp};

#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// Upgrade a package, or update an artifact's or image's digest; everything if NAME is omitted; repeatable
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub upgrade: Vec<String>,
    /// Only check, without network, that the lockfile matches the recipes
    #[arg(long, conflicts_with_all = ["upgrade", "import", "set", "unset", "tags"])]
    pub check: bool,
    /// Use checksums from a list, such as Kubespray's checksums.yml, before asking publishers
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
    /// Lock a local file instead of an artifact, as in kubelet=./kubelet, or an archive of `docker save` instead of an image; repeatable
    #[arg(long, value_name = "NAME=FILE", value_parser = own)]
    pub set: Vec<(ArtifactName, PathBuf)>,
    /// Lock the channel's artifact or image again instead of a local file; repeatable
    #[arg(long, value_name = "NAME")]
    pub unset: Vec<ArtifactName>,
    /// Also report tags that have moved in their registries since they were locked; the locked digests stay
    #[arg(long)]
    pub tags: bool,
    /// Resolve packages in the state of this time, from archives of snapshots: a date, or a time as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "check")]
    pub at: Option<Timestamp>,
    /// Package mirror (http:, https: or file:), of all archives or of one, tried before the host's own; repeatable
    #[arg(long, value_name = "[ARCHIVE=]URL", value_parser = mirror)]
    pub mirror: Vec<Mirror>,
    #[command(flatten)]
    pub web: Web,
}

fn own(text: &str) -> Result<(ArtifactName, PathBuf), String> {
    let (name, file) = sides(text, "NAME=FILE, as in kubelet=./kubelet")?;
    Ok((name.parse()?, file.into()))
}
