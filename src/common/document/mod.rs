//! TOML documents whose values know their position, so that every error about one shows file, line, column and a caret.
//! Recipes, sources and lockfiles are read through it. No I/O: texts are passed in with their names.

mod nearest;
mod place;
mod raw;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use toml::de::DeTable;
use toml::value::Datetime;

use crate::{Error, Result};
use place::Source;
use raw::{Raw, RawKey};

pub(crate) use nearest::nearest;
pub(crate) use place::{Located, Place};
pub(crate) use value::{Table, Value};

/// A table of a document, from which a reader takes the keys that it knows.
pub(crate) struct Section {
    source: Arc<Source>,
    title: String,
    place: Place,
    keys: BTreeMap<String, RawKey>,
}

/// Parses the document `text`, named `file` in messages. `remedy` is the hint for unresolved merge conflicts.
///
/// # Errors
/// Merge-conflict markers, and invalid TOML.
pub(crate) fn open(file: &str, text: &str, remedy: &str) -> Result<Section> {
    let source = Arc::new(Source { file: file.to_owned(), text: text.to_owned() });
    refuse_conflict(&source, remedy, &["<<<<<<<", "|||||||", ">>>>>>>"])?;
    match DeTable::parse(text) {
        Ok(root) => Ok(Section::of(&source, format!("`{file}`"), Place::new(&source, 0..0), raw::keys_of(root.into_inner()))),
        Err(error) => {
            // A lone divider can be legitimate text inside a string, so it only counts if the text is not TOML.
            refuse_conflict(&source, remedy, &["======="])?;
            let place = Place::new(&source, error.span().unwrap_or(0..0));
            let reason = error.message().lines().collect::<Vec<_>>().join("; ");
            Err(place.error(format!("`{file}` is not valid TOML: {reason}")))
        }
    }
}

fn refuse_conflict(source: &Arc<Source>, remedy: &str, markers: &[&str]) -> Result<()> {
    let mut at = 0;
    for line in source.text.split('\n') {
        let bare = line.trim_end_matches('\r');
        let is_marker = |marker: &str| bare.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        if markers.iter().any(|marker| is_marker(marker)) {
            let place = Place::new(source, at..at + bare.len());
            return Err(place.error(format!("`{}` has an unresolved merge conflict", source.file)).hint(remedy));
        }
        at += line.len() + 1;
    }
    Ok(())
}

impl Section {
    fn of(source: &Arc<Source>, title: String, place: Place, keys: Vec<RawKey>) -> Self {
        let keys = keys.into_iter().map(|key| (key.name.clone(), key)).collect();
        Section { source: Arc::clone(source), title, place, keys }
    }

    /// The start of the section.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The position of a key, if it exists.
    pub(crate) fn key_place(&self, key: &str) -> Option<Place> {
        self.keys.get(key).map(|found| Place::new(&self.source, found.name_span.clone()))
    }

    /// The names of the keys, sorted.
    pub(crate) fn key_names(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    /// Refuses every key that is not `known`, with the nearest known one as a hint. Call it first, so that a misspelt
    /// key is reported as unknown, not the intended one as missing.
    pub(crate) fn only(&self, known: &[&str]) -> Result<()> {
        // The first in the text, not in the alphabet.
        let unknown = self.keys.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        let Some((name, key)) = unknown.min_by_key(|(_, key)| key.name_span.start) else { return Ok(()) };
        let error =
            Place::new(&self.source, key.name_span.clone()).error(format!("unknown key `{}` in {}", name.escape_debug(), self.title));
        Err(match nearest(name, known.iter().copied()) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint(format!("known here: {}", known.join(", "))),
        })
    }

    /// A string parsed as `T`, if the key exists.
    pub(crate) fn optional<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Result<Option<Located<T>>> {
        let Some((place, value)) = self.take(key) else { return Ok(None) };
        match value {
            Raw::Text(text) => parse(key, &text, place).map(Some),
            other => Err(wrong_type(key, "a string", &other, &place)),
        }
    }

    /// A string parsed as `T`.
    pub(crate) fn required<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Result<Located<T>> {
        self.optional(key)?.ok_or_else(|| self.missing(key))
    }

    /// A non-negative whole number.
    pub(crate) fn number(&mut self, key: &str) -> Result<Located<u64>> {
        let (place, value) = self.take(key).ok_or_else(|| self.missing(key))?;
        let Raw::Number(digits, radix) = &value else { return Err(wrong_type(key, "a whole number", &value, &place)) };
        match u64::from_str_radix(digits, *radix) {
            Ok(value) => Ok(Located { value, place }),
            Err(_) => Err(place.error(format!("`{key}` is {digits}, which is not between 0 and {}", u64::MAX))),
        }
    }

