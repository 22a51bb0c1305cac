//! What a recipe puts into the tree, or takes out of it: `[[file]]`, `[[dir]]`, `[[symlink]]`, `[[remove]]`.

use crate::Result;
use crate::document::{Located, Section};
use crate::value::TreePath;

use super::{Mode, OwnerName, RecipePath};

/// One wish about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where in the tree; never its root.
    pub path: TreePath,
    /// What shall stand there.
    pub intent: Intent,
}

/// What a recipe wants at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A regular file.
    /// `public` is why everyone may have it, although it looks like a secret or one machine's own.
    File { body: Located<Body>, mode: Mode, owner: OwnerName, group: OwnerName, public: Option<String> },
    /// A folder.
    Dir { mode: Mode, owner: OwnerName, group: OwnerName },
    /// A symbolic link, with its target as it stands.
    Symlink { target: String },
    /// Nothing: whatever the base has there, and below, goes.
    Remove,
}

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The recipe itself.
    Text(String),
    /// A file beside the recipes.
    Source(RecipePath),
}

/// A path as recipes write it: absolute.
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

/// A link's target: Linux takes 1 to 4095 bytes without NUL.
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

/// A few words that say why.
struct Reason(String);

impl std::str::FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() { Err("this is the reason, in a few words".into()) } else { Ok(Reason(text.to_owned())) }
    }
}

/// The paths of `[[clear]]`, sorted: what installation leaves there is taken out of the installed base.
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

/// Reads what one kind of table wants at its path.
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
            entries.push(Located { value: Entry { path: path.value.0, intent }, place: path.place });
        }
    }
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
    let (mode, owner, group) = meta(section, 0o644)?;
    let public = section.optional::<Reason>("public")?.map(|reason| reason.value.0);
    Ok(Intent::File { body, mode, owner, group, public })
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
