//! Full disks, kills, and concurrent processes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::thread;

use super::*;
use crate::Class;
use crate::common::fsx::fault::{self, Fault};
use crate::common::testing::test_name;

/// The environment variable for [`in_a_child`]: steps, operation, folder.
const MARK: &str = "KBAKE_TEST_PKI_CRASH";

/// The smallest cluster: all authorities and four certificates.
fn small(dir: tempfile::TempDir) -> Place {
    let text = "name = \"small\"\n[network]\ncidr = \"192.168.3.0/24\"\n[[node]]\nrole = \"etcd\"\n";
    Place { dir, cluster: Cluster::read("small.toml", text).unwrap() }
}

fn new() -> Place {
    small(tempfile::tempdir().unwrap())
}

fn names(place: &Place) -> Vec<PathBuf> {
    place.snapshot().into_keys().map(|path| path.strip_prefix(place.dir.path()).unwrap().to_owned()).collect()
}

/// After any interruption, one init completes everything, and leaves nothing else behind.
fn heals(place: &Place, when: &str) {
    let report = place.pki().init(NOW).unwrap_or_else(|e| panic!("{when}: {e}"));
    assert_eq!(report.problems, [], "{when}");
    place.pki().load(NOW).unwrap_or_else(|e| panic!("{when}: {e}"));
    let whole = new();
    whole.pki().init(NOW).unwrap();
    assert_eq!(names(place), names(&whole), "{when}");
    let before = place.snapshot();
    assert_eq!(place.pki().init(NOW).unwrap().made, [""; 0], "{when}");
    assert_eq!(place.snapshot(), before, "{when}");
}

#[test]
fn a_full_disk_at_any_step_of_init_is_made_good_by_the_next() {
    let mut met = 0;
    for steps in 0.. {
        let place = new();
        fault::after(place.dir.path(), steps, Fault::NoSpace);
        let result = place.pki().init(NOW);
        if !fault::clear(place.dir.path()) {
            result.unwrap();
            break;
        }
        met += 1;
        let error = result.unwrap_err();
        assert_eq!(error.class(), Class::NoSpace, "{error}");
        heals(&place, &format!("full after {steps} steps"));
    }
    assert!(met >= 80, "only {met} steps were tried");
}

#[test]
fn a_kill_at_any_step_is_made_good_by_the_next_init() {
    for operation in ["init", "renew"] {
        let mut killed = 0;
        for steps in 0.. {
            let when = format!("{operation} killed after {steps} steps");
            let place = new();
            if operation == "renew" {
                place.pki().init(NOW).unwrap();
            }
            let status = child(place.dir.path(), operation, steps);
            if status.success() {
                break;
            }
            assert_eq!(status.signal(), Some(9), "{when}");
            killed += 1;
            if operation == "renew" {
                // Between the two renames a pair is neither reported valid nor broken.
                if let Err(error) = place.pki().load(NOW) {
                    let error = error.to_string();
                    assert!(
                        error.contains("has a renewal that was interrupted") && error.ends_with("hint: kbake pki init"),
                        "{when}: {error}"
                    );
                    assert_eq!(error.lines().count(), 3, "{when}: {error}");
                }
            }
            heals(&place, &when);
        }
        assert!(killed >= 40, "only {killed} steps of {operation} were tried");
    }
}

#[test]
fn a_renewal_is_finished_by_the_next_one_too() {
    let mut interrupted = 0;
    for steps in 0.. {
        let place = new();
        place.pki().init(NOW).unwrap();
        fault::after(place.dir.path(), steps, Fault::NoSpace);
        let result = place.pki().renew(&["etcd-admin"], NOW);
        if !fault::clear(place.dir.path()) {
            result.unwrap();
            break;
        }
        interrupted += usize::from(place.pki().load(NOW).is_err());
        place.pki().renew(&["admin"], NOW).unwrap();
        place.pki().load(NOW).unwrap();
    }
    assert!(interrupted >= 5, "{interrupted}");
}

#[test]
fn several_at_once_make_one_set() {
    let place = Place::empty("two-node");
    let (pki, all) = (place.pki(), 5 + place.pki().wanted().len() + place.cluster.nodes.len());
    thread::scope(|scope| {
        let inits: Vec<_> = (0..6).map(|_| scope.spawn(|| pki.init(NOW).unwrap().made.len())).collect();
        let made: usize = inits.into_iter().map(|init| init.join().unwrap()).sum();
        assert_eq!(made, all, "each was made once");
    });
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| pki.renew(&[], NOW).unwrap());
            scope.spawn(|| pki.init(NOW).unwrap());
            // A reader never sees half of a renewal.
            scope.spawn(|| (0..5).for_each(|_| _ = pki.load(NOW).unwrap()));
        }
    });
    pki.load(NOW).unwrap();
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "022", "077", "377"] {
        let place = new();
        // The temporary folder's own mode does not count.
        assert!(child_under(umask, place.dir.path(), "init", u32::MAX).success(), "umask {umask}");
        assert!(child_under(umask, place.dir.path(), "renew", u32::MAX).success(), "umask {umask}");
        for (path, (mode, ..)) in place.snapshot() {
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "umask {umask}: {}", path.display());
        }
    }
}

/// Runs an operation in a process of its own, which dies after that many changes of the disk.
fn child(dir: &Path, operation: &str, steps: u32) -> ExitStatus {
    child_under("022", dir, operation, steps)
}

fn child_under(umask: &str, dir: &Path, operation: &str, steps: u32) -> ExitStatus {
    let name = test_name(concat!(module_path!(), "::in_a_child"));
    let script = format!("umask {umask}; exec \"$0\" --exact {name} --quiet");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(std::env::current_exe().unwrap());
    command.env(MARK, format!("{steps} {operation} {}", dir.display())).stdout(std::process::Stdio::null());
    command.status().unwrap()
}

/// The body of [`child`]; run as a test of its own it does nothing.
#[test]
fn in_a_child() {
    let Ok(order) = std::env::var(MARK) else { return };
    let mut words = order.splitn(3, ' ');
    let [steps, operation, dir] = [(); 3].map(|()| words.next().unwrap());
    fault::after(Path::new(dir), steps.parse().unwrap(), Fault::Kill);
    let cluster = new().cluster;
    let pki = Pki::new(&Path::new(dir).join("secrets"), &cluster);
    match operation {
        "init" => _ = pki.init(NOW).unwrap(),
        _ => _ = pki.renew(&["admin", "etcd-admin"], NOW).unwrap(),
    }
}
