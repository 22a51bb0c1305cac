//! File names in three forms: as given (Rock Ridge), in two-byte characters (Joliet), and level 1.

use std::collections::{BTreeMap, BTreeSet};

/// The longest file name: Joliet's limit of 64 characters. Rock Ridge allows more.
const NAME_MAX: usize = 64;
/// The longest label: Joliet's limit of 32 bytes of two-byte characters.
const LABEL_MAX: usize = 16;

/// The names of a folder's files with their level-1 forms.
#[derive(Debug)]
pub(super) struct Names {
    /// Names in the given order.
    pub given: Vec<String>,
    /// `NAME.EXT;1`, in the given order.
    pub level1: Vec<String>,
}

/// Refuses an invalid label.
pub(super) fn check_label(label: &str) -> Result<(), String> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"_-".contains(&c);
    if label.is_empty() || label.len() > LABEL_MAX || !label.bytes().all(allowed) {
        return Err(format!(
            "`{}` is not a valid volume label: expected 1 to {LABEL_MAX} of A-Z, a-z, 0-9, `_` and `-`",
            label.escape_debug()
        ));
    }
    Ok(())
}

impl Names {
    /// Checks names and derives their level-1 forms, which depend only on the set of names.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let given: Vec<String> = names.map(str::to_owned).collect();
        let mut folded = BTreeSet::new();
        for name in &given {
            check_name(name)?;
            // Windows would show only one of two names that differ in case.
            if !folded.insert(name.to_ascii_lowercase()) {
                return Err(format!("two files of the volume are named `{name}`, ignoring case"));
            }
        }
        let mut taken = BTreeMap::new();
        for name in given.iter().collect::<BTreeSet<_>>() {
            let short = free_name(name, &taken)?;
            taken.insert(short, name.clone());
        }
        let by_name: BTreeMap<&String, &String> = taken.iter().map(|(short, name)| (name, short)).collect();
        let level1 = given.iter().map(|name| format!("{};1", by_name[name])).collect();
        Ok(Names { given, level1 })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._+-".contains(&c);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(allowed) || name.starts_with(['.', '-']) {
        return Err(format!(
            "`{}` is not a valid file name for the volume: expected 1 to {NAME_MAX} of A-Z, a-z, 0-9, `.`, `_`, `+`, `-`, \
             first a letter, digit, `_` or `+`",
            name.escape_debug()
        ));
    }
    Ok(())
}

/// The first of `NAME.EXT`, `NAME_0.EXT`, … that is not taken. ECMA-119 10.1: eight and three of A-Z, 0-9 and `_`.
fn free_name(name: &str, taken: &BTreeMap<String, String>) -> Result<String, String> {
    let clean =
        |text: &str| -> String { text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect() };
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let (stem, mut extension) = (clean(stem), clean(extension));
    extension.truncate(3);
    let short = |tail: &str| format!("{}{tail}.{extension}", &stem[..stem.len().min(8 - tail.len())]);
    std::iter::once(short(""))
        .chain((0..1_000_000).map(|number| short(&format!("_{number}"))))
        .find(|candidate| !taken.contains_key(candidate))
        .ok_or_else(|| "too many files of similar names".to_owned())
}
