//! Mirrors of package archives.

use std::fmt;

/// A mirror of package archives.
#[derive(Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The archive that it has, by name; none if it may have any.
    pub archive: Option<String>,
    /// Its address.
    pub base: String,
}

impl Mirror {
    /// A mirror of one archive.
    pub fn of(archive: &str, base: impl Into<String>) -> Self {
        Mirror { archive: Some(archive.to_owned()), base: base.into() }
    }

    /// True if it may have this archive.
    pub fn may_have(&self, archive: &str) -> bool {
        self.archive.as_deref().is_none_or(|own| own == archive)
    }
}

impl<T: Into<String>> From<T> for Mirror {
    fn from(base: T) -> Self {
        Mirror { archive: None, base: base.into() }
    }
}

/// Without the address, which may have a password.
impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("archive", &self.archive).finish_non_exhaustive()
    }
}
