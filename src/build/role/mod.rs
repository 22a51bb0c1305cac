//! The files that kbake adds to role images, besides those of packages. Public: the same for every node.
//!
//! Each text is a file beside this one, with its reasons. Consoles need no settings: systemd starts a login on each `console=`
//! of the kernel's command line. Nor do first-boot presets: with an empty (not an absent) machine-id systemd applies none
//! (machine-id(5)).

mod cloud_init;
mod facts;
mod identity;
mod parts;
mod static_pods;
#[cfg(test)]
mod tests;

use crate::common::error::Result;
use crate::common::value::TreePath;
use crate::spec::recipe::Part;

pub(crate) use cloud_init::CloudInit;
pub(crate) use facts::{Facts, Runtime};
pub(crate) use identity::identity_entries;
#[cfg(test)]
pub(crate) use parts::testing::{fill, image_root, node_entries};
pub(crate) use static_pods::static_pod_clashes;

/// An entry of the image, which replaces the packages' one at its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A folder; an existing one keeps its contents.
    Dir {
        /// The folder's path in the image.
        path: TreePath,
        /// The permission bits with setuid, setgid and sticky: at most 0o7777.
        mode: u16,
        /// The owner and the group, by name.
        owner: Owner,
    },
    /// A regular file.
    File {
        /// The file's path in the image.
        path: TreePath,
        /// The permission bits with setuid, setgid and sticky: at most 0o7777.
        mode: u16,
        /// The owner and the group, by name.
        owner: Owner,
        /// The file's contents.
        bytes: Vec<u8>,
    },
    /// A symbolic link of root's.
    Symlink {
        /// The link's path in the image.
        path: TreePath,
        /// The link's target, its unmodified bytes.
        target: Vec<u8>,
    },
    /// A removal: the packages' entry is deleted.
    Absent {
        /// The path that is removed, with everything below it.
        path: TreePath,
    },
}

/// An owner by name; the numbers are the image's (`/etc/passwd`, `/etc/group`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user's name.
    pub user: &'static str,
    /// The group's name.
    pub group: &'static str,
}

impl Owner {
    /// The superuser.
    pub(crate) const ROOT: Owner = Owner { user: "root", group: "root" };
    /// The user of Debian's etcd-server, which creates it.
    pub(crate) const ETCD: Owner = Owner { user: "etcd", group: "etcd" };
}

impl Entry {
    /// Its path.
    pub(crate) fn path(&self) -> &TreePath {
        match self {
            Entry::Dir { path, .. } | Entry::File { path, .. } | Entry::Symlink { path, .. } | Entry::Absent { path } => path,
        }
    }
}

/// The text files of the image and their paths.
const BASE_FILES: [(&str, &str); 15] = [
    ("etc/apt/apt.conf.d/90kbake", include_str!("apt.conf")),
    ("etc/cloud/cloud.cfg.d/90-kbake.cfg", include_str!("90-kbake.cfg")),
    ("etc/cloud/ds-identify.cfg", include_str!("ds-identify.cfg")),
    ("etc/hosts", include_str!("hosts")),
    ("etc/ssh/sshd_config.d/90-kbake.conf", include_str!("sshd.conf")),
    ("etc/sysctl.d/90-kbake.conf", include_str!("sysctl.conf")),
    ("etc/systemd/journald.conf.d/90-kbake.conf", include_str!("journald.conf")),
    ("etc/systemd/networkd.conf.d/90-kbake.conf", include_str!("networkd.conf")),
    ("etc/systemd/system/cloud-init-local.service.d/90-kbake.conf", include_str!("cloud-init-local.conf")),
    ("etc/systemd/system/systemd-binfmt.service.d/90-kbake.conf", include_str!("binfmt.conf")),
    ("etc/systemd/system/systemd-networkd-wait-online.service.d/90-kbake.conf", include_str!("wait-online.conf")),
    ("etc/systemd/system/systemd-networkd.service.d/90-kbake.conf", include_str!("networkd-service.conf")),
    ("etc/systemd/system/systemd-resolved.service.d/90-kbake.conf", include_str!("after-seed.conf")),
    ("etc/systemd/system/systemd-timesyncd.service.d/90-kbake.conf", include_str!("after-seed.conf")),
    ("etc/tmpfiles.d/90-kbake.conf", include_str!("tmpfiles.conf")),
];

/// Units that are started: the link under `/etc/systemd/system` and the unit that it links to. Debian enables neither networkd
/// nor the units that cloud-init's order relies on.
const ENABLED: [(&str, &str); 6] = [
    ("dbus-org.freedesktop.network1.service", "/lib/systemd/system/systemd-networkd.service"),
    // cloud-init's generator would link it at each boot.
    ("multi-user.target.wants/cloud-init.target", "/lib/systemd/system/cloud-init.target"),
    ("multi-user.target.wants/systemd-networkd.service", "/lib/systemd/system/systemd-networkd.service"),
    ("network-online.target.wants/systemd-networkd-wait-online.service", "/lib/systemd/system/systemd-networkd-wait-online.service"),
    ("sockets.target.wants/systemd-networkd.socket", "/lib/systemd/system/systemd-networkd.socket"),
    ("sysinit.target.wants/systemd-timesyncd.service", "/lib/systemd/system/systemd-timesyncd.service"),
];

