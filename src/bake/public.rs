//! Audit of the files that a recipe puts into an image, for contents that no public image may have. It runs before anything is made.
//!
//! Packages and artifacts are locked by digests that others have, too, and what installation makes of packages is looked at where it
//! is made ([`super::chance`]).

use std::io::Read;

use super::Resolved;
use super::pantry::Witnessed;
use crate::error::{Error, Result};
use crate::inspect::audit_file;
use crate::plan::PlannedKind;
use crate::value::Cancel;

/// Looks at each file of the plan whose bytes are the recipes' or kbake's own.
///
/// # Errors
/// Each finding in a file that its recipe does not call public, with the way out.
pub fn audit(resolved: &Resolved, cancel: &Cancel) -> Result<()> {
    let mut findings = Vec::new();
    let files = resolved.plan.files().iter().filter(|(path, _)| !resolved.public.contains(*path));
    for (path, node) in files {
        cancel.check()?;
        let found = match &node.kind {
            PlannedKind::File(bytes) => audit_file(path, bytes.len() as u64, &|| Ok(Box::new(&bytes[..]) as Box<dyn Read>), cancel)?,
            PlannedKind::Named { digest, size } => {
                let Some(file) = resolved.sources.iter().find(|file| (file.digest, file.size) == (*digest, *size)) else { continue };
                audit_file(path, *size, &|| Ok(Box::new(Witnessed::open(file)?) as Box<dyn Read>), cancel)?
            }
            _ => continue,
        };
        let origin = resolved.origins.files.get(path).map(|origin| format!(", {origin}")).unwrap_or_default();
        findings.extend(found.iter().map(|finding| format!("{path}{origin}: {}", finding.text())));
    }
    if findings.is_empty() {
        return Ok(());
    }
    let error = Error::user(format!("the recipes of `{}` put into the image what no image may have", resolved.plan.role()));
    let error = error.detail("an image is public: all machines that are made from it would share it");
    Err(findings
        .into_iter()
        .fold(error, Error::detail)
        .hint("what belongs to one machine comes with its seed, or is made on the node")
        .hint("where everyone may have it, say so in the [[file]]: public = \"why\""))
}
