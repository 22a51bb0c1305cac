//! `kbake roles`.

use super::{Session, data};
use crate::common::error::Result;
use crate::spec::recipe::{Recipe, Subject};

impl Session<'_> {
    /// `kbake roles`.
    pub(super) fn roles(&self) -> Result<()> {
        let channel = self.project()?.channel(&self.channel()?)?;
        let role = |recipe| match recipe {
            &Recipe { subject: Subject::Role(ref role), ref description, .. } => Some((role, description.as_str())),
            _ => None,
        };
        let roles: Vec<_> = channel.recipes.iter().filter_map(role).collect();
        let text: String = roles.iter().map(|(role, description)| format!("{role}\t{description}\n")).collect();
        self.shell.document(|| data::roles(roles.into_iter()), &text)
    }
}
