//! Helpers for tests of real builds: kbake in a folder with its own store, reference tools, secrets that no image may contain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::program;

/// From power-on to the answer of a service in the emulated machine, on a busy host.
pub const BOOT_DEADLINE: Duration = Duration::from_secs(600);

/// An empty folder below cargo's folder for tests. Programs and modules share that folder: `name` begins with the module's.
pub fn fresh_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the folder of the last run can be removed");
    }
    fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

/// A kbake that works in `folder`, with its own store there, and the recipes of `project`.
pub fn kbake(project: &Path, folder: &Path, args: &[&str]) -> Command {
    let mut command = program::kbake(folder);
    program::by_the_hosts_way(&mut command);
    command.args(args).arg("--project").arg(project).arg("--store").arg(folder.join("store"));
    command.env("KBAKE_CHANNEL", "debian");
    command
}

/// The output of a command, which must have succeeded.
pub fn ok(output: Output) -> Output {
    assert!(output.status.success(), "{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    output
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a reference tool, which must succeed; returns its output.
pub fn judge(tool: &str, args: &[&str]) -> String {
    let output = Command::new(tool).args(args).output().unwrap_or_else(|e| panic!("{tool} is missing: run tests/setup.sh ({e})"));
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {}\n{all}", output.status);
    all
}

/// A path as an argument.
pub fn path(path: &Path) -> &str {
    path.to_str().expect("the test's folders have plain names")
}

/// Two stretches of every private key, plain and as kubeconfigs encode it; only files of the key's owner may hold them.
pub fn canaries(secrets: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let listed = judge("find", &[path(secrets), "-type", "f", "-name", "*.key"]);
    let mut found = Vec::new();
    for key in listed.lines().map(PathBuf::from) {
        // The last full line: PKCS #8 keys of one curve begin alike.
        let text = fs::read_to_string(&key).unwrap();
        let stretch = text.lines().rfind(|line| !line.starts_with('-') && line.len() >= 40).unwrap().as_bytes()[..40].to_vec();
        let encoded = judge("base64", &["-w0", path(&key)]).into_bytes();
        let middle = encoded.len() / 2;
        found.push((key.clone(), encoded[middle - 20..middle + 20].to_vec()));
        found.push((key, stretch));
    }
    assert!(found.len() >= 8, "the cluster has private keys: {found:?}");
    found
}

/// Refuses `bytes` that hold a canary.
pub fn holds_no_secret(what: &str, bytes: &[u8], canaries: &[(PathBuf, Vec<u8>)]) {
    for (key, canary) in canaries {
        let found = bytes.windows(canary.len()).any(|window| window == canary);
        assert!(!found, "{what} holds the secret of {}", key.display());
    }
}

/// Refuses a tree, as `kbake tree` prints it, that has anything of a machine of its own.
pub fn holds_no_identity(tree: &str) {
    let line = |path: &str| tree.lines().find(|line| line.split(' ').nth(1) == Some(path));
    assert!(line("/etc/machine-id").is_some_and(|line| line.contains(" 0 sha256:e3b0c44298fc1c14")), "empty, so that systemd makes one");
    for (path, why) in [
        ("/etc/hostname", "the seed names the machine"),
        ("/var/lib/systemd/random-seed", "shared randomness is none"),
        ("/var/lib/dbus/machine-id", "identity"),
        ("/var/cache/ldconfig/aux-cache", "a cache of inode numbers"),
    ] {
        assert!(line(path).is_none(), "{path} is in the tree: {why}");
    }
    for (part, why) in
        [("/ssh_host_", "host keys"), ("/var/log/", "logs"), ("/var/cache/apt/", "caches"), ("_history ", "a shell's history")]
    {
        let found: Vec<&str> = tree.lines().filter(|line| line.starts_with("file ") && line.contains(part)).collect();
        assert!(found.is_empty(), "{why}: {found:?}");
    }
}
