//! Comparison with goldens, the reviewed texts of `tests/golden`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use snapbox::Data;
use snapbox::assert::{Action, DEFAULT_ACTION_ENV};
use snapbox::report::{Palette, write_diff};

/// The folder of all goldens, from the project's root.
const FOLDER: &str = "tests/golden";
/// The hint of every failure. The command finds the tests by their names.
const REVIEW: &str = "if it is meant, review it:\n  SNAPSHOTS=overwrite cargo test --locked --lib --test integration -- as_recorded && git diff tests/golden";

/// Compares texts with the goldens of their names, paths below `tests/golden`. With `SNAPSHOTS=overwrite` the texts become the goldens.
///
/// The name of a test that calls this has `as_recorded` in it.
///
/// # Panics
/// Some texts differ; the message shows each difference.
#[track_caller]
pub fn goldens<N: AsRef<str>, T: AsRef<str>>(texts: impl IntoIterator<Item = (N, T)>) {
    let differences: String = texts.into_iter().filter_map(|(name, text)| difference(name.as_ref(), text.as_ref())).collect();
    assert!(differences.is_empty(), "{differences}\n{REVIEW}");
}

/// [`goldens`] for one text.
#[track_caller]
pub fn golden(name: &str, text: &str) {
    goldens([(name, text)]);
}

/// The difference between a text and its golden.
///
/// The bytes are compared here, because snapbox's own comparison takes two kinds of newlines for the same.
fn difference(name: &str, found: &str) -> Option<String> {
    // For the test that looks for goldens without a test.
    println!("golden {name}");
    let shown = format!("{FOLDER}/{name}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&shown);
    let expected = match fs::read(&path) {
        // An empty document has no file.
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        other => other.unwrap_or_else(|error| panic!("{shown}: {error}")),
    };
    if expected == found.as_bytes() {
        return None;
    }
    if let Some(Action::Overwrite) = Action::with_env_var(DEFAULT_ACTION_ENV) {
        Data::text(found).write_to_path(&path).unwrap_or_else(|error| panic!("{shown}: {error}"));
        return None;
    }
    let lines = |bytes: &[u8]| Data::text(String::from_utf8_lossy(bytes).replace('\r', "␍"));
    let mut difference = String::new();
    let (old, new) = (lines(&expected), lines(found.as_bytes()));
    write_diff(&mut difference, &old, &new, Some(&shown), Some(&"this test"), Palette::plain()).expect("a string takes all");
    Some(difference)
}
