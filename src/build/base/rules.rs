//! The table of paths that belong to one installation and not to its packages.
//!
//! `*` stands for one whole component, or for any end or beginning of a name; `**` at the end for everything below.

use crate::common::value::{Epoch, TreePath};

/// The fate of one path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// It is kept.
    Keep,
    /// It is removed.
    Remove,
    /// It is kept, without contents.
    Empty,
    /// Its contents are replaced.
    Rewrite(fn(Vec<u8>, Epoch) -> Vec<u8>),
}

impl PartialEq for Fate {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Everything below, folders too: these are filled at boot, or hold one machine's state.
const CLEARED: &[&str] = &[
    ".kbake/**",
    "dev/**",
    "proc/**",
    "root/.cache/**",
    "run/**",
    "sys/**",
    "tmp/**",
    "var/lib/apt/lists/auxfiles/**",
    "var/lib/cloud/**",
    "var/tmp/**",
];

/// Identity and secrets of one machine: files, and links to them in the same folder. They are removed before the initramfs is
/// made, which may get copies of them. The node makes its own: cloud-init its ssh host keys, systemd, dbus and DHCP clients
/// their ids and seeds, `kbake-identity.service` files that packages make only at installation.
const OWN: &[&str] = &[
    "etc/bind/rndc.key",
    "etc/dhcpcd.duid",
    "etc/dhcpcd.secret",
    "etc/dropbear/dropbear_*_host_key",
    "etc/dropbear/initramfs/dropbear_*_host_key",
    "etc/iscsi/initiatorname.iscsi",
    "etc/munge/munge.key",
    "etc/nvme/hostid",
    "etc/nvme/hostnqn",
    "etc/ssh/ssh_host_*",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/ssl/private/**",
    "root/.ssh/**",
    "var/lib/NetworkManager/secret_key",
    "var/lib/dbus/machine-id",
    "var/lib/dhcp/**",
    "var/lib/dhcpcd/**",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/random-seed",
    "var/lib/urandom/random-seed",
];

/// Files and links; their folders stay, with their owners.
const REMOVED: &[&str] = &[
    // cloud-init writes the seed's host name; a shell and wget write the others.
    "etc/hostname",
    "root/.*_history",
    "root/.wget-hsts",
    "var/lib/systemd/timesync/clock",
    // Logs and caches, and apt's and dpkg's traces of the packages' origin.
    "etc/apt/apt.conf.d/*mmdebstrap",
    "etc/apt/sources.list",
    "etc/apt/sources.list.d/**",
    "etc/dpkg/dpkg.cfg.d/*mmdebstrap",
    "usr/sbin/policy-rc.d",
    "var/cache/apt/**",
    "var/cache/debconf/*-old",
    "var/cache/fontconfig/**",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/extended_states",
    "var/lib/apt/lists/**",
    "var/log/**",
    // Backups and locks of the files beside them.
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/backups/**",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    // There is one kernel; the boot menu starts the targets of `vmlinuz` and `initrd.img`.
    "initrd.img.old",
    "vmlinuz.old",
];

/// Files that must exist and be empty.
const EMPTIED: &[&str] = &["etc/machine-id", "var/cache/debconf/passwords.dat"];

/// The fate of `path`. `/etc/resolv.conf` is handled elsewhere: only its link is the packages'.
pub(super) fn fate(path: &TreePath) -> Fate {
    let any = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, path));
    if any(CLEARED) || any(OWN) || any(REMOVED) {
        return Fate::Remove;
    }
    if any(EMPTIED) {
        return Fate::Empty;
    }
    match path.as_bytes() {
        b"etc/shadow" => Fate::Rewrite(shadow),
        name if name.ends_with(b".pyc") => Fate::Rewrite(compiled_python),
        _ => Fate::Keep,
    }
}

/// True if a removed path is removed even if it is a folder.
pub(super) fn with_folders(path: &TreePath) -> bool {
    CLEARED.iter().any(|pattern| matches(pattern, path))
}

/// The patterns of paths that belong to one machine, in a form that a shell understands, too.
pub(crate) fn own_to_one_machine() -> impl Iterator<Item = &'static str> {
    OWN.iter().copied()
}

/// True when `path` belongs to one machine.
pub(super) fn is_own_to_one_machine(path: &TreePath) -> bool {
    OWN.iter().any(|pattern| matches(pattern, path))
}

/// True if `pattern` matches `path`.
pub(super) fn matches(pattern: &str, path: &TreePath) -> bool {
    let mut parts = path.components();
    for want in pattern.split('/') {
        let Some(part) = parts.next() else { return false };
        if want == "**" {
            return true;
        }
        let fits = match want.split_once('*') {
            Some((head, tail)) => {
                part.len() >= head.len() + tail.len() && part.starts_with(head.as_bytes()) && part.ends_with(tail.as_bytes())
            }
            None => part == want.as_bytes(),
        };
        if !fits {
            return false;
        }
    }
    parts.next().is_none()
}

/// [shadow(5)](https://manpages.debian.org/bookworm/passwd/shadow.5.en.html): the third field is the day of the last change. 0
/// asks for a new password and stays; so does a line that cannot be parsed.
fn shadow(bytes: Vec<u8>, epoch: Epoch) -> Vec<u8> {
    let day = (epoch.seconds() / 86_400).to_string();
    let line = |line: &[u8]| {
        let mut fields: Vec<&[u8]> = line.split(|&b| b == b':').collect();
        if let Some(changed) = fields.get_mut(2)
            && changed.iter().all(u8::is_ascii_digit)
            && changed.iter().any(|&digit| digit != b'0')
        {
            *changed = day.as_bytes();
        }
        fields.join(&b':')
    };
    bytes.split(|&b| b == b'\n').map(line).collect::<Vec<_>>().join(&b'\n')
}

/// A compiled module ([PEP 552](https://peps.python.org/pep-0552/)): 4 bytes of magic, 4 of flags; with flags 0 then the
/// source's time and size, 4 bytes each, little-endian. The source's own time is limited to the epoch, so this copy must be
/// too, or Python would compile everything again at each start.
fn compiled_python(mut bytes: Vec<u8>, epoch: Epoch) -> Vec<u8> {
    if let Some([_, _, _, _, 0, 0, 0, 0, time @ ..]) = bytes.get_mut(..12)
        && let Ok(held) = <[u8; 4]>::try_from(&*time)
        && u32::from_le_bytes(held) > epoch.seconds()
    {
        time.copy_from_slice(&epoch.seconds().to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_whole_components() {
        let cases = [
            ("etc/ssh/ssh_host_*", "etc/ssh/ssh_host_rsa_key", true),
            ("etc/ssh/ssh_host_*", "etc/ssh/ssh_host_", true),
            ("etc/ssh/ssh_host_*", "etc/ssh/ssh_host_d/x", false),
            ("var/lib/dpkg/*-old", "var/lib/dpkg/status-old", true),
            ("var/lib/dpkg/*-old", "var/lib/dpkg/status", false),
            ("var/log/**", "var/log", false),
            ("var/log/**", "var/log/a/b", true),
            ("var/log/**", "var/logs/a", false),
            ("etc/group-", "etc/group", false),
            ("root/.*_history", "root/._history", true),
            ("root/.*_history", "root/._histor", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matches(pattern, &TreePath::fixed(path)), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_change_of_passwords_is_the_epoch() {
        let epoch = Epoch::from_seconds(86_400 * 20_000 + 5).unwrap();
        let text = b"root:*:19999:0:99999:7:::\na:!:0:0:::::\nb:!:\nc:x::1:\n\nd:x:1y:2:\n".to_vec();
        let expected = b"root:*:20000:0:99999:7:::\na:!:0:0:::::\nb:!:\nc:x::1:\n\nd:x:1y:2:\n";
        assert_eq!(shadow(text, epoch), expected);
        assert_eq!(shadow(b"a:b:7".to_vec(), epoch), b"a:b:20000", "no final newline is made up");
    }

    #[test]
    fn compiled_python_agrees_with_its_source() {
        let epoch = Epoch::from_seconds(1_000).unwrap();
        let pyc = |flags: u32, time: u32| [b"\xa7\r\r\n".as_slice(), &flags.to_le_bytes(), &time.to_le_bytes(), b"\x05\0\0\0code"].concat();
        assert_eq!(compiled_python(pyc(0, 2_000), epoch), pyc(0, 1_000));
        assert_eq!(compiled_python(pyc(0, 900), epoch), pyc(0, 900), "an older source keeps its time");
        assert_eq!(compiled_python(pyc(1, 2_000), epoch), pyc(1, 2_000), "checked by hash: no time in it");
        assert_eq!(compiled_python(b"short".to_vec(), epoch), b"short");
    }
}
