use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};

use super::*;
use crate::Class;

mod open;
mod staged;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn names(path: &Path) -> Vec<String> {
    list(path).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn every_error_names_the_path() {
    let dir = folder();
    let gone = dir.path().join("gone/file");
    let blocked = dir.path().join("plain");
    fs::write(&blocked, "x").unwrap();
    let errors = [
        read(&gone).unwrap_err(),
        read_to_string(&gone).unwrap_err(),
        open_read(&gone).map(|_| ()).unwrap_err(),
        list(&gone).unwrap_err(),
        write_atomic(&gone, 0o644, b"").unwrap_err(),
        free_space(&gone).unwrap_err(),
        canonical(&gone).unwrap_err(),
        touch(&gone).unwrap_err(),
        copy(&gone, &blocked, 0o644).unwrap_err(),
        copy(&blocked, &gone, 0o644).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.class(), Class::User);
        assert!(error.message().contains("gone"), "{error}");
        assert!(error.message().contains("No such file"), "{error}");
    }
    assert!(create_dir_all(&blocked.join("below")).unwrap_err().message().contains("plain/below"));
    assert!(create_dir(&blocked, 0o755).unwrap_err().message().contains("plain"));
}

#[test]
fn text_that_is_not_utf8_names_the_line() {
    let dir = folder();
    let path = dir.path().join("recipe.toml");
    fs::write(&path, b"a\nb\n\xff").unwrap();
    let error = read_to_string(&path).unwrap_err().to_string();
    assert!(error.contains("recipe.toml is not UTF-8") && error.contains("line 3"), "{error}");
}

