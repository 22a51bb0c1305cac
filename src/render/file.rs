//! A file that a seed puts on its node.

use std::borrow::Cow;

use secrecy::SecretString;

use super::yaml::Yaml;

/// A file that `write_files` puts on the node before services start. Prints without what is private.
#[derive(Debug)]
pub struct NodeFile<'a> {
    /// Where, from the root.
    pub path: String,
    /// `user:group`; both must be in the image, since cloud-init makes new users only later.
    pub owner: &'static str,
    /// Octal, as text: YAML would read a bare 0600 in its own ways.
    pub permissions: &'static str,
    /// What it holds.
    pub content: Content<'a>,
}

/// What a file holds.
#[derive(Debug)]
pub enum Content<'a> {
    /// A text that everyone may read.
    Public(Cow<'a, str>),
    /// A key of the cluster's.
    Key(&'a SecretString),
    /// A text with a key in it.
    Private(SecretString),
}

/// The superuser, as cloud-init wants owners.
const ROOT: &str = "root:root";
/// Everyone may read.
const PUBLIC: &str = "0644";
/// Its owner may read and write, and nobody else anything.
const PRIVATE: &str = "0600";

impl<'a> NodeFile<'a> {
    /// A file of root's that everyone may read.
    pub fn public(path: impl Into<String>, text: impl Into<Cow<'a, str>>) -> Self {
        NodeFile { path: path.into(), owner: ROOT, permissions: PUBLIC, content: Content::Public(text.into()) }
    }

    /// A key that only root may read.
    pub fn key(path: impl Into<String>, key: &'a SecretString) -> Self {
        NodeFile { path: path.into(), owner: ROOT, permissions: PRIVATE, content: Content::Key(key) }
    }

    /// A text with a key in it that only root may read.
    pub fn private(path: impl Into<String>, text: SecretString) -> Self {
        NodeFile { path: path.into(), owner: ROOT, permissions: PRIVATE, content: Content::Private(text) }
    }

    /// The same, of another owner (`user:group`).
    pub fn owned_by(self, owner: &'static str) -> Self {
        NodeFile { owner, ..self }
    }

    /// An item of `write_files`.
    pub(super) fn as_yaml(&self) -> Yaml<'_> {
        let content = match &self.content {
            Content::Public(text) => Yaml::Text(Cow::Borrowed(text)),
            Content::Key(key) => Yaml::Private(key),
            Content::Private(text) => Yaml::Private(text),
        };
        Yaml::Map(vec![
            ("path", Yaml::text(&self.path)),
            ("owner", Yaml::text(self.owner)),
            ("permissions", Yaml::text(self.permissions)),
            ("content", content),
        ])
    }
}
