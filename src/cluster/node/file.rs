//! A file that a seed puts on its node.

use std::borrow::Cow;

use secrecy::SecretString;

use super::secret::Secret;
use crate::common::yaml::Yaml;

/// A file that `write_files` puts on the node before services start. `Debug` shows no secret.
#[derive(Debug)]
pub(crate) struct NodeFile<'a> {
    /// The absolute path.
    pub path: String,
    /// `user:group`; both must exist in the image, since cloud-init creates new users only later.
    pub owner: &'static str,
    /// Octal, as text: YAML versions read a bare 0600 differently.
    pub permissions: &'static str,
    /// Its content.
    pub content: Content<'a>,
}

/// A file's content.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// A public text.
    Public(Cow<'a, str>),
    /// A private key.
    Key(&'a SecretString),
    /// A text with a private key in it.
    Private(SecretString),
}

/// The superuser, in cloud-init's notation.
const ROOT: &str = "root:root";
/// Readable for everyone.
const PUBLIC: &str = "0644";
/// Read and write for the owner only.
const PRIVATE: &str = "0600";

impl<'a> NodeFile<'a> {
    /// A public file of root's.
    pub(crate) fn public(path: impl Into<String>, text: impl Into<Cow<'a, str>>) -> Self {
        NodeFile { path: path.into(), owner: ROOT, permissions: PUBLIC, content: Content::Public(text.into()) }
    }

    /// A key that only root may read.
    pub(crate) fn key(path: impl Into<String>, key: &'a SecretString) -> Self {
        NodeFile { path: path.into(), owner: ROOT, permissions: PRIVATE, content: Content::Key(key) }
    }

    /// A text with a key in it that only root may read.
    pub(crate) fn private(path: impl Into<String>, text: SecretString) -> Self {
        NodeFile { path: path.into(), owner: ROOT, permissions: PRIVATE, content: Content::Private(text) }
    }

    /// The same file with another owner (`user:group`).
    pub(crate) fn owned_by(self, owner: &'static str) -> Self {
        NodeFile { owner, ..self }
    }

    /// An item of `write_files`.
    pub(super) fn as_yaml(&self) -> Yaml<'_, Secret<'_>> {
        let content = match &self.content {
            Content::Public(text) => Yaml::Text(Cow::Borrowed(text)),
            Content::Key(key) => Yaml::Leaf(Secret::Text(key)),
            Content::Private(text) => Yaml::Leaf(Secret::Text(text)),
        };
        Yaml::Map(vec![
            ("path", Yaml::text(&self.path)),
            ("owner", Yaml::text(self.owner)),
            ("permissions", Yaml::text(self.permissions)),
            ("content", content),
        ])
    }
}
