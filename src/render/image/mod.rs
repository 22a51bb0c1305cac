//! The files that kbake puts into role images, besides what packages bring. Public: the same for every node.
//!
//! Each text stands beside this file and says in itself why it is there. Nothing is said about consoles: systemd
//! starts a login on whatever `console=` the kernel is given. Nor about first-boot presets: with an empty (not an
//! absent) machine-id systemd applies none (machine-id(5)).

mod facts;
mod parts;
mod static_pods;

use crate::error::Result;
use crate::recipe::Part;
use crate::value::TreePath;

pub use facts::{Facts, Runtime};
pub use static_pods::static_pod_clashes;

/// Something at a path of the image, in place of whatever packages put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder; one that is there already keeps its contents.
    Dir { path: TreePath, mode: u16, owner: Owner },
    /// A regular file.
    File { path: TreePath, mode: u16, owner: Owner, bytes: Vec<u8> },
    /// A symbolic link of root's.
    Symlink { path: TreePath, target: Vec<u8> },
    /// Nothing: what packages put there goes.
    Absent { path: TreePath },
}

/// An owner by name; the numbers are the image's (`/etc/passwd`, `/etc/group`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user's name.
    pub user: &'static str,
    /// The group's name.
    pub group: &'static str,
}

impl Owner {
    /// The superuser.
    pub const ROOT: Owner = Owner { user: "root", group: "root" };
    /// Made by Debian's etcd-server.
    pub const ETCD: Owner = Owner { user: "etcd", group: "etcd" };
}

impl Entry {
    /// Where it is.
    pub fn path(&self) -> &TreePath {
        match self {
            Entry::Dir { path, .. } | Entry::File { path, .. } | Entry::Symlink { path, .. } | Entry::Absent { path } => path,
        }
    }
}

/// A text file of the image and where it goes.
const BASE_FILES: [(&str, &str); 10] = [
    ("etc/apt/apt.conf.d/90kbake", include_str!("apt.conf")),
    ("etc/cloud/cloud.cfg.d/90-kbake.cfg", include_str!("90-kbake.cfg")),
    ("etc/cloud/ds-identify.cfg", include_str!("ds-identify.cfg")),
    ("etc/hosts", include_str!("hosts")),
    ("etc/ssh/sshd_config.d/90-kbake.conf", include_str!("sshd.conf")),
    ("etc/sysctl.d/90-kbake.conf", include_str!("sysctl.conf")),
    ("etc/systemd/journald.conf.d/90-kbake.conf", include_str!("journald.conf")),
    ("etc/systemd/networkd.conf.d/90-kbake.conf", include_str!("networkd.conf")),
    ("etc/systemd/system/cloud-init-local.service.d/90-kbake.conf", include_str!("cloud-init-local.conf")),
    ("etc/systemd/system/systemd-networkd-wait-online.service.d/90-kbake.conf", include_str!("wait-online.conf")),
];

/// Units that are started: the link under `/etc/systemd/system` and the unit it leads to. Debian enables neither
/// networkd nor, on its own, what cloud-init's order relies on.
const ENABLED: [(&str, &str); 5] = [
    ("dbus-org.freedesktop.network1.service", "/lib/systemd/system/systemd-networkd.service"),
    ("multi-user.target.wants/systemd-networkd.service", "/lib/systemd/system/systemd-networkd.service"),
    ("network-online.target.wants/systemd-networkd-wait-online.service", "/lib/systemd/system/systemd-networkd-wait-online.service"),
    ("sockets.target.wants/systemd-networkd.socket", "/lib/systemd/system/systemd-networkd.socket"),
    ("sysinit.target.wants/systemd-timesyncd.service", "/lib/systemd/system/systemd-timesyncd.service"),
];

/// Units that never start. The timers download or upgrade; the others change what the image fixed.
const MASKED: [&str; 4] = ["apt-daily.timer", "apt-daily-upgrade.timer", "systemd-firstboot.service", "unattended-upgrades.service"];

/// What every role image has. `root_uuid` is the root filesystem's, as the ext4 superblock stores it.
pub fn base_entries(root_uuid: [u8; 16]) -> Vec<Entry> {
    let mut entries = vec![
        // cloud-init writes it; without a seed systemd's own default stands.
        Entry::Absent { path: TreePath::fixed("etc/hostname") },
        text("etc/fstab", fstab(root_uuid).as_bytes()),
    ];
    entries.extend(BASE_FILES.iter().map(|(path, content)| text(path, content.as_bytes())));
    entries.extend(ENABLED.iter().map(|(name, target)| unit_link(name, target)));
    entries.extend(MASKED.iter().map(|name| unit_link(name, "/dev/null")));
    sorted(entries)
}

/// What kbake's own code adds for a part, sorted by path.
///
/// # Errors
/// The part needs what the channel or the role does not have.
pub fn part_entries(part: Part, facts: &Facts) -> Result<Vec<Entry>> {
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

/// Only the root: it is found by its filesystem's UUID, whatever the disk is called. A damaged one is repaired
/// before it is mounted writable, and remounted read-only when damage shows later.
fn fstab(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    format!("# kbake: cloud-init grows this filesystem to the size of the disk.\nUUID={uuid} / ext4 errors=remount-ro 0 1\n")
}
