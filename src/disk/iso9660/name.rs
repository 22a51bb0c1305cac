//! Names in their three forms: as given (Rock Ridge), in two-byte characters (Joliet), and as level 1 has them.

use std::collections::{BTreeMap, BTreeSet};

/// The longest file name, set by Joliet: 64 characters. Rock Ridge could do more.
const NAME_MAX: usize = 64;
/// The longest label, set by Joliet: 32 bytes of two-byte characters.
const LABEL_MAX: usize = 16;

/// The names of a folder's files, each with its level-1 form.
#[derive(Debug)]
pub(super) struct Names {
    /// In the order given.
    pub given: Vec<String>,
    /// `NAME.EXT;1`, in the order given.
    pub level1: Vec<String>,
}

/// Refuses what a volume cannot be called.
pub(super) fn check_label(label: &str) -> Result<(), String> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"_-".contains(&c);
    if label.is_empty() || label.len() > LABEL_MAX || !label.bytes().all(allowed) {
        return Err(format!("`{}` is no volume label: 1 to {LABEL_MAX} of A-Z, a-z, 0-9, `_` and `-`", label.escape_debug()));
    }
    Ok(())
}

impl Names {
    /// Checks names and finds their level-1 forms, which depend on nothing but the set of names.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let given: Vec<String> = names.map(str::to_owned).collect();
        let mut folded = BTreeSet::new();
        for name in &given {
            check_name(name)?;
            // Windows would show only one of two names that differ in case.
            if !folded.insert(name.to_ascii_lowercase()) {
                return Err(format!("two files of the volume are called `{name}`"));
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
            "`{}` is no file name for the volume: 1 to {NAME_MAX} of A-Z, a-z, 0-9, `.`, `_`, `+`, `-`, first a letter, digit, `_` or `+`",
            name.escape_debug()
        ));
    }
    Ok(())
}

/// The first of `NAME.EXT`, `NAME_0.EXT`, … that is still free. ECMA-119 10.1: eight and three of A-Z, 0-9 and `_`.
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
