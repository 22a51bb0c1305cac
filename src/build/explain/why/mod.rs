//! Reasons for a rebuild, now or the last time: the changed lines of files behind the changed lines of a plan.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;

use crate::build::pipeline::step::StepKind;
use crate::build::{Bake, Cause, Causes, Resolved};
use crate::common::error::{Class, Result};
use crate::spec::plan::compare::{Change, Subject, compare, lines};
use crate::storage::store::{Blob, History, Lookup, Miss, Owner, Root};

/// The answer to `kbake why`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// No earlier build is known.
    NeverBuilt {
        /// True when the store has the image anyway, from another project or a bundle.
        in_store: bool,
    },
    /// The plan has changed since the last build.
    Changed {
        /// The changed lines of the plan, with their causes.
        reasons: Vec<Reason>,
        /// True when the store has the new plan's image anyway.
        in_store: bool,
    },
    /// The plan is unchanged and the store lacks its image.
    Lost {
        /// The reason why the store cannot give the image.
        miss: Miss,
        /// The change from the plan before to this one, as far as known.
        before: Before,
    },
    /// Nothing would be built.
    Current {
        /// The change from the plan before to this one, as far as known.
        before: Before,
    },
    /// The last plan is gone from the store, or unreadable.
    Forgotten,
}

/// The change from the plan before the last one to the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// The last plan is the first one known.
    First,
    /// These lines changed.
    Changed(Vec<Reason>),
    /// The plan before is gone from the store, or unreadable.
    Forgotten,
}

/// A changed line of a plan, with its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The line.
    pub change: Change,
    /// The place of the cause and its earlier state, for people; never empty.
    pub cause: String,
}

/// A plan's lines and causes.
struct Side {
    lines: BTreeMap<Subject, String>,
    causes: Option<Causes>,
}

