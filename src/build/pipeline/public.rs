//! Audit of the files that a recipe puts into an image, for contents that no public image may have. It runs before anything
//! is built.
//!
//! Packages and artifacts are locked by public digests, and files that an installation creates are audited where they are
//! created ([`super::reproducibility`]).

use std::io::Read;

use super::contents::VerifiedFile;
use crate::build::Resolved;
use crate::common::error::{Error, Result};
use crate::common::value::Cancel;
use crate::formats::inspect::audit_file;
use crate::spec::plan::PlannedKind;

/// Audits each file of the plan whose bytes come from the recipes or from kbake.
///
/// # Errors
/// Each finding in a file that its recipe does not declare public, with the remedy.
pub(crate) fn audit(resolved: &Resolved, cancel: &Cancel) -> Result<()> {
    let mut findings = Vec::new();
    let files = resolved.plan.files().iter().filter(|(path, _)| !resolved.public.contains(*path));
    for (path, node) in files {
        cancel.check()?;
        let found = match &node.kind {
            PlannedKind::File(bytes) => audit_file(path, bytes.len() as u64, &|| Ok(Box::new(&bytes[..]) as Box<dyn Read>), cancel)?,
            PlannedKind::Named { digest, size } => {
                let Some(file) = resolved.sources.iter().find(|file| (file.digest, file.size) == (*digest, *size)) else { continue };
                audit_file(path, *size, &|| Ok(Box::new(VerifiedFile::open(file)?) as Box<dyn Read>), cancel)?
            }
            _ => continue,
        };
        let origin = resolved.origins.files.get(path).map(|origin| format!(", {origin}")).unwrap_or_default();
        findings.extend(found.iter().map(|finding| format!("{path}{origin}: {}", finding.text())));
    }
    if findings.is_empty() {
        return Ok(());
    }
    let error = Error::user(format!("the recipes of `{}` put secrets or machine-specific data into the image", resolved.plan.role()));
    let error = error.detail("an image is public: all machines that are made from it would share it");
    Err(findings
        .into_iter()
        .fold(error, Error::detail)
        .hint("data of one machine belongs in its seed, or is created on the node")
        .hint("if everyone may have the file, say so in its [[file]]: public = \"why\""))
}
