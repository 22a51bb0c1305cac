//! The program in tests, isolated from the user who runs them: no variable, home, settings, proxy, or file that the user left in the
//! checkout. No test starts it in another way (`tests/architecture/main.rs`).

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::ROOT;

const KBAKE: &str = env!("CARGO_BIN_EXE_kbake");

/// The files of a checkout that determine images, and no others: `cluster.toml`, `images/` and `secrets/` are the user's.
const PROJECT: [&str; 3] = ["recipes", "lockfiles", "images/expected.toml"];

/// Environment variables that may set proxies for the host's own mirrors.
const PROXIES: [&str; 8] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// kbake in `folder`, which is its home as well.
pub fn kbake(folder: &Path) -> Command {
    cleared(KBAKE, folder)
}

/// `tool` with `words` and then kbake; the caller adds kbake's arguments. For tools that start programs, and for scripts, in which it is
/// the last of `$@`.
pub fn kbake_by<W: AsRef<OsStr>>(tool: &str, words: &[W], folder: &Path) -> Command {
    let mut command = cleared(tool, folder);
    command.args(words).arg(KBAKE);
    command
}

/// `tool` with `words` and `line`, in which `{}` stands for kbake: for tools that take a line for a shell.
pub fn kbake_in_line(tool: &str, words: &[&str], line: &str, folder: &Path) -> Command {
    let mut command = cleared(tool, folder);
    command.args(words).arg(line.replace("{}", KBAKE));
    command
}

/// Copies the program into `folder`, for a user who may not read the checkout.
pub fn copy_to(folder: &Path) {
    fs::copy(KBAKE, folder.join("kbake")).expect("the program can be copied");
}

/// An example of the library (`examples/`) in `folder`. Cargo gives tests no variable with its path: it is beside the program.
///
/// # Panics
/// If it has not been built.
pub fn example(name: &str, folder: &Path) -> Command {
    let program = Path::new(KBAKE).with_file_name("examples").join(name);
    assert!(program.exists(), "{} is missing: run `cargo test --locked --no-run`", program.display());
    cleared(program.to_str().expect("a plain path"), folder)
}

/// Gives a command that fetches from the host's mirrors the host's proxy settings.
pub fn by_the_hosts_way(command: &mut Command) {
    command.envs(PROXIES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
}

fn cleared(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command.env("HOME", folder).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// The shipped recipes and lockfiles, in a folder of their own.
pub fn project() -> &'static Path {
    static COPY: LazyLock<PathBuf> = LazyLock::new(|| {
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(concat!("project-", env!("CARGO_CRATE_NAME")));
        _ = fs::remove_dir_all(&copy);
        PROJECT.iter().for_each(|name| copy_all(&Path::new(ROOT).join(name), &copy.join(name)));
        copy
    });
    &COPY
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        copy_all(&entry.path(), &to.join(entry.file_name()));
    }
}
