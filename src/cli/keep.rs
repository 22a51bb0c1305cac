//! The commands that look after the store: `kbake gc`, `kbake store`.

use std::collections::BTreeMap;

use super::args::Gc;
use super::{Session, data, now};
use crate::bake;
use crate::error::Result;
use crate::fsx;
use crate::render::{aligned, fitted};
use crate::report::{Item, ItemKind, Outcome, Report as _};
use crate::store::gc::{Limits, Removal, What};
use crate::store::survey::{Inventory, Life, Rest};
use crate::store::usage::{self, Class, Tally, Usage};
use crate::store::{Access, Lower, Owner, Store};
use crate::value::{Arch, Digest, Size};

/// In seconds.
const DAY: i64 = 24 * 60 * 60;

impl Session<'_> {
    /// `kbake gc`.
    pub fn gc(&self, args: &Gc) -> Result<()> {
        self.require_store()?;
        let store = self.open_store(Access::Exclusive, "other kbakes use the store; waiting until they are done")?;
        let limits = Limits {
            max_size: args.max_size.map(|Size(bytes)| bytes),
            used_since: args.keep_days.map(|days| now().saturating_sub(i64::from(days) * DAY)),
        };
        let inventory = store.survey()?;
        let classes = usage::classes(&inventory);
        let collection = store.plan_gc(&inventory, &limits)?;
        let mut gone: BTreeMap<Class, Tally> = BTreeMap::new();
        let mut take = |removal: &Removal| {
            gone.entry(usage::class_of(&classes, &removal.what)).or_default().add(removal.piece.size);
            if let What::Root(owner) = &removal.what {
                self.shell.say(&format!("{} is gone, and so is what only it needed", described(owner)));
            }
        };
        if args.dry_run {
            collection.removals.iter().for_each(take);
        } else {
            let mut left: Vec<&Removal> = collection.removals.iter().filter(|removal| removal.what == What::Rest(Rest::Work)).collect();
            store.collect(&collection, self.cancel, &mut |removal| {
                left.retain(|work| *work != removal);
                self.removed(removal);
                take(removal);
            })?;
            for removal in left {
                match bake::remove_work(&store.root().join(&removal.piece.path), Arch::Amd64) {
                    Ok(()) => {
                        self.removed(removal);
                        take(removal);
                    }
                    Err(error) => self.shell.notice(&format!("{} stays: {error}", removal.piece.path.display())),
                }
            }
        }
        self.tell_collection(&store, args, &gone, [collection.needed, collection.spared])
    }

    /// One thing is gone.
    fn removed(&self, removal: &Removal) {
        let (kind, digest) = match &removal.what {
            What::Blob(digest) => (ItemKind::Blob, Some(Digest::Sha256(*digest))),
            _ => (ItemKind::Entry, None),
        };
        let name = removal.piece.path.to_string_lossy();
        self.shell.ended(&Item { kind, name: &name, digest, bytes: Some(removal.piece.size) }, Outcome::Removed);
    }

    fn tell_collection(&self, store: &Store, args: &Gc, gone: &BTreeMap<Class, Tally>, [needed, spared]: [u64; 2]) -> Result<()> {
        let verb = if args.dry_run { "would be removed" } else { "removed" };
        let total = gone.values().fold(Tally::default(), |sum, tally| sum.and(*tally));
        let mut text = String::new();
        if total == Tally::default() {
            text.push_str("nothing to remove\n");
        } else {
            let mut rows = vec![[verb, "number", "size"].map(str::to_owned)];
            rows.extend(gone.iter().map(|(class, tally)| row(&label(class), *tally)));
            rows.push(row("in all", total));
            text.push_str(&figures(rows));
        }
        let kept = Size(needed + spared);
        text.push_str(&format!("{} {kept}, {} of it needed\n", if args.dry_run { "would be left:" } else { "left:" }, Size(needed)));
        // What is gone was told as events; of what would go there are none.
        if args.dry_run || !self.global.json {
            self.shell.data(&text)?;
        }
        if let Some(max) = args.max_size
            && needed + spared > max.0
        {
            let why = match spared {
                0 => "all of it is needed".to_owned(),
                spared => {
                    format!("{} is needed, {} was used lately (--keep-days {})", Size(needed), Size(spared), args.keep_days.unwrap_or(0))
                }
            };
            self.shell.notice(&format!("the store {} stays larger than {max}: {why}", store.root().display()));
        }
        Ok(())
    }

    /// `kbake store`.
    pub fn show_store(&self) -> Result<()> {
        self.require_store()?;
        let store = self.store()?;
        let inventory = store.survey()?;
        let usage = Usage::of(&inventory);
        let free = fsx::free_space(store.root())?;
        let mut text = format!("{}\n\n{}", store.root().display(), what(&usage));
        let [_, unneeded] = usage.total();
        if unneeded.bytes > 0 {
            text.push_str(&format!("\n{} is needed by nobody: `kbake gc` removes it\n", Size(unneeded.bytes)));
        }
        text.push_str(&format!(
            "\n{} is free on its disk; images beside it share its extents or are copies, and not counted\n",
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
            self.shell.notice(&format!("{} cannot be understood: `kbake verify` removes it if it is damaged", odd.path.display()));
        }
    }
}

