//! Lists of checksums that people maintain, as YAML in the form of Kubespray's
//! [checksums.yml](https://github.com/kubernetes-sigs/kubespray/blob/master/roles/kubespray_defaults/vars/main/checksums.yml).
//!
//! Only the subset of YAML in such lists is parsed: three levels of `key: value`, comments, quoted keys. Anything else is
//! refused with its line rather than misread.

use std::collections::BTreeMap;

use super::checksums::digest;
use crate::common::value::{Arch, ArtifactName, Digest, ReleaseVersion};
use crate::{Error, Result};

/// The suffix of the top-level keys that are lists.
const ENDING: &str = "_checksums";

/// A list of checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The file's name, as lockfiles record it.
    pub name: String,
    /// By list, architecture and version.
    entries: BTreeMap<(String, String, String), Listed>,
}

/// A digest, and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The digest.
    pub digest: Digest,
    /// The line, from 1.
    pub line: usize,
}

impl List {
    /// Parses the list `text`, called `file` in messages.
    ///
    /// # Errors
    /// Syntax that such lists do not have, with its line; two digests for one file; a text without any list.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut reader = Reader { file, above: Vec::new(), skipping: false, entries: BTreeMap::new() };
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            reader.line(index + 1, line)?;
        }
        if reader.entries.is_empty() {
            let error = Error::user(format!("{file} has no list of checksums"));
            return Err(error.hint("expected YAML as in Kubespray's checksums.yml: `kubelet_checksums:`, below it the architecture, below it `VERSION: sha256:…`"));
        }
        // The name goes into the lock, whose text has no quotes or spaces there.
        let plain = |c: char| if c.is_ascii_graphic() && !"\"\\".contains(c) { c } else { '_' };
        let name = file.rsplit('/').next().unwrap_or_default().chars().map(plain).collect();
        Ok(List { name, entries: reader.entries })
    }

    /// The list's entry for an artifact's file at `url`.
    pub fn get(&self, artifact: &ArtifactName, arch: Arch, version: &ReleaseVersion, url: &str) -> Option<Listed> {
        let stem = stem(artifact, url);
        ["", "_archive", "_binary"].into_iter().find_map(|kind| {
            let key = (format!("{stem}{kind}{ENDING}"), arch.to_string(), version.to_string());
            self.entries.get(&key).copied()
        })
    }
}

/// An artifact's name in lists.
fn stem(artifact: &ArtifactName, url: &str) -> String {
    let name = match artifact.as_str() {
        "cni-plugins" => "cni",
        // All three are in one archive.
        "etcdctl" | "etcdutl" => "etcd",
        name => name,
    };
    let file = url.rsplit('/').next().unwrap_or_default();
    let kind = if file.starts_with(&format!("{name}-static")) { "_static" } else { "" };
    format!("{}{kind}", name.replace('-', "_"))
}

/// A list that is being parsed.
struct Reader<'a> {
    file: &'a str,
    /// Indentation and name of the keys above the next line.
    above: Vec<(usize, String)>,
    /// True if the current top-level key is not a list.
    skipping: bool,
    entries: BTreeMap<(String, String, String), Listed>,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &str) -> Result<()> {
        let text = uncommented(line);
        if text.trim().is_empty() || text == "---" || text == "..." {
            return Ok(());
        }
        let indent = text.len() - text.trim_start_matches(' ').len();
        let wrong =
            |why: &str| Error::user(format!("{}, line {number}: {why}", self.file)).detail(line.trim_end().escape_debug().to_string());
        if text[indent..].starts_with(char::is_whitespace) {
            return Err(wrong("YAML is indented with spaces"));
        }
        if self.skipping && indent > 0 {
            return Ok(());
        }
        let (key, value) = text.trim().split_once(':').ok_or_else(|| wrong("expected `KEY:` or `VERSION: sha256:…`"))?;
        let (key, value) = (unquoted(key), unquoted(value.trim()));
        while self.above.last().is_some_and(|(above, _)| *above >= indent) {
            self.above.pop();
        }
        if indent == 0 {
            self.skipping = !(key.ends_with(ENDING) && value.is_empty());
        }
        if self.skipping {
            return Ok(());
        }
        if key.is_empty() || key.starts_with(['-', '&', '*', '{', '[']) {
            return Err(wrong("lists of checksums do not have this YAML syntax"));
        }
        match (&self.above[..], value) {
            ([] | [_], "") => {
                self.above.push((indent, key.to_owned()));
                Ok(())
            }
            // Older lists use 0 for a release that is missing on an architecture.
            ([_, _], "0") => Ok(()),
            ([(_, list), (_, arch)], value) if !value.is_empty() => {
                let hash = value.split_once(':').map_or(value, |(_, hash)| hash);
                let digest = digest(hash).filter(|digest| value == hash || digest.to_string().eq_ignore_ascii_case(value));
                let digest = digest.ok_or_else(|| wrong("this is not a SHA-256 or SHA-512 digest"))?;
                let version = key.strip_prefix('v').unwrap_or(key).to_owned();
                let found = Listed { digest, line: number };
                match self.entries.insert((list.clone(), arch.clone(), version), found) {
                    Some(first) if first.digest != digest => Err(wrong(&format!("line {} has another digest for the same", first.line))),
                    _ => Ok(()),
                }
            }
            ([_, _, ..], "") => Err(wrong("a list has three levels: its name, machines, versions")),
            _ => Err(wrong("a digest stands below a machine, which stands below the name of a list")),
        }
    }
}

/// The line without its comment and trailing space.
fn uncommented(line: &str) -> &str {
    let end =
        line.char_indices().find(|&(at, c)| c == '#' && (at == 0 || line[..at].ends_with([' ', '\t']))).map_or(line.len(), |(at, _)| at);
    line[..end].trim_end()
}

fn unquoted(text: &str) -> &str {
    let text = text.trim_end();
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(text)
}
