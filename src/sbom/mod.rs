//! The bill of materials of a role's image: what is in it, as CycloneDX or SPDX. A pure function of what is locked.
//!
//! Packages, artifacts and container images stand in it as the lockfile names them, by the digest of what is downloaded. Where nobody
//! looked into them, what they are made of is said to be unknown; modules, distributions and packages that were found in one are
//! named once each, with all places, and their parents contain them.

mod cyclonedx;
mod item;
mod purl;
mod spdx;
#[cfg(test)]
mod tests;

pub use item::{Installed, Item, Kind, Manager, artifact_id, container_id, file_id, package_id};

use std::collections::BTreeSet;

use crate::value::{Arch, Epoch, Guid, RoleName, Sha256};

/// The program that writes it, and its version.
const TOOL: (&str, &str) = ("kbake", env!("CARGO_PKG_VERSION"));

/// What is in an image, before it has a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Whose image.
    pub role: RoleName,
    /// The machine that it is for.
    pub arch: Arch,
    /// The plan's key, the image's identity.
    pub key: Sha256,
    /// The image's "now".
    pub epoch: Epoch,
    /// What is in it.
    pub items: Vec<Item>,
    /// What made it, and is not in it.
    pub tools: Vec<Item>,
}

impl Bill {
    /// Sorts what is in the image, so that one image has one text, and adds what the packages make up.
    pub fn new(role: RoleName, arch: Arch, key: Sha256, epoch: Epoch, mut items: Vec<Item>, mut tools: Vec<Item>) -> Self {
        items.extend(release(&items).map(Item::debian));
        tools.push(Item::program(TOOL.0, TOOL.1));
        for list in [&mut items, &mut tools] {
            list.sort_by(|a, b| a.id.cmp(&b.id));
            list.dedup_by(|a, b| a.id == b.id);
        }
        Bill { role, arch, key, epoch, items, tools }
    }

    /// As [CycloneDX 1.6](https://cyclonedx.org/docs/1.6/json/), JSON.
    pub fn cyclonedx(&self) -> String {
        cyclonedx::text(self)
    }

    /// As [SPDX 2.3](https://spdx.github.io/spdx-spec/v2.3/), JSON.
    pub fn spdx(&self) -> String {
        spdx::text(self)
    }

    /// The things that the image has as such, and not only within another one.
    fn top(&self) -> impl Iterator<Item = &Item> {
        let inner: BTreeSet<&String> = self.items.iter().flat_map(|item| &item.contains).collect();
        self.items.iter().filter(move |item| !inner.contains(&item.id))
    }

    /// What the image itself is called in the text.
    fn subject(&self) -> String {
        format!("image:{}", self.role)
    }
}

/// The Debian release, by the package that every Debian system has: `12.4+deb12u15` → `12`.
fn release(items: &[Item]) -> Option<&str> {
    let base = items.iter().find(|item| item.kind == Kind::Package && item.name == "base-files")?;
    let number = base.version.as_deref()?.split('.').next()?;
    number.bytes().all(|b| b.is_ascii_digit()).then_some(number)
}

/// The one name of a text that says all this: whatever else it says, it has another name.
fn identity(text: &str) -> Guid {
    Guid::derived("kbake bill of materials", &Sha256::of(text).to_string())
}

/// A document as text. The structs hold strings and lists only, which are always JSON.
fn print(document: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("strings and lists are always JSON");
    text.push('\n');
    text
}
