//! Runs a program confined: root over a small root filesystem of its own, with the host's tools read-only and the shared
//! folders. It sees no other file, process, network, key or terminal of the host, and no process outlives it.
//!
//! Inside, ids are those of a user namespace. For root they are a range that no account has; for an ordinary user root is that
//! user, and all others are the ids of `/etc/subuid`. Both give the same tree. `confine.pl` explains how it is done. Killing
//! its first process kills the first one in the process namespace, and with that the kernel ends all the others: an
//! interruption leaves nothing behind.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::error::{Class, Error, Result, harmless};
use crate::common::fsx;
use crate::common::value::Cancel;

/// The search path for the host's programs: never the caller's `PATH`.
pub(crate) const HOST_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The script that confines. See the file's own comments.
const CONFINE: &str = include_str!("confine.pl");
/// The host's id of the sandbox's root, for a caller who is root; the 65535 others follow. Neither accounts nor containers have
/// ids in that range: <https://systemd.io/UIDS-GIDS/>.
const FIRST_ID: u64 = 0x7000_0000;
/// The number of ids in a sandbox.
const IDS: u64 = 1 << 16;
/// The number of a failed program's last lines in an error.
const TAIL: usize = 20;
/// The number of earlier lines in an error that mention one: a cause is often far above the end.
const ERRORS: usize = 10;
/// The maximum length of a program's line, in bytes. A longer one is split, so that none fills the memory.
const LINE_MAX: u64 = 64 << 10;
/// Bytes written to a program at a time.
const FED: usize = 64 << 10;
/// The interval between checks for a request to stop.
const POLL: Duration = Duration::from_millis(50);

/// The way in which a tree with many owners is made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The caller is root.
    Root,
    /// In a user namespace, with the caller's subordinate ids.
    Unprivileged,
}

impl Mode {
    /// The mode for the caller's rights.
    pub(crate) fn of_caller() -> Self {
        if rustix::process::geteuid().is_root() { Mode::Root } else { Mode::Unprivileged }
    }

    /// The start of the command that runs `confine.pl`.
    fn confiner(self) -> Command {
        match self {
            Mode::Root => Command::new("perl"),
            Mode::Unprivileged => {
                let mut command = Command::new("unshare");
                command.args(["--user", "--map-auto", "--map-root-user", "--", "perl"]);
                command
            }
        }
    }

    /// The id for `confine.pl` that becomes root in the sandbox.
    fn first_id(self) -> String {
        let covered = |file: &str| fsx::read_to_string(Path::new(file)).is_ok_and(|map| covers(&map, FIRST_ID, IDS));
        match self {
            Mode::Root if covered("/proc/self/uid_map") && covered("/proc/self/gid_map") => FIRST_ID.to_string(),
            Mode::Root | Mode::Unprivileged => "same".to_owned(),
        }
    }
}

/// True if all of these ids exist in the namespace with this map: user_namespaces(7).
pub(super) fn covers(map: &str, first: u64, count: u64) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().unwrap_or_default());
        let (Some(start), Some(_), Some(length)) = (numbers.next(), numbers.next(), numbers.next()) else { return false };
        start <= first && first + count <= start + length
    })
}

/// A file or folder of the host that is in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// Its absolute path.
    pub from: PathBuf,
    /// Its path in the sandbox, without the first `/`.
    pub at: String,
    /// True if the sandbox's root owns it, and may change its content.
    pub writable: bool,
}

impl Share {
    /// A read-only share.
    pub(crate) fn read(from: impl Into<PathBuf>, at: impl Into<String>) -> Self {
        Share { from: from.into(), at: at.into(), writable: false }
    }

    /// A writable share.
    pub(crate) fn change(from: impl Into<PathBuf>, at: impl Into<String>) -> Self {
        Share { writable: true, ..Share::read(from, at) }
    }
}

/// A command that runs `program` confined, with nothing of the caller's environment, in the folder `/`. It must be started by
/// the process that calls this function.
pub(crate) fn command(mode: Mode, path: &str, shares: &[Share], program: &[&str]) -> Command {
    let mut command = mode.confiner();
    command.args(["-e", CONFINE, "--"]).arg(std::process::id().to_string()).arg(mode.first_id());
    for share in shares {
        command.arg(if share.writable { "rw" } else { "ro" }).arg(&share.from).arg(&share.at);
    }
    command.arg("--").args(program);
    command.env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// Writes a program's standard input.
pub(crate) type Feed<'a> = &'a (dyn Fn(&mut dyn Write) -> Result<()> + Sync);

/// Runs `command` with the output of `feed` as its standard input, passes its standard output to `read`, and each line of its standard
/// error to `line`.
///
/// # Errors
/// [`Class::Interrupted`] after a request to stop: all started processes are then dead. Otherwise the program's failure with
/// its last lines, or the error of `read` if that came first.
pub(crate) fn run<T>(
    mut command: Command,
    what: &str,
    feed: Option<Feed<'_>>,
    line: &(dyn Fn(&str) + Sync),
    cancel: &Cancel,
    read: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<T> {
    cancel.check()?;
    // A group of its own: Ctrl-C on the terminal is for kbake alone, which then ends all processes at once.
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if feed.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().map_err(|e| Error::io(format_args!("start {what}"), &e))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Error::internal(format!("{what} was started without pipes")));
    };
    let mut stdout = Watched { inner: stdout, ended: false };
    let done = AtomicBool::new(false);
    let pid = Pid::from_child(&child);
    let stdin = child.stdin.take();
    let (fed, taken, ended, said) = std::thread::scope(|scope| {
        scope.spawn(|| kill_when_asked(pid, cancel, &done));
        let feeding = feed.zip(stdin).map(|(feed, stdin)| scope.spawn(move || give(feed, stdin)));
        let lines = scope.spawn(|| follow(stderr, line));
        // An archive may have padding behind its end: a writer must not find the pipe closed before it has finished.
        let taken = read(&mut stdout).and_then(|value| {
            let rest = io::copy(&mut stdout, &mut io::sink());
            rest.map(|_| value).map_err(|e| Error::io(format_args!("read from {what}"), &e))
        });
        let ended = stdout.ended;
        drop(stdout);
        // The standard error ends when the last process inside has closed it: after this none is left.
        let said = lines.join().unwrap_or_default();
        let panicked = || Err(Error::internal(format!("the thread that writes to {what} panicked")));
        let fed = feeding.map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| panicked()));
        done.store(true, Ordering::Relaxed);
        (fed, taken, ended, said)
    });
    let status = child.wait().map_err(|e| Error::io(format_args!("wait for {what}"), &e))?;
    cancel.check()?;
    // The input was truncated then, which the program complains about.
    fed?;
    match taken {
        Ok(value) if status.success() => Ok(value),
        Err(error) if status.success() || !ended => Err(error),
        _ => Err(failure(status, what, said)),
    }
}

