//! The write protocol under a full disk and under SIGKILL, at every step.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use super::*;
use crate::common::fsx::fault::{self, ENDS, Fault};
use crate::common::testing::test_name;

const MARK: &str = "KBAKE_TEST_CRASH";

/// A command's operations on a store, from its creation on. `dir` holds the store and an output.
fn work(dir: &Path) -> Result<()> {
    let store = try_open(&dir.join("store"))?;
    let small = store.insert(b"small")?;
    let mut writer = store.writer(None, None)?;
    for n in 0..3u8 {
        writer.put(&[n; 5000])?;
    }
    let large = writer.commit()?;
    if let Claim::Ours(mut partial) = store.partial(&Sha256::of(b"downloaded").into(), Some(10))? {
        // The bytes of an earlier run may be complete, or the remains of a power cut.
        if partial.found() != Sha256::of(&b"downloaded"[..partial.len() as usize]).into() {
            partial.reset()?;
        }
        let rest = &b"downloaded"[partial.len() as usize..];
        for chunk in rest.chunks(4) {
            partial.put(chunk)?;
        }
        partial.commit()?;
    }
    let _lock = store.plan_lock(&key(), &Cancel::new(), &|| {})?;
    store.put_action("image", &key(), &Action { outputs: [("a".to_owned(), small), ("b".to_owned(), large)].into() })?;
    store.export(&large.digest, &dir.join("out"), 0o644)
}

fn key() -> Sha256 {
    Sha256::of(b"key")
}

/// The invariants for a process that starts at any moment.
fn check(dir: &Path, when: &str) {
    // A process that another test forks holds this one's locks until it starts its program: the store cleans up when nobody holds them.
    let left = |store: &Store| names(&store.tmp()).iter().any(|name| !name.starts_with(PARTIAL));
    let store = (0..100).map(|_| open(&dir.join("store"))).find(|store| !left(store)).unwrap_or_else(|| open(&dir.join("store")));
    for name in names(&store.root().join("blobs/sha256")) {
        let path = store.path(&name.parse().unwrap());
        assert_eq!(Sha256::of(fs::read(&path).unwrap()).to_string(), name, "{when}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o444, "{when}");
    }
    assert_eq!(names(&store.root().join("quarantine")), [""; 0], "{when}");
    for name in names(&store.tmp()) {
        assert!(name.starts_with(PARTIAL), "{when}: {name} was not removed");
    }
    match store.action("image", &key()) {
        Lookup::Hit(action) => assert_eq!(action.outputs.len(), 2, "{when}"),
        Lookup::Miss(miss) => assert_eq!(miss, Miss::Absent, "{when}"),
    }
    let out = dir.join("out");
    if let Ok(bytes) = fs::read(&out) {
        assert_eq!(bytes.len(), 15_000, "{when}");
    }
    if let Some(digest) = store.stamp(&out).unwrap() {
        assert_eq!(digest, Sha256::of(fs::read(&out).unwrap()), "{when}");
    }
}

fn finish(dir: &Path, when: &str) {
    work(dir).unwrap_or_else(|e| panic!("{when}: the next run fails: {e}"));
    check(dir, when);
    let store = open(&dir.join("store"));
    assert!(matches!(store.action("image", &key()), Lookup::Hit(_)), "{when}");
    assert_eq!(store.stamp(&dir.join("out")).unwrap(), Some(Sha256::of(fs::read(dir.join("out")).unwrap())), "{when}");
    assert!(!names(dir).iter().any(|name| name.contains("kbake-")), "{when}: {:?}", names(dir));
}

#[test]
fn a_full_disk_at_any_step_leaves_a_sound_store() {
    let mut met = 0;
    for steps in 0.. {
        let when = format!("full after {steps} steps");
        let dir = tempfile::tempdir().unwrap();
        fault::after(dir.path(), steps, Fault::NoSpace);
        let result = work(dir.path());
        if !fault::clear(dir.path()) {
            result.unwrap();
            break;
        }
        met += 1;
        let error = result.expect_err(&when);
        assert_eq!(error.class(), Class::NoSpace, "{when}: {error}");
        assert!(error.hints().iter().any(|hint| hint.contains("free ")), "{when}: {error}");
        let tmp = dir.path().join("store/tmp");
        if tmp.exists() {
            assert_eq!(names(&tmp), [""; 0], "{when}: something half-written was left");
        }
        check(dir.path(), &when);
        finish(dir.path(), &when);
    }
    assert!(met >= 40, "only {met} steps were tried");
}

#[test]
fn an_input_or_output_error_at_any_step_leaves_a_sound_store() {
    for fault in [Fault::Io, Fault::Broken] {
        let mut met = 0;
        for steps in 0.. {
            let when = format!("{fault:?} after {steps} steps");
            let dir = tempfile::tempdir().unwrap();
            fault::after(dir.path(), steps, fault);
            let result = work(dir.path());
            if !fault::clear(dir.path()) {
                result.unwrap();
                break;
            }
            met += 1;
            if let Err(error) = result {
                assert!(error.to_string().contains("Input/output error"), "{when}: {error}");
            }
            check(dir.path(), &when);
            finish(dir.path(), &when);
        }
        assert!(met >= 60, "only {met} steps were tried");
    }
}

#[test]
fn a_kill_or_a_power_cut_at_any_step_leaves_a_sound_store() {
    for (name, _) in ENDS {
        let mut killed = 0;
        for steps in 0.. {
            let when = format!("{name} after {steps} steps");
            let dir = tempfile::tempdir().unwrap();
            let work = dir.path().join("work");
            fs::create_dir(&work).unwrap();
            let status = child(&work, steps, name, "022");
            if status.success() {
                break;
            }
            assert_eq!(status.signal(), Some(9), "{when}");
            killed += 1;
            check(&work, &when);
            finish(&work, &when);
        }
        assert!(killed >= 60, "{name}: only {killed} steps were tried");
    }
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "022", "077", "277"] {
        let dir = tempfile::tempdir().unwrap();
        // Even the creation of the folder is subject to the umask; with 277 only root could continue in it.
        fs::create_dir(dir.path().join("store")).unwrap();
        assert!(child(dir.path(), u32::MAX, "kill", umask).success(), "umask {umask}");
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o7777;
        let small = format!("store/blobs/sha256/{}", Sha256::of(b"small"));
        let action = format!("store/actions/image-{}.json", key());
        let modes = [mode(&small), mode("store/blobs/sha256"), mode("store/tmp"), mode("store/format"), mode(&action), mode("out")];
        assert_eq!(modes, [0o444, 0o755, 0o755, 0o644, 0o644, 0o644], "umask {umask}");
    }
}

/// Runs [`work`] in a child process.
fn child(dir: &Path, steps: u32, end: &str, umask: &str) -> ExitStatus {
    let name = test_name(concat!(module_path!(), "::in_a_child"));
    let script = format!("umask {umask}; exec \"$0\" --exact {name} --quiet");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(std::env::current_exe().unwrap());
    command.env(MARK, format!("{steps} {end} {}", dir.display())).stdout(std::process::Stdio::null());
    command.status().unwrap()
}

/// The body of [`child`]; as a test of its own it does nothing.
#[test]
fn in_a_child() {
    let Ok(order) = std::env::var(MARK) else { return };
    let [steps, end, dir] = order.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let (_, end) = ENDS.into_iter().find(|(name, _)| *name == end).unwrap();
    fault::after(Path::new(dir), steps.parse().unwrap(), end);
    work(Path::new(dir)).unwrap();
}
