//! Statements of what is wanted: recipes, the lockfile, where upstream has what they name, and the plan that follows.

pub(crate) mod advisories;
pub(crate) mod apt;
pub(crate) mod compatibility;
pub(crate) mod lock;
pub(crate) mod plan;
pub(crate) mod project;
pub(crate) mod recipe;
pub(crate) mod upstream;
