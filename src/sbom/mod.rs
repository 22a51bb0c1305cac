//! The bill of materials of a role's image: what is in it, as CycloneDX or SPDX. A pure function of what is locked.
//!
//! Nothing is fetched or unpacked for it: packages, artifacts and container images stand in it as the lockfile names
//! them, by the digest of what is downloaded. What they are made of themselves is said to be unknown.

mod cyclonedx;
mod item;
mod purl;
mod spdx;
#[cfg(test)]
mod tests;

pub use item::{Item, Kind, artifact_id, package_id};

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

/// A point in time as both formats write it ([RFC 3339](https://www.rfc-editor.org/rfc/rfc3339)), UTC.
fn timestamp(epoch: Epoch) -> String {
    let (days, rest) = (epoch.seconds() / 86_400, epoch.seconds() % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a number of days since 1970. Years begin in March here, so that the leap day comes last; an
/// epoch ends in 2038, before the one century whose last year is no leap year.
fn civil(days: u32) -> (u32, u32, u32) {
    // From 1968-03-01, the beginning of four years of which the last has the leap day.
    let days = days + 671;
    let (cycle, in_cycle) = (days / 1461, days % 1461);
    let year_of_cycle = (in_cycle / 365).min(3);
    let day_of_year = in_cycle - 365 * year_of_cycle;
    // Five months from March on have 153 days: 31, 30, 31, 30, 31.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = 1968 + 4 * cycle + year_of_cycle;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}