    /// A whole number in `range`, if the key exists.
    pub(crate) fn optional_number(&mut self, key: &str, range: RangeInclusive<u64>) -> Result<Option<Located<u64>>> {
        if !self.keys.contains_key(key) {
            return Ok(None);
        }
        let found = self.number(key)?;
        match range.contains(&found.value) {
            true => Ok(Some(found)),
            false => Err(found.place.error(format!("`{key}` is {}; it must be {} to {}", found.value, range.start(), range.end()))),
        }
    }

    /// `true` or `false`, if the key exists.
    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<Located<bool>>> {
        let Some((place, value)) = self.take(key) else { return Ok(None) };
        match value {
            Raw::Flag(value) => Ok(Some(Located { value, place })),
            other => Err(wrong_type(key, "true or false", &other, &place)),
        }
    }

    /// A TOML date-time.
    pub(crate) fn time(&mut self, key: &str) -> Result<Located<Datetime>> {
        let (place, value) = self.take(key).ok_or_else(|| self.missing(key))?;
        match value {
            Raw::Time(value) => Ok(Located { value, place }),
            other => Err(wrong_type(key, "a date and time like 2026-01-31T12:00:00Z", &other, &place)),
        }
    }

    /// An array of strings parsed as `T`; empty when the key is absent.
    pub(crate) fn list<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Result<Vec<Located<T>>> {
        let Some((place, value)) = self.take(key) else { return Ok(Vec::new()) };
        let Raw::List(items) = value else { return Err(wrong_type(key, "an array of strings", &value, &place)) };
        let mut found = Vec::new();
        for (span, item) in items {
            let place = Place::new(&self.source, span);
            match item {
                Raw::Text(text) => found.push(parse(key, &text, place)?),
                other => return Err(wrong_type(key, "an array of strings", &other, &place)),
            }
        }
        Ok(found)
    }

    /// The tables `[[key]]`, in the order of the text; empty when the key is absent.
    pub(crate) fn sections(&mut self, key: &str) -> Result<Vec<Section>> {
        let Some((place, value)) = self.take(key) else { return Ok(Vec::new()) };
        let expected = format!("tables `[[{key}]]`");
        let Raw::List(items) = value else { return Err(wrong_type(key, &expected, &value, &place)) };
        let mut found = Vec::new();
        for (span, item) in items {
            let place = Place::new(&self.source, span);
            match item {
                Raw::Table(table) => found.push(Section::of(&self.source, format!("`[[{key}]]`"), place, table)),
                other => return Err(wrong_type(key, &expected, &other, &place)),
            }
        }
        Ok(found)
    }

    /// The table `[key]`, if it exists.
    pub(crate) fn section(&mut self, key: &str) -> Result<Option<Section>> {
        let Some((place, value)) = self.take(key) else { return Ok(None) };
        match value {
            Raw::Table(table) => Ok(Some(Section::of(&self.source, format!("`[{key}]`"), place, table))),
            other => Err(wrong_type(key, &format!("a table `[{key}]`"), &other, &place)),
        }
    }

    /// All keys with values of any kind, for a reader that learns the known keys elsewhere. The position of each is
    /// that of its key.
    ///
    /// # Errors
    /// Dates, and numbers that JSON cannot represent.
    pub(crate) fn table(self) -> Result<Table> {
        value::table(&self.source, self.keys.into_values())
    }

    /// The error for a missing key.
    pub(crate) fn missing(&self, key: &str) -> Error {
        self.place.error(format!("{} has no key `{key}`", self.title))
    }

    fn take(&mut self, key: &str) -> Option<(Place, Raw)> {
        let found = self.keys.remove(key)?;
        Some((Place::new(&self.source, found.span), found.value))
    }
}

fn parse<T: FromStr<Err: fmt::Display>>(key: &str, text: &str, place: Place) -> Result<Located<T>> {
    match text.parse() {
        Ok(value) => Ok(Located { value, place }),
        Err(reason) => Err(place.error(format!("bad `{key}`: {reason}"))),
    }
}

fn wrong_type(key: &str, expected: &str, found: &Raw, place: &Place) -> Error {
    place.error(format!("`{key}` must be {expected}, not {}", found.kind()))
}
