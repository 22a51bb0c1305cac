//! `kbake why`.

use super::args::Sources;
use super::{Session, current_folder, data};
use crate::build::{self, Before, Reason, Why};
use crate::common::error::Result;
use crate::common::value::RoleName;

impl Session<'_> {
    /// `kbake why`.
    pub(super) fn why(&self, role: &str) -> Result<()> {
        let project = self.project()?;
        let role = project.role(role)?;
        let channel = project.channel_for(&self.channel()?, std::slice::from_ref(&role))?;
        let name = channel.sources.channel.as_str();
        let owner = build::owner(&project, &current_folder()?, name, &role);
        let why = self.bake(&Sources::offline(), None, |bake| bake.why(&owner, &bake.resolve_one(&project, &channel, &role)?))?;
        self.shell.document(|| data::why(&role, name, &why), &answer(&role, name, &why))
    }
}

/// The text of `kbake why`.
fn answer(role: &RoleName, channel: &str, why: &Why) -> String {
    match why {
        Why::NeverBuilt { in_store: false } => {
            format!("{role} was never built from this project with this store (channel {channel}): everything must be built\n")
        }
        Why::NeverBuilt { in_store: true } => format!(
            "{role} was never built from this project (channel {channel}), but the store has the image of its plan: nothing must be built\n"
        ),
        Why::Forgotten => {
            format!("{role}: its plan has changed since the last build, and the store no longer has the old plan to compare with\n")
        }
        Why::Changed { reasons, in_store } => {
            let count = plural(reasons.len());
            let verdict = match (in_store, reasons.iter().any(|reason| reason.change.subject.is_of_base())) {
                (true, _) => "its image is already in the store: nothing must be built",
                (false, true) => "its packages must be installed again",
                (false, false) => "its installed packages are reused, only the image must be written again",
            };
            format!("the plan of {role} has changed in {count} since the last build; {verdict}\n{}", listed(reasons))
        }
        Why::Lost { miss, before } => {
            format!("{role} must be built: its plan is unchanged, but its image is not usable: {miss}\n{}", earlier(before))
        }
        Why::Current { before } => format!("{role} is up to date: its plan is unchanged since the last build\n{}", earlier(before)),
    }
}

fn earlier(before: &Before) -> String {
    match before {
        Before::First => "no previous plan is known\n".into(),
        Before::Forgotten => "the previous plan is no longer in the store\n".into(),
        Before::Changed(reasons) => format!("since the previous plan, {} changed:\n{}", plural(reasons.len()), listed(reasons)),
    }
}

fn plural(lines: usize) -> String {
    if lines == 1 { "1 line".into() } else { format!("{lines} lines") }
}

fn listed(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| format!("  {reason}\n")).collect()
}
