//! The recipes of a role's image, in the order in which they override each other.

use super::{Recipe, Subject};
use crate::common::document::nearest;
use crate::common::value::RoleName;
use crate::{Error, Result};

/// The recipes of the base alone: its parts, then itself.
///
/// # Errors
/// A part without a recipe, with the nearest one that has one.
pub(crate) fn base_layers(recipes: &[Recipe]) -> Result<Vec<&Recipe>> {
    with_parts(recipes, &Subject::Base)
}

/// The recipes that a role adds to the base: its parts in the order of its text, then itself. A later one overrides the values
/// of earlier ones for a path, a unit or an account.
///
/// # Errors
/// See [`base_layers`].
pub(crate) fn role_layers<'a>(recipes: &'a [Recipe], role: &RoleName) -> Result<Vec<&'a Recipe>> {
    with_parts(recipes, &Subject::Role(role.clone()))
}

fn with_parts<'a>(recipes: &'a [Recipe], subject: &Subject) -> Result<Vec<&'a Recipe>> {
    let of = |subject: &Subject| recipes.iter().find(|recipe| recipe.subject == *subject);
    let recipe = of(subject).ok_or_else(|| Error::internal(format!("there is no recipe of {subject:?}")))?;
    let mut layers = Vec::new();
    for part in &recipe.parts {
        layers.push(of(&Subject::Part(part.value.clone())).ok_or_else(|| {
            let known = recipes.iter().filter_map(|recipe| match &recipe.subject {
                Subject::Part(name) => Some(name.as_str()),
                _ => None,
            });
            let error = part.place.error(format!("there is no part `{}`", part.value));
            match nearest(part.value.as_str(), known) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error.hint(format!("a part is a recipe: recipes/parts/{}.toml", part.value)),
            }
        })?);
    }
    layers.push(recipe);
    Ok(layers)
}
