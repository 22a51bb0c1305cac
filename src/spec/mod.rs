//! Statements of what is wanted: recipes, the lockfile, where upstream has what they name, and the plan that follows.

pub mod apt;
pub mod compatibility;
pub mod lock;
pub mod plan;
pub mod project;
pub mod recipe;
pub mod upstream;
