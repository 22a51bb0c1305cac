//! Processes in the sandbox reach nothing, leave nothing and end when they are told to.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Mutex;

use crate::build::base::sandbox::{self, HOST_PATH, Mode, Share, covers};
use crate::common::value::Cancel;
use crate::{Class, Error, Result};

/// Runs a script in the sandbox: its output, or the error.
fn run(script: &str) -> Result<String> {
    let command = sandbox::command(Mode::of_caller(), HOST_PATH, &[], &["sh", "-c", script]);
    sandbox::run(command, "the script", None, &|_| {}, &Cancel::new(), text)
}

fn text(output: &mut dyn Read) -> Result<String> {
    let mut text = String::new();
    output.read_to_string(&mut text).map_err(|e| Error::io("read", &e))?;
    Ok(text)
}

/// True while a process with this word among its arguments lives.
fn lives(word: &str) -> bool {
    let mine = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| mine(entry).split(|&b| b == 0).any(|argument| argument == word.as_bytes()))
}

#[test]
fn the_surroundings_are_fixed() {
    let script = "echo $(id -u):$(id -g) $(umask) $(uname -n) $PWD; env | grep -v -e ^PWD= -e ^SHLVL= -e ^OLDPWD= -e ^_= | sort";
    let expected = format!("0:0 0022 localhost /\nLC_ALL=C.UTF-8\nPATH={HOST_PATH}\nTZ=UTC\n");
    assert_eq!(run(script).unwrap(), expected);
}

#[test]
fn no_network_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!(
        "use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0) or die; print connect($s, sockaddr_in({port}, inet_aton('127.0.0.1'))) ? 'reached' : 'cut'"
    );
    let outside = std::process::Command::new("perl").args(["-e", &connect]).output().expect("perl is missing: run tests/setup.sh");
    assert_eq!(outside.stdout, b"reached", "the test itself works");
    let (inside, interfaces) = (run(&format!("perl -e \"{}\"", connect.replace('$', "\\$"))), run("cat /proc/net/dev"));
    assert_eq!(inside.unwrap(), "cut");
    let interfaces = interfaces.unwrap();
    let names: Vec<&str> =
        interfaces.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).filter(|name| *name != "lo").collect();
    // Kernels with tunnel modules put their templates into each namespace; none has an address or is up.
    assert!(names.iter().all(|name| name.ends_with('0')) && run("cat /proc/net/route").unwrap().lines().count() <= 1, "{interfaces}");
}

#[test]
fn a_failure_shows_the_last_lines() {
    let error = run("echo the error: a cause >&2; for i in $(seq 100); do echo line $i >&2; done; exit 3").unwrap_err().to_string();
    assert!(
        error.contains("the script failed (exit status: 3)")
            && error.contains("\n  the error: a cause\n  line 81\n")
            && error.contains("line 100")
            && !error.contains("line 20\n"),
        "{error}"
    );
    let full = run("echo 'tar: write error: No space left on device' >&2; exit 1").unwrap_err();
    assert_eq!(full.class(), Class::NoSpace);
}

#[test]
fn the_first_failure_is_the_one_that_is_told() {
    let start = |script: &str| sandbox::command(Mode::of_caller(), HOST_PATH, &[], &["sh", "-c", script]);
    let refuse = |output: &mut dyn Read| -> Result<()> {
        let mut some = [0; 10];
        output.read_exact(&mut some).map_err(|e| Error::io("read", &e))?;
        Err(Error::integrity("hostile"))
    };
    // A writer without end: it must not block kbake, and its own complaint is a consequence.
    let error = sandbox::run(start("exec yes"), "yes", None, &|_| {}, &Cancel::new(), refuse).unwrap_err();
    assert_eq!(error.message(), "hostile");
    // A writer that fails: the reader's complaint about the truncation is a consequence.
    let error =
        sandbox::run(start("printf short; echo why >&2; exit 4"), "it", None, &|_| {}, &Cancel::new(), refuse).unwrap_err().to_string();
    assert!(error.contains("it failed (exit status: 4)\n  why"), "{error}");
}

