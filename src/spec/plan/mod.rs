//! The plan: everything that decides an image's bytes, resolved, sorted, as text. Its SHA-256 is the build's identity.
//!
//! In the plan: formats, architecture, epoch, disk geometry, filesystem identity, the packages' digests, and each
//! file that the role adds. Not in it: URLs, mirrors, versions, paths of the checkout, user, host, clock, threads.
//! No I/O.
//!
//! ```text
//! kbake-plan 1
//! image-format 2
//! arch amd64
//! epoch 1767225600
//! disk-size 21474836480
//! root-slack 536870912
//! root-label kbake-root
//! root-uuid 6c0f…
//! base-format 1 5d1e…
//! installer mmdebstrap 88b2…
//! clear /etc/example/host.key
//! deb adduser 3f0c…
//! deb etcd-server c41d… on-top
//! tool grub-pc-bin 77aa…
//! dir /etc/etcd 0755 root root
//! file /etc/fstab 0644 root root 212 9c1e…
//! symlink /etc/localtime /usr/share/zoneinfo/UTC
//! ```

pub(crate) mod compare;
mod extraction;
mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

pub use extraction::Extraction;
pub(crate) use extraction::{BuiltImage, FileSource, Form, PulledImage};
pub use file::PlannedKind;
pub(crate) use file::{Owner, PlannedNode, Preset};

use crate::common::error::{Error, Result};
use crate::common::value::{Arch, Epoch, RoleName, Sha256, TreePath, Uuid, derived_uuid};

/// The version of the plan's own text.
const PLAN_FORMAT: u32 = 1;

/// The version of everything that turns a plan into bytes, from the tree to the qcow2 file. Raise it whenever kbake makes other
/// bytes from the same plan; the golden digests in `images/expected.toml` guard it.
pub(crate) const IMAGE_FORMAT: u32 = 2;

/// The size of the disk that the guest sees, in bytes: 20 GiB.
const DISK_SIZE: u64 = 20 << 30;

/// Free space in the root filesystem before it grows at first boot, in bytes: the node must be able to boot, and to log the
/// reason if growing fails.
const ROOT_SLACK: u64 = 512 << 20;

/// The label of the root filesystem; at most 16 bytes.
const ROOT_LABEL: &str = "kbake-root";

/// The UUID of a role's root filesystem. Rendered files name it (`/etc/fstab`, `grub.cfg`) before there is a plan.
pub(crate) fn root_uuid(role: &RoleName) -> Uuid {
    guid("root filesystem", role)
}

fn guid(part: &str, role: &RoleName) -> Uuid {
    derived_uuid(&format!("kbake {part}"), role.as_str())
}

/// A package by name and contents. Equal lists of packages install the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Debian's name of the package.
    pub name: String,
    /// The digest of its `.deb`.
    pub digest: Sha256,
}

/// The resolver's input to [`Plan::new`].
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The role; it decides the filesystem's identity, so that two roles' disks can be attached to one machine.
    pub role: RoleName,
    /// The architecture.
    pub arch: Arch,
    /// The time of the image: the only one that it contains.
    pub epoch: Epoch,
    /// The version of the base step's own code: its hooks and normaliser.
    pub base_format: String,
    /// All installed packages.
    pub packages: Vec<Package>,
    /// The names of the packages of every role: they are installed first, and the others on top of them.
    pub common: BTreeSet<String>,
    /// Paths that are removed from the installed packages' tree, with all below.
    pub cleared: BTreeSet<TreePath>,
    /// The subset of these that is removed for every role.
    pub common_cleared: BTreeSet<TreePath>,
    /// The package that installs all others.
    pub installer: Package,
    /// Packages that kbake reads during the build and does not install.
    pub tools: Vec<Package>,
    /// The role's additions.
    pub files: BTreeMap<TreePath, PlannedNode>,
    /// The states of units at boot, by name.
    pub presets: BTreeMap<String, Preset>,
    /// Accounts that must exist in the end, by name.
    pub users: BTreeMap<String, Account>,
}

/// A system account: user and group of one name and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The number of both.
    pub id: u32,
    /// The home folder, which is not created.
    pub home: TreePath,
}

/// A build, fully resolved.
#[derive(Debug, Clone)]
pub struct Plan {
    inputs: Inputs,
}

impl Plan {
    /// Sorts and checks `inputs`.
    pub fn new(mut inputs: Inputs) -> Result<Self> {
        for list in [&mut inputs.packages, &mut inputs.tools] {
            list.sort();
            list.dedup();
            if let Some(pair) = list.windows(2).find(|pair| pair[0].name == pair[1].name) {
                return Err(Error::user(format!("package `{}` is locked twice, with two digests", pair[0].name))
                    .detail(format!("sha256:{}", pair[0].digest))
                    .detail(format!("sha256:{}", pair[1].digest))
                    .hint("run `kbake lock` to rewrite the lockfile"));
            }
        }
        Ok(Plan { inputs })
    }

