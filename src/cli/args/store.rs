//! The arguments of the commands on the store: `kbake verify`, `kbake gc`.

use clap::Args;

use super::sources::Sources;
use crate::common::value::Size;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Fetch or rebuild whatever is damaged
    #[arg(long)]
    pub repair: bool,
    #[command(flatten)]
    pub sources: Sources,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Remove only until the store has at most this size, as in 20GiB; least recently used first
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<Size>,
    /// Keep everything used within this many days
    #[arg(long, value_name = "DAYS")]
    pub keep_days: Option<u32>,
    /// Only print what would be removed
    #[arg(long)]
    pub dry_run: bool,
}