#[test]
fn lines_of_strangers_stay_short_and_reach_no_terminal() {
    let lines = Mutex::new(Vec::new());
    let script = "printf '\\033[2Ja\\n' >&2; head -c 200000 /dev/zero | tr '\\0' x >&2";
    let command = sandbox::command(Mode::of_caller(), HOST_PATH, &[], &["sh", "-c", script]);
    sandbox::run(command, "it", None, &|line| lines.lock().unwrap().push(line.to_owned()), &Cancel::new(), text).unwrap();
    let lines = lines.into_inner().unwrap();
    assert_eq!(lines[0], "\\u{1b}[2Ja");
    assert!(lines.len() == 5 && lines.iter().all(|line| line.len() < 1 << 16), "{:?}", lines.iter().map(String::len).collect::<Vec<_>>());
}

#[test]
fn only_what_is_shared_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (read, change) = (folder.path().join("o d d = \u{fc}"), folder.path().join("change"));
    std::fs::create_dir(&read).unwrap();
    std::fs::create_dir(&change).unwrap();
    std::fs::write(read.join("file"), "seen").unwrap();
    let shares = [Share::read(&read, "a/b"), Share::change(&change, "c")];
    let script = "cat /a/b/file; touch /c/new; touch /a/b/new || mount -o remount,bind,rw /a/b || umount /a/b || echo; ls / /usr /etc /dev";
    let command = sandbox::command(Mode::of_caller(), HOST_PATH, &shares, &["sh", "-c", script]);
    let said = sandbox::run(command, "it", None, &|_| {}, &Cancel::new(), text).unwrap();
    let (first, listed) = said.split_once('\n').unwrap();
    assert_eq!(first, "seen");
    assert!(change.join("new").exists() && !read.join("new").exists());
    let known = "/: /usr: /etc: /dev: a c bin sbin lib lib32 lib64 libx32 libexec share dev etc proc tmp usr alternatives group ld.so.cache passwd \
        console fd full null random shm stderr stdin stdout tty urandom zero";
    let known: Vec<&str> = known.split_whitespace().collect();
    assert!(listed.split_whitespace().all(|name| known.contains(&name)), "{listed}");
}

#[test]
fn ids_of_root_are_a_range_that_is_there() {
    assert!(covers("         0          0 4294967295\n", 0x7000_0000, 1 << 16));
    assert!(covers("0 1000 1\n1 100000 4294967294\n", 0x7000_0000, 1 << 16));
    // In a container with ids of its own; and with a range that ends within.
    for map in ["0 100000 65536\n", "0 0 1879048200\n", "", "x"] {
        assert!(!covers(map, 0x7000_0000, 1 << 16), "{map}");
    }
}

#[test]
fn a_stop_ends_all_processes_at_once() {
    let cancel = Cancel::new();
    let flag = cancel.flag();
    // Processes that ignore polite signals, one of them in a session of its own.
    let script = "trap '' TERM INT HUP; setsid sleep 98765.25 & sleep 98765.5 & echo ready >&2; sleep 98765.75";
    let command = sandbox::command(Mode::of_caller(), HOST_PATH, &[], &["sh", "-c", script]);
    // It would sleep for a day.
    let began = std::sync::atomic::AtomicBool::new(false);
    let stop = |line: &str| {
        if line == "ready" {
            began.store(true, std::sync::atomic::Ordering::Relaxed);
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let error = sandbox::run(command, "sleep", None, &stop, &cancel, text).unwrap_err();
    assert_eq!(error.class(), Class::Interrupted);
    assert!(began.into_inner(), "it had begun");
    for word in ["98765.25", "98765.5", "98765.75"] {
        assert!(!lives(word), "sleep {word} outlived its sandbox");
    }
    let never = sandbox::command(Mode::of_caller(), HOST_PATH, &[], &["sh", "-c", "exit 0"]);
    assert_eq!(
        sandbox::run(never, "it", None, &|_| {}, &cancel, text).unwrap_err().class(),
        Class::Interrupted,
        "nothing is started any more"
    );
}

#[test]
fn a_folder_is_removed_whatever_is_in_it() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("with space");
    std::fs::create_dir_all(folder.join("a/b")).unwrap();
    std::fs::write(folder.join("a/b/c"), "x").unwrap();
    sandbox::remove(Mode::of_caller(), HOST_PATH, &folder).unwrap();
    assert!(!folder.exists());
    sandbox::remove(Mode::of_caller(), HOST_PATH, &folder).expect("what is gone already is fine");
}
