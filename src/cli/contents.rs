//! The commands that print what an image contains: `kbake plan`, `kbake tree`, `kbake sbom`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Session;
use super::args::{BillFormat, Sources};
use crate::build::{self, Origin};
use crate::common::error::Result;
use crate::common::tree::Tree;
use crate::common::tree::text::Line;
use crate::common::value::TreePath;

impl Session<'_> {
    /// `kbake plan`.
    pub(super) fn plan(&self, role: &str, key: bool) -> Result<()> {
        let resolved = self.resolve_one(role)?;
        let text = if key { format!("{}\n", resolved.plan.key()) } else { resolved.plan.text() };
        self.shell.data(&text)?;
        Ok(())
    }

    /// `kbake tree`.
    pub(super) fn tree(&self, role: &str, plain: bool, sources: &Sources) -> Result<()> {
        let project = self.project()?;
        let (channel, role) = self.role_of(&project, role)?;
        let text = self.bake(sources, None, |bake| {
            let resolved = bake.resolve_one(&project, &channel, &role)?;
            let stocked = bake.tree(&resolved)?;
            Ok(match plain {
                true => stocked.tree.to_text(),
                false => with_origins(&stocked.tree, &bake.origins(&resolved, &stocked)?),
            })
        })?;
        self.shell.data(&text)?;
        Ok(())
    }

    /// `kbake sbom`.
    pub(super) fn sbom(&self, role: &str, contents: bool, format: BillFormat) -> Result<()> {
        let bill = match contents {
            false => build::bill(&self.resolve_one(role)?),
            true => {
                let project = self.project()?;
                let (channel, role) = self.role_of(&project, role)?;
                self.bake(&Sources::offline(), None, |bake| bake.bill(&bake.resolve_one(&project, &channel, &role)?))?
            }
        };
        let text = match format {
            BillFormat::Cyclonedx => bill.cyclonedx(),
            BillFormat::Spdx => bill.spdx(),
        };
        self.shell.data(&text)?;
        Ok(())
    }
}

/// The tree's text with the origin of each path after its line. The plain text ends before `  #`: its words are separated by
/// single spaces.
fn with_origins(tree: &Tree, origins: &BTreeMap<TreePath, Origin>) -> String {
    let mut text = String::new();
    for (path, node) in tree.iter() {
        // Writing to a string cannot fail.
        let _ = match origins.get(path) {
            Some(origin) => writeln!(text, "{}  # {origin}", Line { path, node }),
            None => writeln!(text, "{}", Line { path, node }),
        };
    }
    text
}
