//! `images/expected.toml`: the digests that everyone must get, by plan.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::common::error::{Error, Result};
use crate::common::value::{RoleName, Sha256};

/// The recorded builds, by role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected(BTreeMap<String, Entry>);

/// The digests of one role's build.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    plan: Sha256,
    tree: Sha256,
    image: Sha256,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    plan: String,
    tree: String,
    image: String,
}

impl Expected {
    /// Parses the text of the file, called `file` in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let raw: BTreeMap<String, Raw> =
            toml::from_str(text).map_err(|e| Error::user(format!("{file} cannot be read")).detail(e.to_string().trim_end().to_owned()))?;
        let mut entries = BTreeMap::new();
        for (role, raw) in raw {
            let digest = |key: &str, text: &str| text.parse().map_err(|why| Error::user(format!("{file}, [{role}], `{key}`: {why}")));
            let entry = Entry { plan: digest("plan", &raw.plan)?, tree: digest("tree", &raw.tree)?, image: digest("image", &raw.image)? };
            entries.insert(role, entry);
        }
        Ok(Expected(entries))
    }

    /// True if a build of the role was recorded, even of another plan.
    pub fn names(&self, role: &RoleName) -> bool {
        self.0.contains_key(role.as_str())
    }

    /// True if an image of this digest was recorded, for any role and plan.
    pub fn has_image(&self, digest: &Sha256) -> bool {
        self.0.values().any(|entry| entry.image == *digest)
    }

    /// The digests of tree and image for `plan`, if this very plan was recorded.
    pub fn of(&self, role: &RoleName, plan: &Sha256) -> Option<(Sha256, Sha256)> {
        self.0.get(role.as_str()).filter(|entry| entry.plan == *plan).map(|entry| (entry.tree, entry.image))
    }
}

/// The lines that record a build.
pub(crate) fn lines(role: &RoleName, plan: &Sha256, tree: &Sha256, image: &Sha256) -> String {
    format!("[{role}]\nplan = \"{plan}\"\ntree = \"{tree}\"\nimage = \"{image}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recorded_plan_has_expectations() {
        let role: RoleName = "etcd".parse().unwrap();
        let [plan, tree, image] = ["p", "t", "i"].map(Sha256::of);
        let expected = Expected::parse("e.toml", &lines(&role, &plan, &tree, &image)).unwrap();
        assert_eq!(expected.of(&role, &plan), Some((tree, image)));
        assert_eq!(expected.of(&role, &tree), None, "another plan may give another image");
        assert_eq!(expected.of(&"worker".parse().unwrap(), &plan), None);
    }

    #[test]
    fn mistakes_name_their_place() {
        let error = Expected::parse("e.toml", "[etcd]\nplan = \"xyz\"\ntree = \"\"\nimage = \"\"\n").unwrap_err();
        assert!(error.message().starts_with("e.toml, [etcd], `plan`: "), "{error}");
        assert!(Expected::parse("e.toml", "[etcd\n").unwrap_err().to_string().contains("line 1"), "toml's own place");
    }
}