/// Runs `feed`, and closes the pipe. A closed read end is left to the program's own error.
fn give(feed: Feed<'_>, stdin: ChildStdin) -> Result<()> {
    let mut out = BufWriter::with_capacity(FED, Open { inner: stdin, broken: false });
    let given = feed(&mut out).and_then(|()| out.flush().map_err(|e| Error::io("write to a program", &e)));
    if out.get_ref().broken { Ok(()) } else { given }
}

/// Detects that the reader has closed its end.
struct Open {
    inner: ChildStdin,
    broken: bool,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes).inspect_err(|e| self.broken |= e.kind() == ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Detects that the writer has closed its end: then a reader's complaint is the consequence, not the cause.
struct Watched<R> {
    inner: R,
    ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.ended |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// Kills `pid` after a request to stop. The process is not waited for before `done`, so its number stays its own.
fn kill_when_asked(pid: Pid, cancel: &Cancel, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        if cancel.check().is_err() {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(POLL);
    }
}

/// libc's messages for a full disk and a full quota, which programs pass on.
const FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

fn speaks_of_full_disk(line: &str) -> bool {
    FULL.iter().any(|words| line.contains(words))
}

/// Reports every line and keeps the last ones, and earlier ones that mention an error.
fn follow(stderr: impl Read, line: &(dyn Fn(&str) + Sync)) -> Vec<String> {
    let (mut errors, mut tail) = (Vec::new(), VecDeque::new());
    let mut reader = BufReader::new(stderr);
    let mut bytes = Vec::new();
    // By bytes: a maintainer script may print invalid UTF-8.
    while matches!(reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
        // Without control sequences for the terminal.
        let text = harmless(String::from_utf8_lossy(&bytes).trim_end().to_owned());
        bytes.clear();
        line(&text);
        tail.push_back(text);
        let passed = if tail.len() > TAIL { tail.pop_front() } else { None };
        errors.extend(passed.filter(|text| errors.len() < ERRORS && (text.contains("error") || speaks_of_full_disk(text))));
    }
    errors.extend(tail);
    errors
}

fn failure(status: ExitStatus, what: &str, lines: Vec<String>) -> Error {
    let is_full = lines.iter().any(|line| speaks_of_full_disk(line));
    let class = if is_full { Class::NoSpace } else { Class::User };
    let failed = lines.into_iter().fold(Error::new(class, format!("{what} failed ({status})")), Error::detail);
    match is_full {
        true => failed.hint("nothing was kept half-written; free some space, or point $KBAKE_STORE at a larger disk"),
        false => failed,
    }
}

/// Removes `folder` and everything in it, also files of subordinate ids. By `rm`: a script may have nested folders more deeply
/// than there are descriptors, or stack, to follow.
pub(crate) fn remove(mode: Mode, path: &str, folder: &Path) -> Result<()> {
    if !fsx::exists(folder)? {
        return Ok(());
    }
    let failed = |e: &io::Error| Error::io(format_args!("remove {}", folder.display()), e);
    let output = remover(mode, path, folder)?.output().map_err(|e| failed(&e))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::user(format!("cannot remove {}", folder.display())).detail(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// The command that removes `folder`: for an ordinary user in a sandbox, which has the ids of the files' owners.
fn remover(mode: Mode, path: &str, folder: &Path) -> Result<Command> {
    let rm = ["rm", "-rf", "--one-file-system", "--"];
    let (Some(above), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(Error::internal(format!("{} is not a work folder of a build", folder.display())));
    };
    match mode {
        Mode::Root => {
            let mut command = Command::new(rm[0]);
            command.args(&rm[1..]).arg(folder).env_clear().env("PATH", path).stdin(Stdio::null());
            Ok(command)
        }
        Mode::Unprivileged => {
            let mut command = command(mode, path, &[Share::change(above, "above")], &rm);
            command.arg(Path::new("/above").join(name));
            Ok(command)
        }
    }
}
