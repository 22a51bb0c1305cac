//! Paths inside a tree: relative, normalised, in bytes (Linux file names need not be UTF-8).

use std::cmp::Ordering;
use std::fmt;

use super::text::escape;

/// The longest file name in ext4 and Linux (`NAME_MAX`), in bytes.
const NAME_MAX: usize = 255;
/// The longest path in Linux (`PATH_MAX` less the final NUL and the leading slash, which we leave out), in bytes.
const PATH_MAX: usize = 4094;

/// A path relative to the tree's root, without leading slash, `.` or `..`; the root itself is empty.
///
/// Ordered component by component, so that a directory precedes its contents and every subtree is contiguous (`a`,
/// `a/b`, `a.b`); plain byte order does not have this property.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Box<[u8]>);

impl TreePath {
    /// The tree's root.
    pub fn root() -> Self {
        TreePath(Box::default())
    }

    /// Parses the path of an archive member or recipe. `absolute_ok` accepts one leading slash, for sources that
    /// usually write it.
    pub fn parse(name: &[u8], absolute_ok: bool) -> Result<Self, String> {
        let shown = || escape(&name[..name.len().min(PATH_MAX)]);
        let mut rest = name;
        if absolute_ok && let [b'/', tail @ ..] = rest {
            rest = tail;
        }
        if rest.starts_with(b"/") {
            return Err(format!("`{}` is absolute", shown()));
        }
        let mut clean = Vec::with_capacity(rest.len());
        for part in rest.split(|&b| b == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return Err(format!("`{}` escapes the root by `..`", shown())),
                _ if part.len() > NAME_MAX => {
                    return Err(format!("`{}` has a name of {} bytes, {NAME_MAX} are allowed", shown(), part.len()));
                }
                _ if part.contains(&0) => return Err(format!("`{}` contains a NUL byte", shown())),
                _ => {}
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(part);
        }
        if clean.len() > PATH_MAX {
            return Err(format!("a path of {} bytes is longer than Linux allows, {PATH_MAX} bytes", clean.len()));
        }
        Ok(TreePath(clean.into()))
    }

    /// A path from a literal.
    ///
    /// # Panics
    /// A `path` that is not a normalised relative path: a bug, whatever the input.
    pub fn fixed(path: &str) -> Self {
        let parsed = Self::parse(path.as_bytes(), false).expect("a literal path is valid");
        assert_eq!(&*parsed.0, path.as_bytes(), "a literal path is written clean");
        parsed
    }

    /// The bytes, without leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True if this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that contains it; `None` for the root.
    pub fn parent(&self) -> Option<TreePath> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(TreePath(self.0[..cut].into()))
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        match self.0.iter().rposition(|&b| b == b'/') {
            Some(slash) => &self.0[slash + 1..],
            None => &self.0,
        }
    }

    /// The components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|part| !part.is_empty())
    }

    /// True if `self` is `other` or inside it.
    pub fn is_within(&self, other: &TreePath) -> bool {
        other.is_root() || self == other || (self.0.starts_with(&other.0) && self.0[other.0.len()] == b'/')
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        let at = alike(&self.0, &other.0);
        // With the slash as the smallest byte, byte order is component order; names hold no NUL.
        let key = |b: &u8| if *b == b'/' { 0 } else { *b };
        self.0.get(at).map(key).cmp(&other.0.get(at).map(key))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The length of the common prefix in bytes. Paths of the same folder share a long one: compares eight bytes at a time.
fn alike(left: &[u8], right: &[u8]) -> usize {
    const STEP: usize = size_of::<u64>();
    let (lefts, _) = left.as_chunks::<STEP>();
    let (rights, _) = right.as_chunks::<STEP>();
    let steps = lefts.iter().zip(rights).take_while(|(a, b)| u64::from_ne_bytes(**a) == u64::from_ne_bytes(**b)).count();
    let start = steps * STEP;
    start + left[start..].iter().zip(&right[start..]).take_while(|(a, b)| a == b).count()
}

/// Shown absolute and escaped, as in messages and plans.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", escape(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes(), false).unwrap()
    }

    #[test]
    fn names_are_normalised() {
        assert_eq!(path("./a//b/"), path("a/b"));
        assert_eq!(path("."), TreePath::root());
        assert_eq!(TreePath::parse(b"/a", true).unwrap(), path("a"));
        assert_eq!(path("a/b").to_string(), "/a/b");
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(TreePath::root()));
        assert_eq!(path("a/b").name(), b"b");
    }

    #[test]
    fn paths_outside_the_root_are_refused() {
        for bad in ["/a", "../a", "a/../b", "a\0b"] {
            assert!(TreePath::parse(bad.as_bytes(), false).is_err(), "{bad:?}");
        }
        assert!(TreePath::parse(b"//a", true).is_err());
        assert!(TreePath::parse(&[b'a'; 256], false).unwrap_err().contains("256 bytes"));
    }

    #[test]
    fn the_order_is_that_of_the_components() {
        let folder = "a-folder/of-some/length";
        let names = ["", "a", "a/b", "a.b", "a-b/c", "a/c", "a-folder", "a-folder.d", "a-folder/of-some", "\u{e4}"];
        let deep = ["x", "x/y", "x.y", "x/y/z-and-more", "x-y-and-much-more-than-that", "x-y-and-much-more-than-thus"];
        let all: Vec<_> = names.map(path).into_iter().chain(deep.map(|name| path(&format!("{folder}/{name}")))).collect();
        for left in &all {
            for right in &all {
                assert_eq!(left.cmp(right), left.components().cmp(right.components()), "{left} and {right}");
            }
        }
    }

    #[test]
    fn a_subtree_is_contiguous() {
        let mut all = [path("a.b"), path("a/c/d"), path("a"), path("b"), path("a/c"), TreePath::root()];
        all.sort();
        let shown: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["/", "/a", "/a/c", "/a/c/d", "/a.b", "/b"]);
        assert!(path("a/c").is_within(&path("a")));
        assert!(!path("a.b").is_within(&path("a")));
    }
}
