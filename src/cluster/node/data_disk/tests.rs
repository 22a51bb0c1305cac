//! The script, run with the real programs that make and check filesystems, on files. Only `mount` is a stand-in: it needs root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::*;

const MIB: usize = 1 << 20;

struct Machine(tempfile::TempDir);

impl Machine {
    /// A machine with this on its disk, if it has one.
    fn new(disk: Option<&[u8]>) -> Machine {
        let machine = Machine(tempfile::tempdir().unwrap());
        if let Some(bytes) = disk {
            fs::write(machine.path("disk"), bytes).unwrap();
        }
        fs::create_dir(machine.path("programs")).unwrap();
        machine.program("mount", &format!("echo \"$@\" >>{}", machine.path("mounted").display()));
        machine.program("mountpoint", "exit 1");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("programs").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self) -> Output {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("programs").display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "kbake-data-disk"]).args([self.path("disk"), self.path("data")]).env("PATH", path).env("LC_ALL", "C");
        let output = command.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!complaint.contains("not found"), "e2fsprogs is missing: run tests/setup.sh\n{complaint}");
        output
    }

    /// The arguments of the mounts so far.
    fn mounted(&self) -> Vec<String> {
        fs::read_to_string(self.path("mounted")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn is_mounted(&self, output: &Output) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let line = format!("-t ext4 -o errors=remount-ro {} {}", self.path("disk").display(), self.path("data").display());
        assert_eq!(self.mounted(), [line]);
        fs::remove_file(self.path("mounted")).unwrap();
    }

    /// Nothing can be written to the folder, and the machine's console shows the reason.
    fn is_closed(&self, output: &Output, why: &str) {
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("kbake-data-disk: ") && said.contains(why), "{said}");
        let folder = self.path("data");
        assert_eq!(self.mounted(), [format!("-t tmpfs -o ro,size=4k,mode=0555 kbake-no-data-disk {}", folder.display())]);
    }
}

fn label(disk: &Path) -> String {
    let output =
        Command::new("/usr/sbin/e2label").arg(disk).output().unwrap_or_else(|e| panic!("e2fsprogs is missing: run tests/setup.sh ({e})"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn an_empty_disk_gets_a_filesystem_once() {
    let machine = Machine::new(Some(&vec![0; 64 * MIB]));
    machine.is_mounted(&machine.run());
    assert_eq!(label(&machine.path("disk")), "kbake-data");
    // The identity of the filesystem is random.
    let uuid = |bytes: Vec<u8>| bytes[1024 + 0x68..1024 + 0x78].to_vec();
    let first = uuid(fs::read(machine.path("disk")).unwrap());
    machine.is_mounted(&machine.run());
    assert_eq!(uuid(fs::read(machine.path("disk")).unwrap()), first, "what is there stays");
    machine.program("mountpoint", "exit 0");
    assert!(machine.run().status.success());
    assert_eq!(machine.mounted(), [""; 0], "no second mount over the first");
}

#[test]
fn the_folder_keeps_its_owner_and_mode() {
    let machine = Machine::new(Some(&vec![0; 64 * MIB]));
    fs::create_dir(machine.path("data")).unwrap();
    fs::set_permissions(machine.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
    // A mount changes this, too: the root of the new filesystem has another mode.
    machine.program("mount", &format!("chmod 755 {}; mkdir {0}/lost+found", machine.path("data").display()));
    assert!(machine.run().status.success());
    assert_eq!(fs::metadata(machine.path("data")).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_dir(machine.path("data")).unwrap().count(), 0);
}

#[test]
fn what_is_not_kbake_s_is_left_alone_and_nothing_is_written_elsewhere() {
    let mut foreign = vec![0; 4 * MIB];
    foreign[MIB - 1] = 1;
    for (disk, why) in [(None, "the machine has no disk"), (Some(&foreign), "is damaged, or is none of ext4")] {
        let machine = Machine::new(disk.map(Vec::as_slice));
        machine.is_closed(&machine.run(), why);
        assert_eq!(fs::read(machine.path("disk")).ok().as_ref(), disk);
    }
}

#[test]
fn a_disk_that_cannot_be_mounted_is_not_formatted_again() {
    let machine = Machine::new(Some(&vec![0; 64 * MIB]));
    let record = format!("echo \"$@\" >>{}", machine.path("mounted").display());
    machine.program("mount", &format!("case $2 in ext4) exit 32 ;; esac\n{record}"));
    machine.is_closed(&machine.run(), "could not be mounted");
}
