//! The bill of materials of a role's image, as CycloneDX or SPDX. A pure function of the lock.
//!
//! Packages, artifacts and container images are listed as in the lockfile, by the digests of their downloads. The components of
//! those that were not inspected are declared unknown; modules, distributions and packages that were found in one are listed
//! once each, with all places, as contained in their parents.

mod cyclonedx;
mod installed;
mod item;
mod purl;
mod spdx;
#[cfg(test)]
mod tests;

pub(crate) use installed::{Installed, Manager};
pub(crate) use item::{Advised, Item, Kind, artifact_id, container_id, file_id, package_id};

use std::collections::BTreeSet;

use crate::common::value::{Arch, Epoch, RoleName, Sha256, Uuid, derived_uuid};
use crate::spec::lock::Entry;

/// The program that writes the bill, and its version.
const TOOL: (&str, &str) = ("kbake", env!("CARGO_PKG_VERSION"));

/// The content of an image, independent of the output format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// The image's role.
    pub role: RoleName,
    /// Its architecture.
    pub arch: Arch,
    /// The plan's key, the image's identity.
    pub key: Sha256,
    /// The time of the image.
    pub epoch: Epoch,
    /// The items in it.
    pub items: Vec<Item>,
    /// The programs that made it, which are not in it.
    pub tools: Vec<Item>,
}

impl Bill {
    /// Sorts the items, so that one image has one text, and adds the operating system.
    pub fn new(role: RoleName, arch: Arch, key: Sha256, epoch: Epoch, mut items: Vec<Item>, mut tools: Vec<Item>) -> Self {
        items.extend(release(&items).map(Item::debian));
        tools.push(Item::program(TOOL.0, TOOL.1));
        for list in [&mut items, &mut tools] {
            list.sort_by(|a, b| a.id.cmp(&b.id));
            list.dedup_by(|a, b| a.id == b.id);
        }
        Bill { role, arch, key, epoch, items, tools }
    }

    /// The bill as [CycloneDX 1.6](https://cyclonedx.org/docs/1.6/json/), JSON.
    pub fn cyclonedx(&self) -> String {
        cyclonedx::text(self)
    }

    /// The bill as [SPDX 2.3](https://spdx.github.io/spdx-spec/v2.3/), JSON.
    pub fn spdx(&self) -> String {
        spdx::text(self)
    }

    /// The items directly in the image, without those inside other items.
    fn top(&self) -> impl Iterator<Item = &Item> {
        let inner: BTreeSet<&String> = self.items.iter().flat_map(|item| &item.contains).collect();
        self.items.iter().filter(move |item| !inner.contains(&item.id))
    }

    /// The id of the image itself.
    fn subject(&self) -> String {
        format!("image:{}", self.role)
    }
}

/// The Debian release of these items.
fn release(items: &[Item]) -> Option<&str> {
    number(items.iter().find(|item| item.kind == Kind::Package && item.name == "base-files")?.version.as_deref()?)
}

/// The Debian release by its number, from the version of the package that every Debian system has: `12.4+deb12u15` → `12`.
fn number(base_files: &str) -> Option<&str> {
    base_files.split('.').next().filter(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The system that these packages form, as scanners name it: `debian-12`. The suite, where that is not known.
pub(crate) fn distro(packages: &[Entry], suite: &str) -> String {
    let base = packages.iter().find(|package| package.name.as_str() == "base-files");
    base.and_then(|base| number(base.version.as_str())).map_or_else(|| suite.to_owned(), |number| format!("debian-{number}"))
}

/// The document's id, derived from its text: another text has another id.
fn identity(text: &str) -> Uuid {
    derived_uuid("kbake bill of materials", &Sha256::of(text).to_string())
}

/// A document as text. The structs hold strings and lists only, which are always JSON.
fn print(document: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("strings and lists are always JSON");
    text.push('\n');
    text
}
