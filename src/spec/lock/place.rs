//! Places of a lockfile's entries in its text, for explanations of changes.

use std::collections::BTreeMap;

/// The tables of a lockfile whose entries have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// `[[package]]`.
    Package,
    /// `[[artifact]]`.
    Artifact,
    /// `[[image]]`.
    Image,
}

/// The lines of the entries, from 1, by table, name and architecture; images have no architecture.
///
/// The text is scanned in `kbake lock`'s own layout, in one pass: of a text in another layout, some entries are not found.
pub(crate) fn places(text: &str) -> BTreeMap<(Table, String, Option<String>), usize> {
    let mut found = BTreeMap::new();
    let mut entry: Option<(Table, Option<(String, usize)>)> = None;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            let table = match line.trim_end() {
                "[[package]]" => Some(Table::Package),
                "[[artifact]]" => Some(Table::Artifact),
                "[[image]]" => Some(Table::Image),
                _ => None,
            };
            entry = table.map(|table| (table, None));
            continue;
        }
        let Some((table, name)) = &mut entry else { continue };
        match (value(line, "name"), value(line, "arch"), &*name) {
            (Some(value), _, _) => {
                if *table == Table::Image {
                    found.insert((*table, value.to_owned(), None), index + 1);
                }
                *name = Some((value.to_owned(), index + 1));
            }
            (_, Some(arch), Some((value, at))) => _ = found.insert((*table, value.clone(), Some(arch.to_owned())), *at),
            _ => {}
        }
    }
    found
}

/// The text between the quotes of `key = "…"`.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_where_they_stand() {
        let text = include_str!("../../../lockfiles/upstream.lock");
        let lock = crate::spec::lock::Lock::parse(text, "l").unwrap();
        let (found, lines) = (places(text), text.lines().collect::<Vec<_>>());
        assert_eq!(found.len(), lock.entries().count() + lock.artifacts.len() + lock.images.len());
        for ((_, name, _), line) in &found {
            assert_eq!(lines[line - 1], format!("name = \"{name}\""));
        }
        let entry = lock.entries().next().unwrap();
        assert!(found.contains_key(&(Table::Package, entry.name.to_string(), Some(entry.arch.to_string()))));
        for (name, arch) in lock.artifacts.keys() {
            assert!(found.contains_key(&(Table::Artifact, name.to_string(), Some(arch.to_string()))), "{name}");
        }
        for name in lock.images.keys() {
            assert!(found.contains_key(&(Table::Image, name.to_string(), None)), "{name}");
        }
    }
}