#[test]
fn the_extent_of_a_folder_is_that_of_its_files() {
    let dir = folder();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/one"), [1; 100]).unwrap();
    fs::write(dir.path().join("a/b/two"), [2; 30]).unwrap();
    // Otherwise the walk would never end.
    std::os::unix::fs::symlink(dir.path(), dir.path().join("a/b/link")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
    fs::File::options().write(true).open(dir.path().join("a/one")).unwrap().set_modified(old).unwrap();
    let (size, used) = extent(&dir.path().join("a"));
    assert!(size == 130 && used > 1_700_000_000, "{size} {used}: of the newest");
    assert_eq!(extent(&dir.path().join("a/one")), (100, 5));
    assert_eq!(extent(&dir.path().join("gone")), (0, 0));
}

#[test]
fn listings_are_sorted() {
    let dir = folder();
    for name in ["b", "a.b", "a", "B", "ä"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    assert_eq!(names(dir.path()), ["B", "a", "a.b", "b", "ä"]);
}

#[test]
fn an_atomic_write_replaces_and_sets_the_mode() {
    let dir = folder();
    let path = dir.path().join("out");
    for (mode, bytes) in [(0o600, "one"), (0o644, "two"), (0o666, ""), (0o444, "four"), (0o444, "five")] {
        write_atomic(&path, mode, bytes.as_bytes()).unwrap();
        assert_eq!(read_to_string(&path).unwrap(), bytes);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
    }
    assert_eq!(names(dir.path()), ["out"]);
}

#[test]
fn an_atomic_write_does_not_follow_a_link() {
    let dir = folder();
    let (path, victim) = (dir.path().join("out"), dir.path().join("victim"));
    fs::write(&victim, "mine").unwrap();
    symlink(&victim, &path).unwrap();
    // The name of the temporary file can be guessed, so a link may wait there too.
    symlink(&victim, dir.path().join(".out.kbake-0")).unwrap();
    write_atomic(&path, 0o644, b"new").unwrap();
    assert_eq!(read_to_string(&victim).unwrap(), "mine");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn a_full_disk_leaves_the_old_file_alone() {
    let dir = folder();
    let path = dir.path().join("out");
    write_atomic(&path, 0o644, b"old").unwrap();
    let mut met = 0;
    for steps in 0.. {
        fault::after(dir.path(), steps, fault::Fault::NoSpace);
        let result = write_atomic(&path, 0o644, b"new");
        let text = read_to_string(&path).unwrap();
        if !fault::clear(dir.path()) {
            result.unwrap();
            break;
        }
        met += 1;
        assert_eq!(result.unwrap_err().class(), Class::NoSpace);
        assert!(text == "old" || text == "new", "{text}");
        assert_eq!(names(dir.path()), ["out"], "after {steps} steps");
    }
    assert!(met >= 5, "create, write, mode, sync, rename: {met}");
    assert_eq!(read_to_string(&path).unwrap(), "new");
}

#[test]
fn leftovers_of_dead_processes_are_reaped_and_files_of_live_ones_are_not() {
    let dir = folder();
    let target = dir.path().join("out");
    fs::write(dir.path().join(".out.kbake-0"), "left by a killed process").unwrap();
    let living = Temp::beside(&target).unwrap();
    assert!(living.path().ends_with(".out.kbake-0"), "the leftover's name is used again");
    assert!(!reap(living.path()).unwrap());
    let second = Temp::beside(&target).unwrap();
    assert!(second.path().ends_with(".out.kbake-1"));
    drop(living);
    second.replace(&target, 0o644).unwrap();
    assert_eq!(names(dir.path()), ["out"]);
}

#[test]
fn many_writers_of_one_file_leave_one_complete_file() {
    let dir = folder();
    let target = dir.path().join("out");
    std::thread::scope(|scope| {
        for n in 0..8u8 {
            let target = &target;
            scope.spawn(move || (0..20).for_each(|_| write_atomic(target, 0o644, &[n; 10_000]).unwrap()));
        }
    });
    let bytes = read(&target).unwrap();
    assert_eq!(bytes.len(), 10_000);
    assert!(bytes.iter().all(|b| *b == bytes[0]));
    assert_eq!(names(dir.path()), ["out"]);
}

#[test]
fn placing_replaces_nothing() {
    let dir = folder();
    let to = dir.path().join("to");
    let mut first = Temp::create(dir.path(), "t-".as_ref()).unwrap();
    first.write_all(b"first").unwrap();
    assert_eq!(first.place(&to, 0o444).unwrap(), Persisted::Done);
    let second = Temp::create(dir.path(), "t-".as_ref()).unwrap();
    assert_eq!(second.place(&to, 0o444).unwrap(), Persisted::WasThere);
    assert_eq!(read(&to).unwrap(), b"first");
    assert_eq!(names(dir.path()), ["to"]);
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    copy::copy_file(&open_read(from)?, to, mode, &Cancel::new()).map(drop)
}

#[test]
fn copies_keep_bytes_and_holes_and_share_no_inode() {
    let dir = folder();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let file = fs::File::create(&from).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(&[7; 100_000], 5 << 20).unwrap();
    file.write_all_at(&[9; 3], (40 << 20) - 3).unwrap();
    file.sync_all().unwrap();
    copy(&from, &to, 0o640).unwrap();
    assert!(read(&from).unwrap() == read(&to).unwrap());
    let (a, b) = (fs::metadata(&from).unwrap(), fs::metadata(&to).unwrap());
    assert_eq!(b.mode() & 0o7777, 0o640);
    assert_ne!(a.ino(), b.ino());
    assert!(b.blocks() * 512 < 2 << 20, "{} bytes are used for 100 kB of data", b.blocks() * 512);
    for size in [0, 1, 4096] {
        fs::write(&from, vec![1; size]).unwrap();
        copy(&from, &to, 0o644).unwrap();
        assert_eq!(read(&to).unwrap(), vec![1; size]);
    }
    assert_eq!(names(dir.path()), ["from", "to"]);
}

#[test]
fn a_verified_copy_has_the_expected_digest_or_no_name() {
    let dir = folder();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, "first").unwrap();
    let first = Sha256::of("first");
    // Replaced since its digest was taken.
    fs::write(&from, "other").unwrap();
    let error = copy_verified(&from, &to, 0o444, &first, &Cancel::new()).unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    let text = error.to_string();
    assert!(text.contains("changed while it was copied") && text.contains(&first.to_string()), "{text}");
    assert_eq!(names(dir.path()), ["from"], "nothing has a name that is not its own");

    fs::write(&from, "first").unwrap();
    assert_eq!(copy_verified(&from, &to, 0o444, &first, &Cancel::new()).unwrap(), Persisted::Done);
    assert_eq!((read(&to).unwrap(), fs::metadata(&to).unwrap().mode() & 0o7777), (b"first".to_vec(), 0o444));
    assert_eq!(copy_verified(&from, &to, 0o444, &first, &Cancel::new()).unwrap(), Persisted::WasThere);
    assert_eq!(names(dir.path()), ["from", "to"]);
}

#[test]
fn a_stamp_notices_every_change() {
    let dir = folder();
    let path = dir.path().join("image");
    assert_eq!(Stamp::of(&path).unwrap(), None);
    assert_eq!(Stamp::of(dir.path()).unwrap(), None, "a folder has none");
    fs::write(&path, "abc").unwrap();
    let stamp = Stamp::of(&path).unwrap().unwrap();
    assert_eq!(Stamp::of(&path).unwrap(), Some(stamp));
    // Same size, and mtime set back, as a careless restore from a backup does.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "abd").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    let after = Stamp::of(&path).unwrap().unwrap();
    assert_eq!(after.mtime_ns, stamp.mtime_ns);
    assert_ne!(after, stamp);
}

#[test]
fn free_space_is_plausible() {
    let dir = folder();
    let free = free_space(dir.path()).unwrap();
    assert!((1 << 20..1 << 60).contains(&free), "{free}");
}

#[test]
fn facts_and_reading_follow_no_link() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "12345").unwrap();
    fs::set_permissions(at("file"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink(at("file"), at("link")).unwrap();
    symlink(at("gone"), at("dangling")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let kind = |name: &str| facts(&at(name)).unwrap().map(|facts| facts.kind);
    let kinds = ["file", "link", "dangling", "folder", "pipe", "gone"].map(kind);
    assert_eq!(kinds, [Some(Kind::File), Some(Kind::Link), Some(Kind::Link), Some(Kind::Folder), Some(Kind::Other), None]);
    let found = facts(&at("file")).unwrap().unwrap();
    assert_eq!((found.mode, found.size, found.owner), (0o640, 5, user()));
    assert_eq!(facts_followed(&at("link")).unwrap(), Some(found));
    assert_eq!(facts_followed(&at("dangling")).unwrap(), None);

    let bytes = |name: &str, limit| read_no_follow(&at(name), limit).unwrap().map(|(facts, bytes)| (facts.kind, bytes));
    assert_eq!(bytes("file", 5), Some((Kind::File, Some(b"12345".to_vec()))));
    assert_eq!(bytes("file", 4), Some((Kind::File, None)));
    assert_eq!(bytes("link", 9), Some((Kind::Link, None)));
    assert_eq!(bytes("dangling", 9), Some((Kind::Link, None)));
    assert_eq!(bytes("folder", 9), Some((Kind::Folder, None)));
    assert_eq!(bytes("pipe", 9), Some((Kind::Other, None)), "and it did not wait for a writer");
    assert_eq!(bytes("gone", 9), None);
    assert!(facts(&at("file/below")).unwrap_err().message().contains("file/below"));
}

#[test]
fn a_new_file_replaces_nothing() {
    let dir = folder();
    let path = dir.path().join("new");
    assert_eq!(write_new(&path, 0o600, b"one").unwrap(), Persisted::Done);
    assert_eq!(write_new(&path, 0o644, b"two").unwrap(), Persisted::WasThere);
    assert_eq!((read(&path).unwrap(), facts(&path).unwrap().unwrap().mode), (b"one".to_vec(), 0o600));
    symlink(dir.path().join("victim"), dir.path().join("link")).unwrap();
    assert_eq!(write_new(&dir.path().join("link"), 0o600, b"two").unwrap(), Persisted::WasThere);
    assert_eq!(names(dir.path()), ["link", "new"]);
}

#[test]
fn readers_share_a_lock_and_a_writer_has_it_alone() {
    let dir = folder();
    let path = dir.path().join("lock");
    let lock = |access| try_lock_at(&path, access).unwrap();
    assert!(lock(Access::Shared).is_none() && !path.exists(), "nothing to share");
    let writer = lock(Access::Exclusive).unwrap();
    assert_eq!(facts(&path).unwrap().unwrap().mode, 0o600);
    assert!(lock(Access::Exclusive).is_none() && lock(Access::Shared).is_none());
    drop(writer);
    let readers = [lock(Access::Shared), lock(Access::Shared)];
    assert!(readers.iter().all(Option::is_some) && lock(Access::Exclusive).is_none());
    drop(readers);
    assert!(lock(Access::Exclusive).is_some());
    fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), &path).unwrap();
    assert!(try_lock_at(&path, Access::Exclusive).is_err(), "not through a link");
}

#[test]
fn a_batch_is_renamed_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let names = || {
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    fs::write(dir.path().join("b"), "old").unwrap();
    let mut batch = Batch::default();
    batch.add(&dir.path().join("a"), 0o600, b"1").unwrap();
    batch.add(&dir.path().join("b"), 0o640, b"2").unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "old");
    batch.commit().unwrap();
    assert_eq!(names(), ["a", "b"]);
    assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "2");
    assert_eq!(fs::metadata(dir.path().join("b")).unwrap().permissions().mode() & 0o7777, 0o640);

    let mut dropped = Batch::default();
    dropped.add(&dir.path().join("c"), 0o600, b"3").unwrap();
    let error = dropped.add(&dir.path().join("nowhere/d"), 0o600, b"4").unwrap_err();
    assert!(error.message().contains("nowhere"), "{error}");
    drop(dropped);
    assert_eq!(names(), ["a", "b"]);
}
