//! A cluster of publishers' releases, from their checksum files to a deployment that answers: Kubernetes and all below it are compiled
//! from pinned Go modules, published on loopback, locked and built by the shipped recipes, and started.
//!
//! The nodes are the images' own root filesystems with their seeds, in namespaces of this host, started by the images' own units; in a
//! second cluster the worker is a machine that QEMU boots; on a third one run specs of Kubernetes' own conformance suite. The steps are
//! scripts that anyone can run: `tests/kubernetes/build` and `bake`, `tests/acceptance/kubernetes` and `machine`, `tests/conformance`.

#![allow(unreachable_pub, reason = "a test program has no users")]
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use support::program;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubernetes");

/// Runs a script with its output on the terminal.
#[track_caller]
fn runs(what: &str, command: &mut Command) {
    let started = Instant::now();
    let status = command.status().unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(status.success(), "{what}: {status}");
    println!("{what}: {:.0?}", started.elapsed());
}

/// A script with kbake as $KBAKE.
fn script(name: &str, args: &[&Path], folder: &Path) -> Command {
    let args: Vec<_> = args.iter().map(|arg| arg.to_str().expect("a plain path")).collect();
    let line = format!("{SCRIPTS}/{name} {}", args.join(" "));
    program::kbake_in_line("bash", &["-euc"], &format!("KBAKE={{}} exec {line}"), folder)
}

/// Compiles the components that Go's cache lacks. Go needs the caller's environment: its path, and the settings for fetching modules.
fn components() -> PathBuf {
    let said = Command::new(format!("{SCRIPTS}/build")).arg("--folder").output().expect("bash is there");
    let folder = PathBuf::from(String::from_utf8(said.stdout).unwrap().trim());
    let build = || Command::new(format!("{SCRIPTS}/build"));
    runs("components", build().arg(&folder));
    runs("conformance suite", build().arg(&folder).arg("conformance"));
    folder
}

/// Runs a script that uses a cluster, and prints its output at the end.
fn used(name: &str, components: &Path, work: &Path) -> bool {
    let mut command = script(&format!("../{name}"), &[components, work], work);
    // The harness is compiled first.
    command.envs(["PATH", "HOME"].map(|name| (name, std::env::var_os(name).expect("the caller has both"))));
    let started = Instant::now();
    let done = command.output().unwrap_or_else(|e| panic!("{name}: {e}"));
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{said}{name}: {:.0?}", started.elapsed());
    done.status.success()
}

#[test]
fn a_cluster_of_releases_answers_and_survives() {
    let components = components();
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes");
    _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).unwrap();
    let mut bake = script("bake", &[&components, &work], &work);
    program::by_the_hosts_way(&mut bake);
    runs("baked", &mut bake);
    // Two lanes: an emulated processor and the nodes of one cluster share two processors.
    let lanes = [&["acceptance/machine"][..], &["acceptance/kubernetes", "conformance --ci"]];
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let failed = |lane: &[&'static str]| lane.iter().copied().filter(|name| !used(name, &components, &work)).collect::<Vec<_>>();
        let running = lanes.map(|lane| scope.spawn(move || failed(lane)));
        running.into_iter().flat_map(|each| each.join().expect("it does not panic")).collect()
    });
    assert!(failed.is_empty(), "{failed:?}");
}
