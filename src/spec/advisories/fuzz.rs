//! Every reader of this room on the same bytes. For `tests/fuzz` only, not part of the API.

use super::{Advisories, Format, Inside, Module, Package, Pins, Software, Sources, Vex, Wanted, report};
use crate::common::error::Error;

/// Reads `bytes` as each kind of file, and matches advisories with some software. Returns all errors.
///
/// # Panics
/// A text of pins is not read as it was written.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) -> Vec<Error> {
    let software = software();
    let wanted = Wanted::of([&software]);
    let mut errors = Vec::new();
    for format in [Format::DebianTracker, Format::Osv] {
        let mut advisories = Advisories::default();
        match advisories.add(format, "a file", bytes, &wanted) {
            Ok(()) => drop(report(&software, &advisories)),
            Err(error) => errors.push(error),
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        errors.extend(Vex::parse("vex.toml", text).err());
        errors.extend(Sources::parse("advisories.toml", text).err());
        match Pins::parse("a.lock", text) {
            Ok(pins) => assert_eq!(Pins::parse("a.lock", &pins.to_text()).ok(), Some(pins)),
            Err(error) => errors.push(error),
        }
    }
    errors
}

fn software() -> Software {
    let package = |version: &str| {
        let (source, release) = ("one".to_owned(), "trixie".to_owned());
        let version = version.parse().expect("a literal");
        Package { product: source.clone(), source, version, release, is_locked: true, purls: Default::default() }
    };
    let module = |version: &str| {
        let inside = Inside::Release(Some(version.to_owned()));
        Module { product: "two".to_owned(), path: "a.test/two".to_owned(), version: version.to_owned(), purl: String::new(), inside }
    };
    Software { packages: vec![package("1:1.0~rc1-1+b1")], modules: vec![module("1.2.3"), module("devel")], unknown: Default::default() }
}
