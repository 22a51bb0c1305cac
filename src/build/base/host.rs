//! Requirements on the host for making a base: programs, Perl's standard modules, a sandbox, free space.
//!
//! All missing ones are reported at once, each with its package.

use std::path::Path;
use std::process::{Command, Stdio};

use super::sandbox::{self, HOST_PATH, Mode};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::Arch;

/// Programs that mmdebstrap, the hooks and the sandbox run on the host, with their Debian packages.
const PROGRAMS: &[(&str, &str)] = &[
    ("apt-cache", "apt"),
    ("apt-config", "apt"),
    ("apt-get", "apt"),
    ("cat", "coreutils"),
    ("chroot", "coreutils"),
    ("cp", "coreutils"),
    ("dpkg", "dpkg"),
    ("dpkg-deb", "dpkg"),
    ("env", "coreutils"),
    ("find", "findutils"),
    ("ln", "coreutils"),
    ("mkdir", "coreutils"),
    ("mknod", "coreutils"),
    ("mount", "mount"),
    ("perl", "perl"),
    ("rm", "coreutils"),
    ("sed", "sed"),
    ("sh", "dash"),
    ("sleep", "coreutils"),
    ("tar", "tar"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
];
/// Further programs for an unprivileged caller: they map subordinate ids.
const ID_MAPPERS: &[(&str, &str)] = &[("newgidmap", "uidmap"), ("newuidmap", "uidmap")];
/// The modules that mmdebstrap loads. All are in the package `perl`; `perl-base` lacks some.
const PERL_MODULES: &str = "use English; use Getopt::Long; use Pod::Usage; use File::Copy; use File::Path; use File::Temp; \
    use File::Basename; use File::Find; use Cwd; require 'syscall.ph'; require 'sys/ioctl.ph'; use Fcntl; use List::Util; use POSIX; \
    use Carp; use Term::ANSIColor; use Socket; use Time::HiRes; use Math::BigInt; use Text::ParseWords; use version;";
/// Kernel settings that keep users from creating namespaces, with the forbidding value.
const FORBIDDING: &[(&str, &str)] = &[
    ("kernel/unprivileged_userns_clone", "0"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ("user/max_user_namespaces", "0"),
    ("user/max_net_namespaces", "0"),
];

/// Checks whether a base can be made here, and in which mode.
///
/// # Errors
/// All missing requirements, with the packages to install or the setting to change.
pub(super) fn check(arch: Arch) -> Result<Mode> {
    let native = match arch {
        Arch::Amd64 => cfg!(all(target_os = "linux", target_arch = "x86_64")),
        Arch::Arm64 => cfg!(all(target_os = "linux", target_arch = "aarch64")),
    };
    if !native {
        return Err(Error::user(format!("the base for {arch} can only be made on a Linux host of that architecture"))
            .hint("build on such a host, or copy its store: the result is the same everywhere"));
    }
    let mode = Mode::of_caller();
    check_programs(mode, HOST_PATH)?;
    check_sandbox(mode)?;
    Ok(mode)
}

/// Checks that a base can be made in `folder`.
///
/// # Errors
/// A filesystem that does not allow programs to run.
pub(super) fn check_folder(folder: &Path) -> Result<()> {
    if fsx::runs_programs(folder)? {
        return Ok(());
    }
    Err(Error::user(format!("{} is on a filesystem that is mounted noexec", folder.display()))
        .detail("packages are installed there, which runs their programs")
        .hint("point $KBAKE_STORE (or --store) at a folder on another filesystem, or mount this one without noexec"))
}

/// Looks for all programs in the folders of `path`, then for Perl's modules.
pub(super) fn check_programs(mode: Mode, path: &str) -> Result<()> {
    let mappers = if mode == Mode::Unprivileged { ID_MAPPERS } else { &[] };
    let mut missing: Vec<(&str, &str)> = PROGRAMS.iter().chain(mappers).filter(|(program, _)| !is_in(program, path)).copied().collect();
    if is_in("perl", path) && !has_perl_modules(path) {
        missing.push(("Perl's standard modules", "perl"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    let short = Error::user("this host lacks programs for making the base system");
    let short = missing.iter().fold(short, |error, (program, package)| error.detail(format!("{program} (Debian package {package})")));
    Err(short.hint(format!("as root: apt-get install {}", packages.join(" "))))
}

fn is_in(program: &str, path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let runs = |file: &Path| std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    path.split(':').any(|folder| runs(&Path::new(folder).join(program)))
}

fn has_perl_modules(path: &str) -> bool {
    let mut perl = Command::new("perl");
    perl.env_clear().env("PATH", path).args(["-e", PERL_MODULES]);
    perl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Creates a sandbox as a trial: too many things can forbid it to predict the outcome.
fn check_sandbox(mode: Mode) -> Result<()> {
    // An id as high as `nobody`'s must be mapped: packages use it.
    let probe = ["perl", "-e", "use POSIX; setgid(65534) && setuid(65534) or die qq(the id 65534 is not mapped: $!\n)"];
    let output = sandbox::command(mode, HOST_PATH, &[], &probe).output().map_err(|e| Error::io("start the sandbox", &e))?;
    if output.status.success() {
        return Ok(());
    }
    let refused = Error::user("this host cannot confine the packages' scripts, and without that nothing is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = said.lines().fold(refused, |error, line| error.detail(line.to_owned()));
    Err(reasons(mode).into_iter().fold(refused, Error::hint))
}

/// Likely reasons when namespaces are refused.
fn reasons(mode: Mode) -> Vec<String> {
    let mut hints = Vec::new();
    for (setting, value) in FORBIDDING {
        if fsx::read_to_string(&Path::new("/proc/sys").join(setting)).is_ok_and(|found| found.trim() == *value) {
            hints.push(format!("the kernel's setting {} is {value}, which forbids it", setting.replace('/', ".")));
        }
    }
    match mode {
        Mode::Root => hints.push(
            "in a container, give it CAP_SYS_ADMIN, a seccomp profile that allows unshare and mount, and all of /proc, nothing masked; or build as an ordinary user".into(),
        ),
        Mode::Unprivileged => {
            hints.push("/etc/subuid and /etc/subgid must give you 65536 ids each that no one else has: see usermod(8), --add-subuids and --add-subgids".into());
            hints.push("unshare must know --map-auto (util-linux 2.38 or later); root needs neither this nor subordinate ids".into());
        }
    }
    hints
}