impl Bake<'_> {
    /// Compares the plan that `owner` would build now with the last one built.
    ///
    /// # Errors
    /// I/O errors.
    pub fn why(&self, owner: &Owner, resolved: &Resolved) -> Result<Why> {
        let image = self.store.action(StepKind::Image.word(), &resolved.plan.key());
        let Some(root) = self.store.root_of(owner)? else {
            return Ok(Why::NeverBuilt { in_store: matches!(image, Lookup::Hit(_)) });
        };
        if root.current.history.plan.digest != resolved.plan.key() {
            let Some(old) = self.side(&root.current.history)? else { return Ok(Why::Forgotten) };
            let new = Side { lines: lines(&resolved.plan.text(), "the plan")?, causes: Some(Causes::of(resolved)?) };
            return Ok(Why::Changed { reasons: reasons(&old, &new), in_store: matches!(image, Lookup::Hit(_)) });
        }
        let before = self.before(&root, resolved)?;
        Ok(match image {
            Lookup::Hit(_) => Why::Current { before },
            Lookup::Miss(miss) => Why::Lost { miss, before },
        })
    }

    fn before(&self, root: &Root, resolved: &Resolved) -> Result<Before> {
        let Some(previous) = &root.previous else { return Ok(Before::First) };
        let Some(old) = self.side(previous)? else { return Ok(Before::Forgotten) };
        // The current plan is known without the store.
        let causes = match self.causes_of(&root.current.history)? {
            Some(causes) => Some(causes),
            None => Some(Causes::of(resolved)?),
        };
        let new = Side { lines: lines(&resolved.plan.text(), "the plan")?, causes };
        Ok(Before::Changed(reasons(&old, &new)))
    }

    fn side(&self, history: &History) -> Result<Option<Side>> {
        let Some(text) = self.text(&history.plan)? else { return Ok(None) };
        let Ok(lines) = lines(&text, "the plan") else { return Ok(None) };
        Ok(Some(Side { lines, causes: self.causes_of(history)? }))
    }

    fn causes_of(&self, history: &History) -> Result<Option<Causes>> {
        let Some(blob) = &history.causes else { return Ok(None) };
        Ok(self.text(blob)?.and_then(|text| Causes::parse(text.as_bytes())))
    }

    /// The text of a blob; none when it is gone, damaged or not UTF-8.
    pub(in crate::build) fn text(&self, blob: &Blob) -> Result<Option<String>> {
        let Some(mut reader) = self.store.reader(&blob.digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        match reader.read_to_end(&mut bytes).map_err(|e| crate::Error::io("read from the store", &e)) {
            Ok(_) => Ok(String::from_utf8(bytes).ok()),
            Err(error) if error.class() == Class::Integrity => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn reasons(old: &Side, new: &Side) -> Vec<Reason> {
    let changes = compare(&old.lines, &new.lines);
    changes.into_iter().map(|change| Reason { cause: cause(&change, old.causes.as_ref(), new.causes.as_ref()), change }).collect()
}

/// The cause of a changed line.
fn cause(change: &Change, old: Option<&Causes>, new: Option<&Causes>) -> String {
    let of = |causes: Option<&'_ Causes>| causes.map(|causes| causes.causes(&change.subject).to_vec()).unwrap_or_default();
    let (was, is) = (of(old), of(new));
    match (&change.old, &change.new) {
        (Some(_), None) => match was.first() {
            Some(cause) => removed(cause),
            None => "no longer wanted; its earlier cause is not known".into(),
        },
        (None, _) => is.first().map_or_else(|| "not known".into(), added),
        (Some(_), Some(_)) => match (was.first(), is.first()) {
            (_, None) => "not known".into(),
            (None, Some(is)) => here(is),
            (Some(Cause::Kbake { .. }), Some(Cause::Kbake { part })) => kbake(part.as_deref(), old, new),
            (Some(Cause::Locked { .. }), Some(Cause::Locked { .. })) => moved(&was, &is),
            (Some(Cause::Source { .. }), Some(Cause::Source { .. })) if only_meta(change) => is.get(1).map_or_else(String::new, here),
            (Some(before), Some(now)) if std::mem::discriminant(before) == std::mem::discriminant(now) => here(now),
            (Some(before), Some(now)) => format!("{}; before: {}", here(now), here(before)),
        },
    }
}

/// True when only metadata has changed, not contents.
fn only_meta(change: &Change) -> bool {
    !change.facets().iter().any(|facet| facet.starts_with("contents") || facet.starts_with("what"))
}

/// The place of a cause, for people.
fn here(cause: &Cause) -> String {
    match cause {
        Cause::Kbake { part: None } => "kbake itself".into(),
        Cause::Kbake { part: Some(part) } => format!("kbake's own part {part}"),
        Cause::Locked { at, what, version, .. } => format!("{at} {what} {version}"),
        Cause::Source { file, at } => format!("{file}, which {at} names"),
        Cause::Written { at } => at.clone(),
    }
}

fn added(cause: &Cause) -> String {
    match cause {
        Cause::Locked { asked, .. } if !asked.is_empty() => format!("{}, asked for in {}", here(cause), asked.join(", ")),
        Cause::Locked { .. } => format!("{}, which others need", here(cause)),
        _ => here(cause),
    }
}

fn removed(cause: &Cause) -> String {
    match cause {
        Cause::Kbake { .. } => format!("{} no longer makes it", here(cause)),
        Cause::Locked { at, what, version, .. } => format!("{what} {version} is no longer wanted; it was {at}"),
        Cause::Source { at, .. } | Cause::Written { at } => format!("no longer there; it was {at}"),
    }
}

/// The change of a locked entry: another version, other bytes under the same version, or another use of the same bytes.
fn moved(was: &[Cause], is: &[Cause]) -> String {
    let (Some(Cause::Locked { version: old, digest: old_digest, .. }), Some(Cause::Locked { at, what, version, digest, .. })) =
        (was.first(), is.first())
    else {
        return "not known".into();
    };
    if old != version {
        return format!("{at} {what} {old} → {version}");
    }
    if old_digest != digest {
        return format!("{at} {what} {version}: OTHER BYTES under the same version, {old_digest} → {digest}");
    }
    // The bytes are the same, so the recipe or the channel changed.
    let written: Vec<String> = is[1..].iter().map(here).collect();
    if written.is_empty() { format!("{at} {what} {version}") } else { written.join(", ") }
}

/// The change of kbake's own texts: another kbake version, or other versions that they depend on.
fn kbake(part: Option<&str>, old: Option<&Causes>, new: Option<&Causes>) -> String {
    let mut said = here(&Cause::Kbake { part: part.map(str::to_owned) });
    let (Some(old), Some(new)) = (old, new) else { return said };
    if old.kbake != new.kbake {
        said += &format!(", {} → {}", old.kbake, new.kbake);
    }
    if part.is_some() {
        let moved = |(name, version): (&String, &String)| match old.facts.get(name) {
            Some(before) if before != version => Some(format!("{name} {before} → {version}")),
            None => Some(format!("{name} {version}, which is new")),
            _ => None,
        };
        let moved: Vec<String> = new.facts.iter().filter_map(moved).collect();
        if !moved.is_empty() {
            said += &format!(", which follows {}", moved.join(", "));
        }
    }
    said
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.change, self.cause)
    }
}

#[cfg(test)]
mod tests;
