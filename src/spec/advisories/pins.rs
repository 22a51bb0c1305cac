//! `lockfiles/advisories.lock`: the exact bytes of the publishers' files. It changes daily, so it is a file of its own: images do not
//! depend on it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::Result;
use crate::common::document;
use crate::common::value::{ArtifactName, Sha256};

const FORMAT: u64 = 1;
const REMEDY: &str = "run `kbake cve --update`: it writes the whole file anew";

/// The exact bytes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin {
    /// The digest.
    pub sha256: Sha256,
    /// The size in bytes.
    pub size: u64,
}

/// The pinned files by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pins(pub BTreeMap<ArtifactName, Pin>);

impl Pins {
    /// Parses the text of a file, called `file` in messages.
    ///
    /// # Errors
    /// Another format, merge-conflict markers, bad or missing values, all with their place.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self> {
        let mut root = document::open(file, text, REMEDY)?;
        let format = root.number("format")?;
        if format.value != FORMAT {
            let error = format.place.error(format!("`{file}` has the format {}; this kbake knows {FORMAT}", format.value));
            return Err(error.hint(REMEDY));
        }
        root.only(&["advisories"])?;
        let mut pins = BTreeMap::new();
        for mut section in root.sections("advisories")? {
            section.only(&["name", "size", "sha256"])?;
            let name = section.required::<ArtifactName>("name")?;
            let pin = Pin { size: section.number("size")?.value, sha256: section.required("sha256")?.value };
            if pins.insert(name.value.clone(), pin).is_some() {
                return Err(name.place.error(format!("`{}` is pinned twice", name.value)).hint(REMEDY));
            }
        }
        Ok(Pins(pins))
    }

    /// The canonical text.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("# Written by `kbake cve --update`: do not edit it.\nformat = {FORMAT}\n");
        for (name, Pin { sha256, size }) in &self.0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n[[advisories]]\nname = \"{name}\"\nsize = {size}\nsha256 = \"{sha256}\"\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_as_written() {
        let pin = |text: &str| Pin { sha256: Sha256::of(text), size: text.len() as u64 };
        let pins = Pins([("go", "a"), ("debian", "bc")].map(|(name, text)| (name.parse().unwrap(), pin(text))).into());
        let text = pins.to_text();
        assert_eq!(Pins::parse("a.lock", &text).unwrap(), pins);
        assert!(text.find("debian") < text.find("\"go\""), "sorted: {text}");
        assert_eq!(Pins::parse("a.lock", &Pins::default().to_text()).unwrap(), Pins::default());
        for (wrong, words) in [
            (text.replace("format = 1", "format = 2"), "this kbake knows 1"),
            (text.replace("\"go\"", "\"debian\""), "is pinned twice"),
            (text.replace("size", "sise"), "did you mean `size`?"),
            (format!("<<<<<<< ours\n{text}"), "kbake cve --update"),
        ] {
            let error = Pins::parse("a.lock", &wrong).unwrap_err().to_string();
            assert!(error.contains(words), "{words} is not in {error}");
        }
    }
}