/// Units that never start.
const MASKED: [&str; 7] = [
    // These download or upgrade, which changes what the image fixed.
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "unattended-upgrades.service",
    // logind wants it, in case that a seat has a graphics card. udev loads the card's own driver, and with it this module.
    "modprobe@drm.service",
    // It asks questions on the console of a machine without a seed.
    "systemd-firstboot.service",
    // It saves the last kernel's messages from the firmware's memory after a crash: a machine with a BIOS has none.
    "systemd-pstore.service",
    // cloud-init grows the root partition. This unit would load dm_mod and loop, and then find nothing to do.
    "systemd-repart.service",
];

/// Mounts that systemd makes at each boot, each with a start of modprobe. udev loads their modules for the first user.
const ON_DEMAND: [&str; 2] = ["sys-fs-fuse-connections.mount", "sys-kernel-config.mount"];

/// Generators that have no units to generate here, each of which is a process before systemd starts anything else. Those that
/// users may need stay: fstab, crypttab, SysV scripts, rc.local, and kernel arguments.
const MASKED_GENERATORS: [&str; 6] = [
    // It looks for a data source in a shell script. 90-kbake.cfg names the only one, and `cloud-init.target` is linked above.
    "cloud-init-generator",
    // It looks for partitions that fstab does not name. A node's mounts are fixed, and it has no swap.
    "systemd-gpt-auto-generator",
    // It resumes from swap, which a node does not have.
    "systemd-hibernate-resume-generator",
    // dm-verity and dm-integrity below the root, which only the maker of an image could set up.
    "systemd-integritysetup-generator",
    "systemd-veritysetup-generator",
    // Updates that a desktop installs before it starts.
    "systemd-system-update-generator",
];

/// The entries of every role image. `root_uuid` is the root filesystem's, as the ext4 superblock stores it.
pub(crate) fn base_entries(root_uuid: [u8; 16], cloud_init: CloudInit) -> Vec<Entry> {
    let mut entries = vec![
        // cloud-init writes it; without a seed systemd's default applies.
        Entry::Absent { path: TreePath::fixed("etc/hostname") },
        text("etc/fstab", fstab(root_uuid).as_bytes()),
    ];
    entries.extend(cloud_init.entries());
    entries.extend(BASE_FILES.iter().map(|(path, content)| text(path, content.as_bytes())));
    entries.extend(ENABLED.iter().map(|(name, target)| unit_link(name, target)));
    entries.extend(MASKED.iter().map(|name| unit_link(name, "/dev/null")));
    let generator = |name| TreePath::fixed(&format!("etc/systemd/system-generators/{name}"));
    entries.extend(MASKED_GENERATORS.iter().map(|name| Entry::Symlink { path: generator(name), target: b"/dev/null".to_vec() }));
    let wanted = |name| TreePath::fixed(&format!("usr/lib/systemd/system/sysinit.target.wants/{name}"));
    entries.extend(ON_DEMAND.iter().map(|name| Entry::Absent { path: wanted(name) }));
    sorted(entries)
}

/// The entries of a part that kbake's own code renders, sorted by path.
///
/// # Errors
/// The part needs something that the channel or the role lacks.
pub(crate) fn part_entries(part: Part, facts: &Facts) -> Result<Vec<Entry>> {
    Ok(sorted(match part {
        Part::Addons => parts::addons::entries(facts)?,
        Part::Containerd => parts::containerd::entries(facts)?,
        Part::ControlPlane => parts::control_plane::entries(facts)?,
        Part::Crio => parts::crio::entries(facts)?,
        Part::Etcd => parts::etcd::entries(),
        Part::Gateway => parts::gateway::entries(),
        Part::Kubeadm => parts::kubeadm::entries(facts)?,
        Part::KubeProxy => parts::kube_proxy::entries(facts)?,
        Part::Kubelet => parts::kubelet::entries(facts)?,
    }))
}

fn text(path: &str, bytes: &[u8]) -> Entry {
    Entry::File { path: TreePath::fixed(path), mode: 0o644, owner: Owner::ROOT, bytes: bytes.to_vec() }
}

fn unit_link(name: &str, target: &str) -> Entry {
    Entry::Symlink { path: TreePath::fixed(&format!("etc/systemd/system/{name}")), target: target.as_bytes().to_vec() }
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| a.path().cmp(b.path()));
    entries
}

/// Only the root: it is found by its filesystem's UUID, whatever the disk's device name. A damaged one is repaired before it is
/// mounted writable, and remounted read-only when an error shows later.
fn fstab(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    format!("# kbake: cloud-init grows this filesystem to the size of the disk.\nUUID={uuid} / ext4 errors=remount-ro 0 1\n")
}