/// What is in the store, with what of it is of no use.
fn what(usage: &Usage) -> String {
    let row = |label: &str, [all, unneeded]: [Tally; 2]| {
        let unneeded = if unneeded.count == 0 { String::new() } else { Size(unneeded.bytes).to_string() };
        [label.to_owned(), all.count.to_string(), Size(all.bytes).to_string(), unneeded]
    };
    let mut rows = vec![["", "number", "size", "unneeded"].map(str::to_owned)];
    rows.extend(usage.classes.iter().map(|(class, tallies)| row(&label(class), *tallies)));
    rows.push(row("in all", usage.total()));
    figures(rows)
}

/// For whom things are kept.
fn roots(usage: &Usage) -> String {
    let mut rows = vec![["role", "channel", "alone", "shared", "kept by", "project"].map(str::to_owned)];
    for root in &usage.roots {
        let kept = match root.life {
            Life::Output => "its image",
            Life::Project => "its lockfile",
            Life::Awaited => "being not built yet",
            Life::Dead => "nothing",
        };
        let project = root.owner.project.as_ref().map_or("(shipped recipes)".to_owned(), |path| path.display().to_string());
        let (role, channel) = (root.owner.role.to_string(), root.owner.channel.clone());
        rows.push([role, channel, Size(root.alone).to_string(), Size(root.shared).to_string(), kept.to_owned(), project]);
    }
    rows[1..].sort_by(|a, b| (&a[5], &a[1], &a[0]).cmp(&(&b[5], &b[1], &b[0])));
    fitted(&rows)
}

/// The folders of the stores below, each with its blobs.
fn lower(store: &Store) -> Result<Vec<(String, Tally)>> {
    let tally = |lower: &Lower| {
        let mut tally = Tally::default();
        lower.blobs()?.iter().for_each(|blob| tally.add(blob.size));
        Ok((lower.root().display().to_string(), tally))
    };
    store.lower().iter().map(tally).collect()
}

/// A table of figures: all columns but the first end at the same place.
fn figures<const N: usize>(mut rows: Vec<[String; N]>) -> String {
    for column in 1..N {
        let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        for row in &mut rows {
            row[column] = format!("{:>width$}", row[column]);
        }
    }
    aligned(&rows)
}

fn row(label: &str, tally: Tally) -> [String; 3] {
    [label.to_owned(), tally.count.to_string(), Size(tally.bytes).to_string()]
}

/// What people call it.
fn label(class: &Class) -> String {
    match class {
        Class::Input => "inputs: packages, artifacts, parts of images",
        Class::Made(kind) => match &**kind {
            "image" => "images, with their trees",
            "base" => "bases, with their trees",
            "boot" => "boot loaders",
            "made" => "made of inputs: archives' members, images' archives",
            "frames" => "compressed contents, for images",
            "composed" => "what images have beside them",
            other => return format!("blobs of `{other}`"),
        },
        Class::Plan => "plans, with their causes",
        Class::Loose => "blobs that nothing names",
        Class::Entry => "entries: roots, actions, claims",
        Class::Rest(rest) => match rest {
            Rest::Partial => "downloads to go on with",
            Rest::Quarantine => "damaged blobs, put aside",
            Rest::Stamp => "files known outside",
            Rest::StaleStamp => "files known outside, gone or changed",
            Rest::Lock => "locks",
            Rest::Distrust => "damaged blobs of lower stores, and doubted entries",
            Rest::Work => "files and folders of work",
            Rest::Odd => "links, folders and the like in blobs' places",
        },
    }
    .to_owned()
}

fn described(owner: &Owner) -> String {
    match &owner.project {
        Some(project) => format!("{} of channel {} in {}", owner.role, owner.channel, project.display()),
        None => format!("{} of channel {}, of the shipped recipes", owner.role, owner.channel),
    }
}
