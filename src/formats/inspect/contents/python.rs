//! The description of an installed Python distribution
//! ([core metadata](https://packaging.python.org/en/latest/specifications/core-metadata/)).

use std::io::{self, Read};

/// The most bytes of a description that are read: it begins with its header.
const HEAD_MAX: u64 = 1 << 20;

/// A Python distribution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distribution {
    /// Its name, as spelled in the description.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// True for the path of a description: `NAME.dist-info/METADATA`, `NAME.egg-info/PKG-INFO`, or a file `NAME.egg-info`.
pub(super) fn is_metadata(path: &[u8]) -> bool {
    let mut parts = path.rsplit(|&byte| byte == b'/');
    let (name, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match name {
        b"METADATA" => folder.ends_with(b".dist-info"),
        b"PKG-INFO" => folder.ends_with(b".egg-info"),
        _ => name.ends_with(b".egg-info"),
    }
}

/// The distribution of a description; none without a name or version.
pub(super) fn distribution(bytes: &mut dyn Read) -> io::Result<Option<Distribution>> {
    let text = super::whole(bytes, HEAD_MAX)?;
    let header = || text.lines().take_while(|line| !line.trim().is_empty());
    let field = |key: &str| {
        let of = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(key).then(|| value.trim().to_owned())
        };
        header().find_map(of).filter(|value| !value.is_empty())
    };
    Ok(field("Name").zip(field("Version")).map(|(name, version)| Distribution { name, version }))
}
