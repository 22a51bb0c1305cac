//! `[[user]]`: accounts for services that no package creates.

use crate::Result;
use crate::common::document::{Located, Section};
use crate::common::value::TreePath;

use super::entry::AbsolutePath;
use super::{OwnerName, refuse_twins};

/// A system account with a group of the same name and number, without password and shell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// Its name.
    pub name: OwnerName,
    /// The number of user and group. Given, not allocated: other accounts must not decide it.
    pub id: u32,
    /// Its home folder, which is not created.
    pub home: TreePath,
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.name.fmt(f)
    }
}

/// All accounts of a recipe, in the order of the text.
pub(super) fn all(root: &mut Section) -> Result<Vec<Located<User>>> {
    let mut users = Vec::new();
    for mut section in root.sections("user")? {
        section.only(&["name", "id", "home"])?;
        let name = section.required::<OwnerName>("name")?;
        let id = section.number("id")?;
        // Debian assigns system accounts numbers from 100 up, and systemd from 999 down.
        let number = u32::try_from(id.value).ok().filter(|id| (100..1000).contains(id));
        let number = number.ok_or_else(|| id.place.error(format!("`id` is {}, but a system account has one from 100 to 999", id.value)))?;
        let home = section.required::<AbsolutePath>("home")?.value.0;
        users.push(Located { value: User { name: name.value, id: number, home }, place: name.place });
    }
    let names: Vec<_> = users.iter().map(|user| Located { value: user.value.name.clone(), place: user.place.clone() }).collect();
    refuse_twins(&names, "user")?;
    Ok(users)
}
