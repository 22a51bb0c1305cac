//! Paths that installation creates beside the packages' own files in the same way each time, by the tools that create them:
//! Debian's own helpers, not one package's script. Any other such path is made twice and compared.

use super::rules::matches;
use crate::common::tree::Kind;
use crate::common::value::TreePath;

/// Folders. No script creates random files in these.
const FOLDERS: &[&str] = &[
    "boot",
    "dev",
    "etc/apparmor.d/local",
    "etc/opt",
    "etc/python3",
    "etc/rc*.d",
    "etc/ssl/**",
    "etc/systemd/**",
    "home",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "root/.ssh",
    "usr/lib64",
    "usr/local",
    "usr/local/**",
    "var/cache/private",
    "var/lib/apt/**",
    "var/lib/dpkg/**",
    "var/lib/etcd",
    "var/lib/pam",
    "var/lib/private",
    "var/lib/python",
    "var/lib/systemd/**",
    "var/lib/ucf/**",
    "var/log/**",
    "var/mail",
    "var/opt",
];

/// Links that helpers create: alternatives, units, runlevels, certificates' hashes, a merged /usr, the kernel's.
const LINKS: &[&str] = &[
    "bin",
    "etc/alternatives/*",
    "etc/dpkg/origins/default",
    "etc/localtime",
    "etc/mtab",
    "etc/rc*.d/*",
    "etc/resolv.conf",
    "etc/rmt",
    "etc/runit/runsvdir/default/*",
    "etc/ssl/certs/*",
    "etc/systemd/system/**",
    "etc/systemd/user/**",
    "initrd.img",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "sbin",
    "usr/local/man",
    "var/lib/systemd/deb-systemd-user-helper-enabled/**",
    "var/spool/mail",
    "vmlinuz",
];

/// Files.
const FILES: &[&str] = &[
    // Written by kbake's own steps, or derived from the packages and their order.
    "etc/apt/sources.list",
    "etc/default/locale",
    "etc/dpkg/dpkg.cfg.d/kbake",
    "etc/initramfs-tools/conf.d/kbake",
    "usr/share/initramfs-tools/modules.d/kbake",
    // dpkg, debconf, ucf.
    "var/cache/debconf/passwords.dat",
    "var/cache/debconf/templates.dat",
    "var/lib/dpkg/alternatives/*",
    "var/lib/dpkg/arch",
    "var/lib/dpkg/available",
    "var/lib/dpkg/diversions",
    "var/lib/dpkg/info/*",
    "var/lib/dpkg/statoverride",
    "var/lib/dpkg/status",
    "var/lib/dpkg/triggers/*",
    "var/lib/ucf/**",
    // adduser, passwd, base-passwd. A password's hash is reported on its own.
    "etc/group",
    "etc/gshadow",
    "etc/passwd",
    "etc/shadow",
    "etc/shells",
    "etc/subgid",
    "etc/subuid",
    "var/lib/shells.state",
    // pam-auth-update, nsswitch, cloud-init's, sshd's, tzdata's and modules' files, which ucf or a script copies from a package.
    "etc/apparmor.d/local/*",
    "etc/cloud/cloud.cfg.d/90_dpkg.cfg",
    "etc/environment",
    "etc/fstab",
    "etc/hosts",
    "etc/hosts.allow",
    "etc/hosts.deny",
    "etc/idmapd.conf",
    "etc/initramfs-tools/modules",
    "etc/inputrc",
    "etc/locale.gen",
    "etc/machine-id",
    "etc/modules",
    "etc/motd",
    "etc/networks",
    "etc/nfs.conf",
    "etc/nsswitch.conf",
    "etc/pam.d/common-*",
    "etc/profile",
    "etc/python3/debian_config",
    "etc/security/opasswd",
    "etc/ssh/sshd_config",
    "etc/timezone",
    "root/.bashrc",
    "root/.profile",
    "usr/share/info/dir",
    "var/lib/pam/*",
    // ldconfig, depmod, systemd-hwdb, journalctl, update-ca-certificates, initramfs-tools, Python.
    "etc/ca-certificates.conf",
    "etc/ld.so.cache",
    "etc/ssl/certs/ca-certificates.crt",
    "usr/lib/modules/*/modules.*",
    "usr/lib/udev/hwdb.bin",
    "var/lib/initramfs-tools/*",
    "var/lib/python/*",
    "var/lib/systemd/catalog/database",
    "var/lib/systemd/deb-systemd-helper-enabled/**",
    "var/lib/systemd/deb-systemd-helper-masked/**",
    "var/lib/systemd/deb-systemd-user-helper-enabled/**",
];

