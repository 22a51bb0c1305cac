//! `kbake fetch`.

use super::args::Fetch;
use super::{Session, current_folder};
use crate::build;
use crate::common::error::Result;
use crate::common::report::Report as _;

impl Session<'_> {
    /// `kbake fetch`.
    pub(super) fn fetch(&self, args: &Fetch) -> Result<()> {
        let project = self.project()?;
        let (channel, roles) = self.roles_of(&project, &args.roles)?;
        self.tell_channel()?;
        let name = channel.sources.channel.as_str();
        self.bake(&args.sources, None, |bake| {
            for resolved in &bake.resolve(&project, &channel, &roles)? {
                bake.fetch_all(resolved)?;
                bake.record_build(build::owner(&project, &current_folder()?, name, resolved.plan.role()), resolved, None)?;
                let packages = resolved.packages.len() + resolved.tools.len();
                let artifacts = resolved.artifacts.wants.len() + resolved.artifacts.own.len();
                self.shell.say(&format!("{}: {packages} packages and {artifacts} artifacts are in the store", resolved.plan.role()));
            }
            Ok(())
        })
    }
}
