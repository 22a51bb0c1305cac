//! Hostile archives, container images, disk images and bundles, one row each: the result, the words of the refusal, and limits of
//! memory and time. Nothing may appear outside the store, and a refused one leaves no tree.
//!
//! The tables in `src/formats/archive`, `src/formats/oci` and `src/formats/disk` try many spellings of single rules; here whole attacks
//! meet the readers as kbake calls them, with their real limits.

#![allow(unreachable_pub, reason = "a test program has no users")]
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

mod bundles;
mod debs;
mod disks;
mod findings;
mod memory;
mod oci;
mod row;
mod scripts;
mod streams;
mod tars;

#[path = "../support/mod.rs"]
mod support;

#[path = "../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use row::{Place, Row};

/// One test at a time: memory is measured for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// No row takes longer, on a slow machine and without optimisation.
const TIME_MAX: Duration = Duration::from_secs(600);

fn rows() -> Vec<Row> {
    [tars::rows(), tars::accepted(), streams::rows(), debs::rows(), oci::rows(), disks::rows(), bundles::rows()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn hostile_archives_do_no_harm() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = rows();
    let mut names = BTreeSet::new();
    assert!(
        rows.iter().all(|row| names.insert(row.name)),
        "each row has a name of its own, and there are {} for {}",
        names.len(),
        rows.len()
    );
    assert!(rows.len() >= 300, "only {} rows", rows.len());
    let place = Place::new();
    let mut wrong = Vec::new();
    for row in rows {
        let name = row.name;
        // Making the bytes is not measured.
        let bytes = (row.make)();
        let started = Instant::now();
        let (result, used) = memory::measure(|| (row.read)(&bytes, &place));
        let time = started.elapsed();
        let mut complain = |why: String| wrong.push(format!("{name}: {why}"));
        if let Err(why) = row.expect.holds(&result) {
            complain(why);
        }
        let most = row.memory << 20;
        if used > most {
            complain(format!("took {} KiB of memory, {} MiB are allowed", used >> 10, row.memory));
        }
        if std::env::var_os("KBAKE_TEST_VERBOSE").is_some() {
            println!("{:>6} KiB {time:>12.1?}  {name}", used >> 10);
        }
        if time > TIME_MAX {
            complain(format!("took {time:?}"));
        }
        if let Err(why) = place.is_untouched() {
            complain(why);
        }
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn fuzzing_starts_from_sound_seeds() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for target in &targets::TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for seed in seeds {
            (target.run)(&seed);
            // libFuzzer tries these first.
            (target.run)(&seed[..seed.len() / 2]);
        }
        (target.run)(b"");
    }
}

#[test]
fn what_fuzzing_found_stays_mended() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, input, why) in findings::FINDINGS {
        let target = targets::TARGETS.iter().find(|target| target.name == *name).unwrap_or_else(|| panic!("no target {name}: {why}"));
        (target.run)(input);
    }
}
