//! Other kinds of files at the path of a regular file: readers never block, never read without end, and name the kind
//! in the error.

use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// Creates something at a path.
type Put = fn(&Path);

/// Things that may stand in a regular file's place, each with the word for it.
const ODD: [(&str, Put); 5] = [
    ("a pipe", |path| rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap()),
    ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ("a folder", |path| fs::create_dir(path).unwrap()),
    ("a device", |path| symlink("/dev/zero", path).unwrap()),
    ("a device", |path| symlink("/dev/full", path).unwrap()),
];

/// The result of `work`, which must end in time.
fn soon<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    wait.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|_| panic!("{what} waits"))
}

#[test]
fn readers_open_regular_files_only_and_do_not_wait() {
    type Reader = (&'static str, fn(&Path) -> Result<()>);
    let readers: [Reader; 8] = [
        ("read", |path| read(path).map(drop)),
        ("read_if_present", |path| read_if_present(path).map(drop)),
        ("read_to_string", |path| read_to_string(path).map(drop)),
        ("open_read", |path| open_read(path).map(drop)),
        ("open_disk", |path| open_disk(path).map(drop)),
        ("digest_if_present", |path| digest_if_present(path, &Cancel::new()).map(drop)),
        ("digest_until", |path| digest_until(path, &Cancel::new()).map(drop)),
        ("copy_verified", |path| copy_verified(path, &path.with_extension("copy"), 0o644, &Sha256::of(""), &Cancel::new()).map(drop)),
    ];
    for (kind, put) in ODD {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let path = dir.path().join("odd");
        put(&path);
        for (name, reader) in readers {
            let at = path.clone();
            let error = soon(name, move || reader(&at).unwrap_err());
            assert_eq!(error.class(), Class::User, "{name} of {kind}");
            assert!(error.message().contains(&format!("odd is {kind}; expected a regular file")), "{name}: {error}");
        }
        let (at, limit) = (path.clone(), 1 << 20);
        let found = soon(kind, move || read_no_follow(&at, limit).unwrap().unwrap());
        assert_eq!(found.1, None, "{kind}");
    }
}

#[test]
fn a_path_from_the_user_may_be_a_pipe_but_no_endless_device() {
    let dir = folder();
    for (kind, put) in ODD.into_iter().skip(2) {
        let path = dir.path().join(kind);
        put(&path);
        let error = soon(kind, move || read_given_to_string(&path).unwrap_err());
        assert!(error.message().contains(kind) || error.message().contains("directory"), "{error}");
        fs::remove_file(dir.path().join(kind)).or_else(|_| fs::remove_dir(dir.path().join(kind))).unwrap();
    }
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || std::io::Write::write_all(&mut writer, b"name = \"lab\"").unwrap());
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)));
    assert_eq!(soon("a pipe", move || read_given_to_string(&path).unwrap()), "name = \"lab\"");
    assert_eq!(read_given_to_string(Path::new("/dev/null")).unwrap(), "");
    assert_eq!(read_if_present(Path::new("/dev/null")).unwrap(), Some(Vec::new()), "as many programs let a configuration be none");
}

#[test]
fn an_endless_text_is_cut_off() {
    let dir = folder();
    let path = dir.path().join("cluster.toml");
    fs::write(&path, "x").unwrap();
    File::options().write(true).open(&path).unwrap().set_len(TEXT_MAX).unwrap();
    assert_eq!(read(&path).unwrap().len() as u64, TEXT_MAX);
    // A hole takes no space on the disk, but would take memory.
    File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    for error in
        [read(&path).map(drop), read_if_present(&path).map(drop), read_to_string(&path).map(drop), read_given_to_string(&path).map(drop)]
    {
        let error = error.unwrap_err();
        assert!(error.message().contains("cluster.toml is too long: more than 64 MiB"), "{error}");
    }
}

#[test]
fn a_link_to_a_file_counts_as_the_file_and_a_dangling_link_as_nothing() {
    let dir = folder();
    let (path, file) = (dir.path().join("link"), dir.path().join("file"));
    symlink(&file, &path).unwrap();
    assert_eq!(read_if_present(&path).unwrap(), None);
    fs::write(&file, "text").unwrap();
    let mut text = String::new();
    open_read(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), read(&path).unwrap()), ("text", b"text".to_vec()));
    assert!(matches!(open_regular(&path, Links::Refused).unwrap(), Opened::Special("a symbolic link")));
}

#[test]
fn hashing_can_be_cancelled() {
    let dir = folder();
    let path = dir.path().join("large");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let cancel = Cancel::new();
    let flag = cancel.flag();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        flag.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    let error = soon("hashing", move || digest_until(&path, &cancel).unwrap_err());
    assert_eq!(error.class(), Class::Interrupted);
}

#[test]
fn a_folder_that_others_remove_is_created_again() {
    let dir = folder();
    let path = dir.path().join("a/b");
    std::thread::scope(|scope| {
        for n in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..300 {
                    match n {
                        0 => drop(fs::remove_dir(path)),
                        1 => create_dir(path, 0o755).or_else(|_| create_dir_all(path)).unwrap(),
                        _ => create_dir_all(path).unwrap(),
                    }
                }
            });
        }
    });
    fs::remove_dir(&path).or_else(|_| fs::create_dir_all(path.parent().unwrap())).unwrap();
    for (special, words) in [("file", "b is a file; expected a folder"), ("link", "b is a symbolic link; expected a folder")] {
        if special == "file" {
            fs::write(&path, "").unwrap()
        } else {
            symlink("nowhere", &path).unwrap()
        }
        for made in [create_dir(&path, 0o755), create_dir_all(&path)] {
            let error = made.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        fs::remove_file(&path).unwrap();
    }
}
