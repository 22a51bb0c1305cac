//! `kbake store`.

use super::{Session, data};
use crate::build::StepKind;
use crate::common::columns::{aligned, fitted};
use crate::common::error::Result;
use crate::common::fsx;
use crate::common::value::Size;
use crate::storage::store::inventory::{Inventory, Liveness, Rest};
use crate::storage::store::usage::{Class, Tally, Usage};
use crate::storage::store::{Lower, Store};

impl Session<'_> {
    /// `kbake store`.
    pub(super) fn show_store(&self) -> Result<()> {
        self.require_store()?;
        let store = self.store()?;
        let inventory = store.inventory()?;
        let usage = Usage::of(&inventory);
        let free = fsx::free_space(store.root())?;
        let mut text = format!("{}\n\n{}", store.root().display(), what(&usage));
        let [_, unneeded] = usage.total();
        if unneeded.bytes > 0 {
            let line = format!("\n{} unneeded: `kbake gc` removes it\n", Size(unneeded.bytes));
            text.push_str(&self.shell.complete(&line));
        }
        text.push_str(&format!(
            "\n{} free on its disk; output images outside the store share its extents or are copies, and are not counted\n",
            Size(free)
        ));
        if !usage.roots.is_empty() {
            text.push_str(&format!("\n{}", roots(&usage)));
        }
        let lower = lower(&store)?;
        if !lower.is_empty() {
            let row = |(folder, tally): &(String, Tally)| [folder.clone(), tally.count.to_string(), Size(tally.bytes).to_string()];
            let head = ["lower store", "blobs", "size"].map(str::to_owned);
            text.push_str(&format!("\n{}", figures([head].into_iter().chain(lower.iter().map(row)).collect())));
        }
        let folder = store.root().display().to_string();
        self.shell.document(|| data::store(&folder, &usage, free, &lower), &text)?;
        self.tell_odd(&inventory);
        Ok(())
    }

    fn tell_odd(&self, inventory: &Inventory) {
        for odd in &inventory.odd_roots {
            self.shell.notice(&format!("{} is unreadable: `kbake verify` removes it if it is damaged", odd.path.display()));
        }
    }
}

/// The table of the store's contents by class.
fn what(usage: &Usage) -> String {
    let row = |label: &str, [all, unneeded]: [Tally; 2]| {
        let unneeded = if unneeded.count == 0 { String::new() } else { Size(unneeded.bytes).to_string() };
        [label.to_owned(), all.count.to_string(), Size(all.bytes).to_string(), unneeded]
    };
    let mut rows = vec![["", "number", "size", "unneeded"].map(str::to_owned)];
    rows.extend(usage.classes.iter().map(|(class, tallies)| row(&label(class), *tallies)));
    rows.push(row("total", usage.total()));
    figures(rows)
}

/// The table of roots.
fn roots(usage: &Usage) -> String {
    let mut rows = vec![["role", "channel", "alone", "shared", "kept by", "project"].map(str::to_owned)];
    for root in &usage.roots {
        let kept = match root.life {
            Liveness::Output => "its image",
            Liveness::Project => "its lockfile",
            Liveness::Awaited => "a later build",
            Liveness::Dead => "nothing",
        };
        let project = root.owner.project.as_ref().map_or("(shipped recipes)".to_owned(), |path| path.display().to_string());
        let (role, channel) = (root.owner.role.to_string(), root.owner.channel.clone());
        rows.push([role, channel, Size(root.alone).to_string(), Size(root.shared).to_string(), kept.to_owned(), project]);
    }
    rows[1..].sort_by(|a, b| (&a[5], &a[1], &a[0]).cmp(&(&b[5], &b[1], &b[0])));
    fitted(&rows)
}

/// The folders of the lower stores with the tally of their blobs.
fn lower(store: &Store) -> Result<Vec<(String, Tally)>> {
    let tally = |lower: &Lower| {
        let mut tally = Tally::default();
        lower.blobs()?.iter().for_each(|blob| tally.add(blob.size));
        Ok((lower.root().display().to_string(), tally))
    };
    store.lower().iter().map(tally).collect()
}

/// A table of figures: all columns except the first are right-aligned.
pub(super) fn figures<const N: usize>(mut rows: Vec<[String; N]>) -> String {
    for column in 1..N {
        let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        for row in &mut rows {
            row[column] = format!("{:>width$}", row[column]);
        }
    }
    aligned(&rows)
}

/// The label of a class.
pub(super) fn label(class: &Class) -> String {
    match class {
        Class::Input => "inputs: packages, artifacts, parts of images",
        Class::Output(kind) => match StepKind::of_word(kind) {
            Some(step) => step.plural(),
            None => return format!("blobs of `{kind}`"),
        },
        Class::Plan => "plans, with their provenance",
        Class::Loose => "unreferenced blobs",
        Class::Entry => "entries: roots, actions, claims",
        Class::Rest(rest) => match rest {
            Rest::Partial => "partial downloads",
            Rest::Quarantine => "damaged blobs in quarantine",
            Rest::Stamp => "stamps of files outside the store",
            Rest::StaleStamp => "obsolete stamps and marks",
            Rest::Lock => "locks",
            Rest::Distrust => "marks for damaged blobs and false entries of lower stores",
            Rest::Work => "temporary files and folders",
            Rest::Odd => "links and folders in the place of blobs",
        },
    }
    .to_owned()
}
