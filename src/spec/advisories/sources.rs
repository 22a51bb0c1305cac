//! `recipes/advisories.toml`: the publishers of advisories.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::Result;
use crate::common::document;
use crate::common::value::ArtifactName;

const REMEDY: &str = "keep the lines that you want, and remove the markers";

/// The format of a publisher's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The JSON of [Debian's security tracker](https://security-tracker.debian.org/tracker/data/json): by source package.
    DebianTracker,
    /// Records of the [Open Source Vulnerability format](https://ossf.github.io/osv-schema/): one, a list, or an archive of them.
    Osv,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "debian-security-tracker" => Ok(Format::DebianTracker),
            "osv" => Ok(Format::Osv),
            _ => Err(format!("`{}` is unknown: expected debian-security-tracker or osv", text.escape_debug())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::DebianTracker => "debian-security-tracker",
            Format::Osv => "osv",
        })
    }
}

/// A publisher's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its format.
    pub format: Format,
    /// Its address. The publisher replaces the file whenever there is something new.
    pub url: String,
}

/// The publishers' files by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources(pub BTreeMap<ArtifactName, Source>);

impl Sources {
    /// Parses the text of a file, called `file` in messages.
    ///
    /// # Errors
    /// Invalid TOML, unknown or missing keys and bad values, with their places.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self> {
        let mut root = document::open(file, text, REMEDY)?;
        root.only(&["advisories"])?;
        let mut table = root.section("advisories")?.ok_or_else(|| root.missing("advisories"))?;
        let mut sources = BTreeMap::new();
        for key in table.key_names() {
            let place = table.key_place(&key).unwrap_or_else(|| table.place().clone());
            let name = key.parse().map_err(|why: String| place.error(why))?;
            if let Some(mut source) = table.section(&key)? {
                source.only(&["format", "url"])?;
                sources.insert(name, Source { format: source.required("format")?.value, url: source.required::<Url>("url")?.value.0 });
            }
        }
        Ok(Sources(sources))
    }
}

/// An address that the fetcher may get.
struct Url(String);

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme)) && text.chars().all(|c| c.is_ascii_graphic()) {
            true => Ok(Url(text.to_owned())),
            false => Err(format!("`{}` is not an https:// or http:// address", text.escape_debug())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_their_place() {
        for (text, words) in [
            ("", "has no key `advisories`"),
            ("[advisorie.x]\n", "did you mean `advisories`?"),
            ("[advisories.x]\nformat = \"ovs\"\nurl = \"https://x.test/\"\n", "expected debian-security-tracker or osv"),
            ("[advisories.x]\nformat = \"osv\"\nurl = \"file:///x\"\n", "is not an https:// or http:// address"),
            ("[advisories.x]\nformat = \"osv\"\n", "has no key `url`"),
            ("[advisories.x]\nformat = \"osv\"\nurls = \"https://x.test/\"\n", "did you mean `url`?"),
            ("[advisories.X]\nformat = \"osv\"\nurl = \"https://x.test/\"\n", "a.toml:1:"),
        ] {
            let error = Sources::parse("a.toml", text).unwrap_err().to_string();
            assert!(error.contains(words), "{words} is not in {error}");
        }
    }
}
