//! `kbake audit`.

use super::Session;
use super::args::Audit;
use crate::common::error::{Error, Result};
use crate::common::report::Report as _;
use crate::common::value::{Size, TreePath};
use crate::formats::inspect;

impl Session<'_> {
    /// `kbake audit`: prints all findings, then fails if there are any.
    pub(super) fn audit(&self, args: &Audit) -> Result<()> {
        let allow: Vec<TreePath> = args.allow.iter().map(|path| allowed(path)).collect::<Result<_>>()?;
        let mut unclean = 0;
        for path in &args.images {
            self.shell.say(&format!("auditing {}", path.display()));
            let audited = inspect::audit(path, &allow, self.cancel)?;
            let mut text = String::new();
            for finding in &audited.findings {
                let allowed = if finding.allowed { "allowed: " } else { "" };
                text.push_str(&format!("{}: {allowed}{finding}\n", path.display()));
            }
            if audited.is_clean() {
                let (names, bytes) = (audited.names, Size(audited.bytes));
                text.push_str(&format!("{}: clean: {names} files and folders, {bytes} searched\n", path.display()));
            } else {
                unclean += 1;
            }
            self.shell.data(&text)?;
        }
        match (unclean, args.images.len()) {
            (0, _) => Ok(()),
            (_, 1) => Err(not_clean("the image is not clean".into())),
            (unclean, images) => Err(not_clean(format!("{unclean} of {images} images are not clean"))),
        }
    }
}

/// Parses the path of `--allow`.
fn allowed(path: &str) -> Result<TreePath> {
    let parsed = TreePath::parse(path.as_bytes(), true).and_then(|path| match path.is_root() {
        true => Err("it is the whole image".to_owned()),
        false => Ok(path),
    });
    parsed.map_err(|why| Error::user(format!("--allow {path}: {why}")))
}

fn not_clean(message: String) -> Error {
    Error::user(message)
        .detail("all machines created from the image would share the findings")
        .hint("remove them from the image's sources and rebuild, or pass --allow PATH")
}
