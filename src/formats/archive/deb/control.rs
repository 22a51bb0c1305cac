//! The file `control`: a paragraph of fields
//! ([deb-control(5)](https://manpages.debian.org/bookworm/dpkg-dev/deb-control.5.en.html)).

use std::collections::BTreeMap;

use crate::common::value::escape;

/// The control data of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Fields by lower-case name, because names are case-insensitive; values without surrounding space.
    fields: BTreeMap<String, String>,
}

impl Control {
    /// Parses the file's text. An error continues the sentence "its file `control` …".
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut open: Option<String> = None;
        for (index, line) in text.trim_end_matches('\n').split('\n').enumerate() {
            let refused = |reason: &str| format!("{reason} in line {}: `{}`", index + 1, escape(&line.as_bytes()[..line.len().min(80)]));
            if line.starts_with([' ', '\t']) {
                let Some(value) = open.as_ref().and_then(|name| fields.get_mut(name)) else {
                    return Err(refused("continues a field that does not exist"));
                };
                value.push('\n');
                value.push_str(line.trim());
                continue;
            }
            let Some((name, value)) = line.split_once(':') else { return Err(refused("has no field")) };
            // RFC 822's names: no control characters, no space, no colon.
            if name.is_empty() || name.starts_with(['#', '-']) || !name.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(refused("has no field name"));
            }
            let name = name.to_ascii_lowercase();
            if fields.insert(name.clone(), value.trim().to_owned()).is_some() {
                return Err(refused("has a field twice"));
            }
            open = Some(name);
        }
        let control = Control { fields };
        for name in ["Package", "Version", "Architecture"] {
            if control.field(name).is_none_or(|value| value.is_empty() || value.contains(char::is_whitespace)) {
                return Err(format!("has no valid field `{name}`"));
            }
        }
        Ok(control)
    }

    /// A field's value, by case-insensitive name; continuation lines keep their line feed and lose their indentation.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// The package's name.
    pub fn package(&self) -> &str {
        self.field("Package").unwrap_or_default()
    }

    /// The full version, with epoch and revision.
    pub fn version(&self) -> &str {
        self.field("Version").unwrap_or_default()
    }

    /// The architecture: `amd64`, or `all`.
    pub fn architecture(&self) -> &str {
        self.field("Architecture").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_read() {
        let control = Control::parse(b"Package: etcd\nversion:1:3.4-1\nArchitecture: amd64\nDescription: a\n b\n .\n c\n").unwrap();
        assert_eq!((control.package(), control.version(), control.architecture()), ("etcd", "1:3.4-1", "amd64"));
        assert_eq!(control.field("description"), Some("a\nb\n.\nc"));
    }

    #[test]
    fn bad_paragraphs_are_refused() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "has no field in line 1"),
            (b" a: b\n", "continues a field"),
            (b"Package: a\npackage: b\n", "twice in line 2"),
            (b"Package: a\n\nPackage: b\n", "has no field in line 2"),
            (b"Package: a\nVersion: 1\n", "`Architecture`"),
            (b"Package: a\nVersion: 1 2\nArchitecture: all\n", "`Version`"),
            (b"Package: a\nVersion:\nArchitecture: all\n", "`Version`"),
            (b"Pack age: a\n", "no field name"),
            (b"\xff: a\n", "UTF-8"),
        ];
        for (bytes, expected) in cases {
            let reason = Control::parse(bytes).unwrap_err();
            assert!(reason.contains(expected), "{}: {reason}", escape(bytes));
        }
    }
}
