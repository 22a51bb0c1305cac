//! `kbake gc`.

use std::collections::BTreeMap;

use super::args::Gc;
use super::store::{figures, label};
use super::{Session, clock};
use crate::build;
use crate::common::error::Result;
use crate::common::report::{Item, ItemKind, Outcome, Report as _};
use crate::common::value::{Arch, Digest, Size};
use crate::storage::store::gc::{Limits, PieceKind, Removal};
use crate::storage::store::inventory::Rest;
use crate::storage::store::usage::{self, Class, Tally};
use crate::storage::store::{Access, Owner, Store};

/// One day in seconds.
const DAY: i64 = 24 * 60 * 60;

impl Session<'_> {
    /// `kbake gc`.
    pub(super) fn gc(&self, args: &Gc) -> Result<()> {
        self.require_store()?;
        let store = self.open_store(Access::Exclusive, "other kbake processes use the store; waiting")?;
        let limits = Limits {
            max_size: args.max_size.map(|Size(bytes)| bytes),
            used_since: args.keep_days.map(|days| clock::moment().saturating_sub(i64::from(days) * DAY)),
        };
        let inventory = store.inventory()?;
        let classes = usage::classes(&inventory);
        let collection = store.plan_gc(&inventory, &limits)?;
        let mut gone: BTreeMap<Class, Tally> = BTreeMap::new();
        let mut take = |removal: &Removal| {
            gone.entry(usage::class_of(&classes, &removal.what)).or_default().add(removal.piece.size);
            if let PieceKind::Root(owner) = &removal.what {
                self.shell.say(&format!("{} no longer exists; its blobs are no longer needed", described(owner)));
            }
        };
        if args.dry_run {
            collection.removals.iter().for_each(take);
        } else {
            let mut left: Vec<&Removal> =
                collection.removals.iter().filter(|removal| removal.what == PieceKind::Rest(Rest::Work)).collect();
            store.collect(&collection, self.cancel, &mut |removal| {
                left.retain(|work| *work != removal);
                self.removed(removal);
                take(removal);
            })?;
            for removal in left {
                match build::remove_work(&store.root().join(&removal.piece.path), Arch::Amd64) {
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

    /// Reports a removal.
    fn removed(&self, removal: &Removal) {
        let (kind, digest) = match &removal.what {
            PieceKind::Blob(digest) => (ItemKind::Blob, Some(Digest::Sha256(*digest))),
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
            rows.push(row("total", total));
            text.push_str(&figures(rows));
        }
        let kept = Size(needed + spared);
        text.push_str(&format!("{} {kept}, {} of it needed\n", if args.dry_run { "would be left:" } else { "left:" }, Size(needed)));
        // Removals are reported as events; a dry run has none.
        if args.dry_run || !self.global.json {
            self.shell.data(&text)?;
        }
        if let Some(max) = args.max_size
            && needed + spared > max.0
        {
            let why = match spared {
                0 => "everything in it is needed".to_owned(),
                spared => {
                    format!("{} needed, {} recently used (--keep-days {})", Size(needed), Size(spared), args.keep_days.unwrap_or(0))
                }
            };
            self.shell.notice(&format!("the store {} remains larger than {max}: {why}", store.root().display()));
        }
        Ok(())
    }
}

fn row(label: &str, tally: Tally) -> [String; 3] {
    [label.to_owned(), tally.count.to_string(), Size(tally.bytes).to_string()]
}

fn described(owner: &Owner) -> String {
    match &owner.project {
        Some(project) => format!("{} of channel {} in {}", owner.role, owner.channel, project.display()),
        None => format!("{} of channel {}, of the shipped recipes", owner.role, owner.channel),
    }
}
