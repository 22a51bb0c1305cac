//! File names: the long name as given, and the short name of 8 + 3 characters that each file also has (fatgen103, "Name
//! Limits and Character Sets", "Basis-Name Generation Algorithm", "Numeric-Tail Generation Algorithm").

use std::collections::BTreeSet;

use super::geometry::ROOT_ENTRIES;

/// The longest name, in characters.
const NAME_MAX: usize = 255;
/// The number of characters of a long name in one entry.
pub(super) const PIECE: usize = 13;
/// Characters that no name may contain, beside control characters.
const FORBIDDEN: &[u8] = br#""*/:<>?\|"#;
/// Characters that short names may contain beside letters and digits.
const SHORT: &[u8] = b"$%'-_@~`!(){}^#&";

/// A file's two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// `None` if the short name is identical.
    pub long: Option<String>,
    /// Stem and extension, each padded with spaces.
    pub short: [u8; 11],
}

impl Name {
    /// The number of directory entries that the file takes.
    pub(super) fn entries(&self) -> usize {
        1 + self.long.as_ref().map_or(0, |long| long.len().div_ceil(PIECE))
    }
}

/// Encodes the label: upper case, padded with spaces. The specification forbids lower case, and `mkfs.fat` warns about it.
pub(super) fn volume_label(label: &str) -> Result<[u8; 11], String> {
    let mut field = [b' '; 11];
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"_-".contains(&c);
    if label.is_empty() || label.len() > field.len() || !label.bytes().all(allowed) {
        return Err(format!(
            "`{}` is not a valid volume label: expected 1 to {} of A-Z, a-z, 0-9, `_` and `-`",
            label.escape_debug(),
            field.len()
        ));
    }
    field[..label.len()].copy_from_slice(label.to_ascii_uppercase().as_bytes());
    Ok(field)
}

/// Checks names and derives their short forms, which depend only on the set of names.
pub(super) fn names<'a>(given: impl Iterator<Item = &'a str>) -> Result<Vec<Name>, String> {
    let given: Vec<&str> = given.collect();
    let mut folded = BTreeSet::new();
    for name in &given {
        check_name(name)?;
        if !folded.insert(name.to_ascii_uppercase()) {
            return Err(format!("two files of the volume are named `{name}`, ignoring case"));
        }
    }
    let mut names: Vec<Name> =
        given.iter().map(|name| Name { long: long_form(name), short: fitting(name).unwrap_or([b' '; 11]) }).collect();
    let entries = 1 + names.iter().map(Name::entries).sum::<usize>();
    if entries > ROOT_ENTRIES {
        return Err(format!(
            "the {} files of the volume need {entries} entries of its folder, which has {ROOT_ENTRIES}: one for the label, \
             one per file, and one more per {PIECE} characters of a name",
            given.len()
        ));
    }
    // Names that are valid short names keep them; no other file's alias may take one of those.
    let mut taken: BTreeSet<[u8; 11]> = given.iter().filter_map(|name| fitting(name)).collect();
    let mut order: Vec<usize> = (0..given.len()).filter(|&index| fitting(given[index]).is_none()).collect();
    order.sort_by_key(|&index| given[index]);
    for index in order {
        names[index].short = alias(given[index], &taken)?;
        taken.insert(names[index].short);
    }
    Ok(names)
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: u8| (b' '..=b'~').contains(&c) && !FORBIDDEN.contains(&c);
    // Readers drop leading and trailing spaces and trailing dots, which would change the name.
    let trimmed = name.starts_with(' ') || name.ends_with([' ', '.']);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(allowed) || trimmed {
        return Err(format!(
            "`{}` is not a valid file name for the volume: expected 1 to {NAME_MAX} ASCII characters without {}, \
             no space first or last, no dot last",
            name.escape_debug(),
            String::from_utf8_lossy(FORBIDDEN).chars().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(" ")
        ));
    }
    Ok(())
}

/// The long name; `None` if the name is a valid short name, letter for letter.
fn long_form(name: &str) -> Option<String> {
    (fitting(name).is_none() || name.bytes().any(|c| c.is_ascii_lowercase())).then(|| name.to_owned())
}

/// The name as a short name, if that loses nothing but the case of its letters.
fn fitting(name: &str) -> Option<[u8; 11]> {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let legal = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || SHORT.contains(&c));
    ((1..=8).contains(&stem.len()) && extension.len() <= 3 && legal(stem) && legal(extension)).then(|| field(stem, extension))
}

/// The first of `STEM~1.EXT`, `STEM~2.EXT`, … that is not taken.
fn alias(name: &str, taken: &BTreeSet<[u8; 11]>) -> Result<[u8; 11], String> {
    let text: String = name.chars().filter(|&c| c != ' ').collect();
    let text = text.trim_start_matches('.');
    let (stem, extension) = text.rsplit_once('.').unwrap_or((text, ""));
    let clean = |text: &str, len: usize| -> String {
        let legal = |c: char| if c.is_ascii_alphanumeric() || SHORT.contains(&(c as u8)) { c } else { '_' };
        text.chars().filter(|&c| c != '.').map(legal).take(len).collect()
    };
    let (stem, extension) = (clean(stem, 8), clean(extension, 3));
    (1..1_000_000)
        .map(|number| {
            let tail = format!("~{number}");
            field(&format!("{}{tail}", &stem[..stem.len().min(8 - tail.len())]), &extension)
        })
        .find(|candidate| !taken.contains(candidate))
        .ok_or_else(|| "too many files of similar names".to_owned())
}

/// Encodes at most eight and three ASCII characters in upper case, padded with spaces.
fn field(stem: &str, extension: &str) -> [u8; 11] {
    let mut field = [b' '; 11];
    field[..stem.len()].copy_from_slice(stem.to_ascii_uppercase().as_bytes());
    field[8..][..extension.len()].copy_from_slice(extension.to_ascii_uppercase().as_bytes());
    field
}