    /// The role that this plan is for.
    pub fn role(&self) -> &RoleName {
        &self.inputs.role
    }

    /// The time of the image.
    pub fn epoch(&self) -> Epoch {
        self.inputs.epoch
    }

    /// The architecture.
    pub fn arch(&self) -> Arch {
        self.inputs.arch
    }

    /// The size of the disk in bytes.
    pub fn disk_size(&self) -> u64 {
        DISK_SIZE
    }

    /// Free space for the first boot, in bytes.
    pub fn root_slack(&self) -> u64 {
        ROOT_SLACK
    }

    /// The root filesystem's label.
    pub fn root_label(&self) -> &'static str {
        ROOT_LABEL
    }

    /// The root filesystem's UUID.
    pub fn root_uuid(&self) -> Uuid {
        root_uuid(&self.inputs.role)
    }

    /// An identifier for a part of this role's disk: the same in every build, different for every role and part.
    pub fn guid(&self, part: &str) -> Uuid {
        guid(part, &self.inputs.role)
    }

    /// The files that the role adds.
    pub fn files(&self) -> &BTreeMap<TreePath, PlannedNode> {
        &self.inputs.files
    }

    /// All installed packages, sorted by name.
    pub fn packages(&self) -> &[Package] {
        &self.inputs.packages
    }

    /// Accounts that must exist in the end, by name. An account of a package's stays as the package made it.
    pub fn users(&self) -> &BTreeMap<String, Account> {
        &self.inputs.users
    }

    /// Paths that are removed from the base: of the packages of every role (`only_common`), or of all.
    pub fn cleared(&self, only_common: bool) -> &BTreeSet<TreePath> {
        if only_common { &self.inputs.common_cleared } else { &self.inputs.cleared }
    }

    /// The states of units at boot, by name.
    pub fn presets(&self) -> &BTreeMap<String, Preset> {
        &self.inputs.presets
    }

    /// True for a package of every role.
    pub fn is_common(&self, name: &str) -> bool {
        self.inputs.common.contains(name)
    }

    /// The lines that decide the base tree alone: roles with equal lines share it.
    pub fn base_text(&self) -> String {
        self.installed_text(false)
    }

    /// The identity of this base's ground: the base of the packages of every role alone, which is the [`Plan::base_key`] of a
    /// role without others. None if this role has no others.
    pub fn ground_key(&self) -> Option<Sha256> {
        self.has_more().then(|| Sha256::of(self.installed_text(true)))
    }

    fn has_more(&self) -> bool {
        let common = self.inputs.packages.iter().filter(|package| self.is_common(&package.name)).count();
        0 < common && common < self.inputs.packages.len()
    }

    fn installed_text(&self, only_common: bool) -> String {
        let i = &self.inputs;
        let mut text = format!("arch {}\nepoch {}\nbase-format {}\n", i.arch, i.epoch, i.base_format);
        let _ = writeln!(text, "installer {} {}", i.installer.name, i.installer.digest);
        let has_more = self.has_more();
        for path in self.cleared(only_common) {
            let _ = writeln!(text, "clear {path}");
        }
        for package in i.packages.iter().filter(|package| !only_common || self.is_common(&package.name)) {
            let step = if has_more && !self.is_common(&package.name) { " on-top" } else { "" };
            let _ = writeln!(text, "deb {} {}{step}", package.name, package.digest);
        }
        text
    }

    /// The whole plan.
    pub fn text(&self) -> String {
        let mut text = format!("kbake-plan {PLAN_FORMAT}\nimage-format {IMAGE_FORMAT}\n");
        let _ = writeln!(text, "disk-size {DISK_SIZE}\nroot-slack {ROOT_SLACK}\nroot-label {ROOT_LABEL}");
        let _ = writeln!(text, "root-uuid {}", self.root_uuid());
        text.push_str(&self.base_text());
        for tool in &self.inputs.tools {
            let _ = writeln!(text, "tool {} {}", tool.name, tool.digest);
        }
        for (name, account) in &self.inputs.users {
            let _ = writeln!(text, "user {name} {} {}", account.id, account.home);
        }
        for (path, node) in &self.inputs.files {
            let _ = writeln!(text, "{}", node.line(path));
        }
        for (unit, preset) in &self.inputs.presets {
            let _ = writeln!(text, "unit {unit} {}", preset.word());
        }
        text
    }

    /// The identity of the build: the digest of [`Plan::text`].
    pub fn key(&self) -> Sha256 {
        Sha256::of(self.text())
    }

    /// The identity of the base tree: the digest of [`Plan::base_text`].
    pub fn base_key(&self) -> Sha256 {
        Sha256::of(self.base_text())
    }
}

#[cfg(test)]
mod tests;
