//! A recipe's additions to the tree, and removals from it: `[[file]]`, `[[dir]]`, `[[symlink]]`, `[[remove]]`.

use crate::Result;
use crate::common::document::{Located, Section};
use crate::common::value::TreePath;

use super::effect::{AUTHORITIES, why_dead};
use super::{Mode, OwnerName, RecipePath};

/// An addition or removal at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path in the tree; never its root.
    pub path: TreePath,
    /// The wanted state of the path.
    pub intent: Intent,
}

/// The wanted state of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A regular file.
    File {
        /// The source of the file's bytes, with its place in the recipe.
        body: Located<Body>,
        /// The file's permissions.
        mode: FileMode,
        /// The owner's name; its number is the base's.
        owner: OwnerName,
        /// The group's name; its number is the base's.
        group: OwnerName,
        /// The reason why everyone may have the file, although it looks like a secret or like one machine's own; none without `public`.
        public: Option<String>,
    },
    /// A folder.
    Dir {
        /// The folder's permissions.
        mode: Mode,
        /// The owner's name; its number is the base's.
        owner: OwnerName,
        /// The group's name; its number is the base's.
        group: OwnerName,
    },
    /// A symbolic link, with its target as written.
    Symlink {
        /// The link's target as written, 1 to 4095 bytes.
        target: String,
    },
    /// A removal: the base's entry and everything below it.
    Remove,
}

/// A file's permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// The recipe's.
    Said(Mode),
    /// The default: the recipe has none.
    Usual,
}

impl FileMode {
    /// The bits, at most 0o7777.
    pub fn bits(self) -> u16 {
        match self {
            FileMode::Said(mode) => mode.bits(),
            FileMode::Usual => 0o644,
        }
    }
}

/// The source of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The recipe itself.
    Text(String),
    /// A file beside the recipes.
    Source(RecipePath),
}

/// An absolute path, as in recipes.
pub(super) struct AbsolutePath(pub(super) TreePath);

impl std::str::FromStr for AbsolutePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("`{}` must begin with `/`", text.escape_debug()));
        }
        let path = TreePath::parse(text.as_bytes(), true)?;
        // One path has one spelling, so that a search through the recipes finds it.
        if path.is_root() || path.as_bytes() != &text.as_bytes()[1..] {
            return Err(format!("`{}` must be a clean path below `/`, without `.`, doubled or final slashes", text.escape_debug()));
        }
        Ok(AbsolutePath(path))
    }
}

/// A link's target: Linux accepts 1 to 4095 bytes without NUL.
pub(super) struct Target(pub(super) String);

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 4095 || text.contains('\0') {
            return Err("a link's target has 1 to 4095 bytes and no NUL".into());
        }
        Ok(Target(text.to_owned()))
    }
}

/// A reason in a few words.
struct Reason(String);

impl std::str::FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() { Err("this is the reason, in a few words".into()) } else { Ok(Reason(text.to_owned())) }
    }
}

/// The paths of `[[clear]]`, sorted: leftovers of installation that are removed from the base.
pub(super) fn cleared(root: &mut Section) -> Result<Vec<Located<TreePath>>> {
    let mut paths = Vec::new();
    for mut section in root.sections("clear")? {
        section.only(&["path"])?;
        let path = section.required::<AbsolutePath>("path")?;
        paths.push(Located { value: path.value.0, place: path.place });
    }
    paths.sort_by(|a, b| (&a.value, a.place.line()).cmp(&(&b.value, b.place.line())));
    super::refuse_twins(&paths, "path")?;
    Ok(paths)
}

/// Parses the table of one kind of entry.
type Reader = fn(&mut Section) -> Result<Intent>;

