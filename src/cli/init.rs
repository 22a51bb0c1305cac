//! `kbake init`.

use std::path::Path;

use super::{CLUSTER_FILE, Session};
use crate::cluster::model::Cluster;
use crate::common::error::Result;
use crate::common::fsx;
use crate::common::report::Report as _;
use crate::spec::project::Project;

impl Session<'_> {
    /// `kbake init`.
    pub(super) fn init(&self, dir: &Path) -> Result<()> {
        let written = Project::init(dir)?;
        for name in &written {
            self.shell.data(&format!("{}\n", dir.join(name).display()))?;
        }
        if written.is_empty() {
            self.shell.say("all files exist already");
        }
        let file = dir.join(CLUSTER_FILE);
        if written.contains(&CLUSTER_FILE)
            && let Some(channel) = Cluster::channel_of(CLUSTER_FILE, &fsx::read_to_string(&file)?)?
        {
            let file = file.display();
            self.shell.say(&format!("{file} sets the channel `{channel}` for commands in its folder; change it there, or use --channel"));
        }
        let missing = Project::missing_ignores(dir)?;
        if !missing.is_empty() {
            let file = dir.join(".gitignore");
            self.shell.notice(&format!("note: {} lacks lines that keep images and keys out of git: {}", file.display(), missing.join(" ")));
        }
        Ok(())
    }
}