/// Names inside an initramfs that the root does not have, or has with other contents.
const INSIDE: &[&str] = &[
    "conf",
    "conf/**",
    "dev/**",
    "etc/fstab",
    "etc/ld.so.cache",
    "etc/mtab",
    "scripts/*/ORDER",
    "usr/lib/modules/*/modules.*",
    "usr/lib/udev/hwdb.bin",
];

/// Packages whose questions are answered, in the base and in the shipped roles, from what their scripts find in the packages.
const ANSWERED: &[&str] =
    &["adduser", "ca-certificates", "cloud-init", "debconf", "iproute2", "libpam-runtime", "man-db", "openssh-server", "tzdata", "ucf"];

/// True if a path that no package ships is known to be the same each time.
pub(crate) fn is_known(path: &TreePath, kind: &Kind) -> bool {
    let any = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, path));
    match kind {
        Kind::Dir => any(FOLDERS) || path.name() == b"__pycache__",
        Kind::File(_) => any(FILES) || is_compiled(path),
        Kind::Symlink(target) => target.starts_with(b"/etc/alternatives/") || any(LINKS),
        _ => false,
    }
}

/// True for a compiled Python module.
fn is_compiled(path: &TreePath) -> bool {
    path.name().ends_with(b".pyc") && path.parent().is_some_and(|folder| folder.name() == b"__pycache__")
}

/// True if a path inside an initramfs is known to be the same each time.
pub(crate) fn is_known_inside(path: &TreePath) -> bool {
    INSIDE.iter().any(|pattern| matches(pattern, path))
}

/// True if debconf's answers, its `config.dat`, are the packages' own: other packages' questions must be answered by their
/// defaults ([debconf-devel(7)](https://manpages.debian.org/bookworm/debconf-doc/debconf-devel.7.en.html)).
pub(crate) fn answers_are_known(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.split("\n\n").all(|question| {
        let field = |name: &str| question.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let is_answered = field("Value:").is_some_and(|value| !value.is_empty());
        let package = field("Name:").and_then(|name| name.split('/').next()).unwrap_or_default();
        !is_answered || ANSWERED.contains(&package)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::tree::Content;

    #[test]
    fn what_helpers_make_is_known_and_what_scripts_make_is_not() {
        let file = Kind::File(Content::Inline([].into()));
        let link = |target: &str| Kind::Symlink(target.as_bytes().to_vec());
        for (path, kind, expected) in [
            ("etc/ld.so.cache", &file, true),
            ("usr/lib/python3/dist-packages/__pycache__/a.cpython-311.pyc", &file, true),
            ("usr/bin/awk", &link("/etc/alternatives/awk"), true),
            ("etc/systemd/system/multi-user.target.wants/x.service", &link("/lib/systemd/system/x.service"), true),
            ("etc/systemd/system/x.service", &file, false),
            ("etc/popularity-contest.conf", &file, false),
            ("etc/x/unique-1f", &link("y"), false),
            ("usr/lib/x.pyc", &file, false),
            ("var/lib/thing/4d8e", &Kind::Dir, false),
        ] {
            assert_eq!(is_known(&TreePath::fixed(path), kind), expected, "{path}");
        }
        assert!(is_known_inside(&TreePath::fixed("conf/initramfs.conf")) && !is_known_inside(&TreePath::fixed("root-Xy12")));
    }

    #[test]
    fn answers_are_looked_at() {
        let known =
            "Name: tzdata/Zones/Etc\nTemplate: tzdata/Zones/Etc\nValue: UTC\n\nName: x/y\nTemplate: x/y\nOwners: x\n\nName: z/w\nValue: \n";
        assert!(answers_are_known(known.as_bytes()));
        assert!(!answers_are_known(format!("{known}\nName: server/password\nValue: 8a1f\n").as_bytes()));
    }
}
