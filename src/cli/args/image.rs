//! The arguments of the commands on disk images and plans: `kbake audit`, `kbake diff`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Disk images of any origin: qcow2 or raw
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// Path in the image to allow; repeatable. Its findings are still printed
    #[arg(long, value_name = "PATH")]
    pub allow: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Git revision, or a file: a plan, a lockfile, or a disk image
    #[arg(value_name = "A")]
    pub a: String,
    /// Second revision or file [default: the current lockfile in the project]
    #[arg(value_name = "B")]
    pub b: Option<String>,
}
