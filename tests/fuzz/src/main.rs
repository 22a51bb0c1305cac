//! libFuzzer's program: the target is chosen by `KBAKE_FUZZ`. With `KBAKE_FUZZ_SEEDS` it writes the seeds of all targets
//! to folders there, prints the targets' names, and ends.

#![no_main]

mod seeds;
mod targets;

use std::sync::OnceLock;

use targets::{TARGETS, Target};

static CHOSEN: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: choose(), |bytes: &[u8]| {
    (CHOSEN.get().expect("chosen before the first run").run)(bytes);
});

fn choose() {
    if let Some(folder) = std::env::var_os("KBAKE_FUZZ_SEEDS") {
        for target in &TARGETS {
            let folder = std::path::Path::new(&folder).join(target.name);
            std::fs::create_dir_all(&folder).expect("a folder for seeds");
            for (at, seed) in (target.seeds)().iter().enumerate() {
                std::fs::write(folder.join(format!("seed-{at:03}")), seed).expect("a seed is written");
            }
            println!("{}", target.name);
        }
        std::process::exit(0);
    }
    let name = std::env::var("KBAKE_FUZZ").unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    assert!(target.is_some(), "KBAKE_FUZZ=`{name}` is no target");
    let _ = CHOSEN.set(target.expect("just looked at"));
}