/// All entries of a recipe, sorted by path.
pub(super) fn all(root: &mut Section) -> Result<Vec<Located<Entry>>> {
    let kinds: [(&str, Reader); 4] =
        [("dir", dir), ("file", file), ("symlink", symlink), ("remove", |section| section.only(&["path"]).map(|()| Intent::Remove))];
    let mut entries = Vec::new();
    for (key, read) in kinds {
        for mut section in root.sections(key)? {
            let intent = read(&mut section)?;
            let path = section.required::<AbsolutePath>("path")?;
            if matches!(intent, Intent::File { .. } | Intent::Symlink { .. })
                && let Some((why, instead)) = why_dead(&path.value.0)
            {
                return Err(path.place.error(why).hint(instead));
            }
            entries.push(Located { value: Entry { path: path.value.0, intent }, place: path.place });
        }
    }
    entries.extend(authorities(root)?);
    entries.sort_by(|a, b| (&a.value.path, a.place.line()).cmp(&(&b.value.path, b.place.line())));
    for pair in entries.windows(2) {
        if let [first, second] = pair
            && first.value.path == second.value.path
        {
            let error = second.place.error(format!("`{}` is described twice", second.value.path));
            return Err(first.place.note(error, "first here"));
        }
    }
    Ok(entries)
}

fn file(section: &mut Section) -> Result<Intent> {
    section.only(&["path", "mode", "owner", "group", "content", "source", "public"])?;
    let body = match (section.optional::<String>("content")?, section.optional("source")?) {
        (Some(text), None) => Located { value: Body::Text(text.value), place: text.place },
        (None, Some(path)) => Located { value: Body::Source(path.value), place: path.place },
        (None, None) => return Err(section.missing("content").hint("give `content = \"…\"`, or `source = \"FILE\"` beside the recipes")),
        (Some(text), Some(path)) => {
            let error = path.place.error("a file has `content` or `source`, not both");
            return Err(text.place.note(error, "the other is here"));
        }
    };
    let said = section.key_place("mode").is_some();
    let (mode, owner, group) = meta(section, 0o644)?;
    let mode = if said { FileMode::Said(mode) } else { FileMode::Usual };
    let public = section.optional::<Reason>("public")?.map(|reason| reason.value.0);
    Ok(Intent::File { body, mode, owner, group, public })
}

/// `ca-certificates`: files beside the recipes, each placed where Debian's tools look for the administrator's authorities.
fn authorities(root: &mut Section) -> Result<Vec<Located<Entry>>> {
    let mut found = Vec::new();
    for source in root.list::<RecipePath>("ca-certificates")? {
        let name = source.value.to_string();
        let name = name.rsplit('/').next().unwrap_or_default();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let path = TreePath::parse(format!("{AUTHORITIES}/{stem}.crt").as_bytes(), false).map_err(|why| source.place.error(why))?;
        let body = Located { value: Body::Source(source.value), place: source.place.clone() };
        let (mode, owner, group) = (FileMode::Said(Mode::fixed(0o644)), OwnerName::root(), OwnerName::root());
        let intent = Intent::File { body, mode, owner, group, public: None };
        found.push(Located { value: Entry { path, intent }, place: source.place });
    }
    Ok(found)
}

fn dir(section: &mut Section) -> Result<Intent> {
    section.only(&["path", "mode", "owner", "group"])?;
    let (mode, owner, group) = meta(section, 0o755)?;
    Ok(Intent::Dir { mode, owner, group })
}

fn symlink(section: &mut Section) -> Result<Intent> {
    section.only(&["path", "target"])?;
    Ok(Intent::Symlink { target: section.required::<Target>("target")?.value.0 })
}

fn meta(section: &mut Section, mode: u16) -> Result<(Mode, OwnerName, OwnerName)> {
    let mode = section.optional("mode")?.map_or(Mode::fixed(mode), |mode| mode.value);
    let owner = section.optional("owner")?.map_or_else(OwnerName::root, |owner| owner.value);
    let group = section.optional("group")?.map_or_else(OwnerName::root, |group| group.value);
    Ok((mode, owner, group))
}
