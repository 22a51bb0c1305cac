//! Debian's containerd as a reference tool: it imports archives and reads configurations.
//!
//! It has its own root, state and socket in a temporary folder, and namespaces of its own, with which it ends. So it needs
//! no root where user namespaces are allowed, and leaves nothing behind. tests/setup.sh unpacks it; it is not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The folder into which tests/setup.sh unpacks containerd, its shims, ctr and runc.
pub(crate) const PROGRAMS: &str = "/usr/local/lib/kbake-tests/containerd";
/// The folder of the containerd for tests whose result depends on its version: `KBAKE_TEST_CONTAINERD`, or Debian's.
pub(crate) fn programs() -> String {
    std::env::var("KBAKE_TEST_CONTAINERD").unwrap_or_else(|_| PROGRAMS.to_owned())
}

/// The folder of the static programs, `busybox` and `catatonit`.
pub(crate) const STATIC: &str = "/usr/local/lib/kbake-tests/static";
/// The time limit for containerd's first answer, in tenths of a second, on a busy host.
const PATIENCE: u32 = 6000;

/// The path of one of the programs that tests/setup.sh has unpacked.
///
/// # Panics
/// If it is missing: no test is skipped.
pub(crate) fn program(folder: &str, name: &str) -> PathBuf {
    let path = Path::new(folder).join(name);
    assert!(path.exists(), "{name} is missing: run tests/setup.sh");
    path
}

/// A running containerd.
pub(crate) struct Containerd {
    folder: tempfile::TempDir,
    child: Child,
    programs: String,
}

/// An image as `ctr images list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub name: String,
    pub media_type: String,
    pub digest: String,
    pub platforms: String,
}

impl Containerd {
    /// Starts it without the CRI plugin, which would want a network.
    pub(crate) fn start() -> Self {
        Self::start_with("disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")
    }

    /// Starts it with these further lines in its configuration, which is of version 2: top-level keys, then tables.
    pub(crate) fn start_with(lines: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), PROGRAMS, lines)
    }

    /// [`Containerd::start_with`] with the programs of [`programs`] and a root folder that `fill` makes, on a disk that overlayfs supports.
    pub(crate) fn start_over(lines: &str, fill: &dyn Fn(&Path)) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        fill(&folder.path().join("root"));
        Self::start_in(folder, &programs(), lines)
    }

    fn start_in(folder: tempfile::TempDir, programs: &str, lines: &str) -> Self {
        let shown = folder.path().display();
        let own = format!("version = 2\nroot = \"{shown}/root\"\nstate = \"{shown}/state\"\n");
        let addresses = format!("[grpc]\naddress = \"{shown}/socket\"\n[ttrpc]\naddress = \"{shown}/ttrpc\"\n");
        fs::write(folder.path().join("config.toml"), format!("{own}{lines}{addresses}")).unwrap();
        let child = spawn(folder.path(), programs);
        let mut containerd = Containerd { folder, child, programs: programs.to_owned() };
        containerd.wait();
        containerd
    }

    /// Ends it with all that runs in it, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.folder.path(), &self.programs);
        self.wait();
    }

    fn stop(&mut self) {
        // unshare takes all that runs in its namespaces with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// True when it tells the kubelet which images are pinned: from 1.6.22 on.
    pub(crate) fn knows_pins(&self) -> bool {
        !self.ctr(&["version"]).contains("1.6.20")
    }

    fn wait(&mut self) {
        for _ in 0..PATIENCE {
            if self.command(&["version"]).output().is_ok_and(|output| output.status.success()) {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("containerd ended ({status}); is the user allowed namespaces?\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("containerd does not answer\n{}", self.log());
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program(&self.programs, "ctr"));
        command.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]).args(args);
        command.env("PATH", path(&self.programs)).env("TMPDIR", self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Its root folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Its socket, for other clients.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Runs `ctr` in Kubernetes's namespace. Its standard output; or, when it failed, all that it and containerd said.
    pub(crate) fn try_ctr(&self, args: &[&str]) -> Result<String, String> {
        let output = self.command(args).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match output.status.success() {
            true => Ok(stdout.into_owned()),
            false => Err(format!("ctr {args:?}: {}\n{stdout}\n{stderr}\n{}", output.status, self.log())),
        }
    }

    /// Runs `ctr`, which must succeed.
    pub(crate) fn ctr(&self, args: &[&str]) -> String {
        self.try_ctr(args).unwrap_or_else(|all| panic!("{all}"))
    }

    /// Imports an archive and unpacks its image, with the snapshotter that works on every filesystem.
    pub(crate) fn import(&self, archive: &Path) -> String {
        self.ctr(&["images", "import", "--snapshotter", "native", archive.to_str().unwrap()])
    }

    /// All images that it has.
    pub(crate) fn images(&self) -> Vec<Listed> {
        let text = self.ctr(&["images", "list"]);
        let row = |line: &str| {
            // REF TYPE DIGEST SIZE UNIT PLATFORMS LABELS
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            Listed { name: words[0].clone(), media_type: words[1].clone(), digest: words[2].clone(), platforms: words[5].clone() }
        };
        text.lines().skip(1).map(row).collect()
    }

    /// The native snapshotter's folder of the newest snapshot.
    pub(crate) fn newest_snapshot(&self) -> PathBuf {
        let all = self.folder.path().join("root/io.containerd.snapshotter.v1.native/snapshots");
        let ids = fs::read_dir(&all).unwrap().map(|entry| entry.unwrap().file_name().to_str().unwrap().parse::<u64>().unwrap());
        all.join(ids.max().expect("something was unpacked").to_string())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the daemon on the configuration in `folder`.
fn spawn(folder: &Path, programs: &str) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]).arg(program(programs, "containerd"));
    command.arg("--config").arg(folder.join("config.toml")).env("PATH", path(programs)).env("TMPDIR", folder);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|e| panic!("unshare is missing: run tests/setup.sh ({e})"))
}

fn path(programs: &str) -> String {
    format!("{programs}:{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

/// All settings of a configuration file as containerd reads it, as TOML; or its complaint.
pub(crate) fn config_dump(config: &Path) -> Result<String, String> {
    let output = Command::new(program(PROGRAMS, "containerd")).arg("--config").arg(config).args(["config", "dump"]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(stdout.into_owned()) } else { Err(stderr.into_owned()) }
}
