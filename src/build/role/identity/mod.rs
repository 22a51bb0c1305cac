//! Files that identify one machine, which packages create at installation: the node creates them instead.
//!
//! `base` removes the files from the installed tree; this module makes each missing one at boot.

use std::collections::BTreeSet;

use super::{Entry, Owner, text, unit_link};
use crate::common::value::TreePath;

/// Packages, and the shell text that replaces their scripts.
const MAKERS: [(&str, &str); 6] = [
    ("bind9", include_str!("bind9.sh")),
    ("dropbear", include_str!("dropbear.sh")),
    ("munge", include_str!("munge.sh")),
    ("nvme-cli", include_str!("nvme-cli.sh")),
    ("open-iscsi", include_str!("open-iscsi.sh")),
    ("ssl-cert", include_str!("ssl-cert.sh")),
];

/// The unit and its script, if one of these packages needs them.
pub(crate) fn identity_entries(packages: &BTreeSet<&str>) -> Vec<Entry> {
    let makers: String = MAKERS.iter().filter(|(name, _)| packages.contains(name)).map(|(_, maker)| *maker).collect();
    if makers.is_empty() {
        return Vec::new();
    }
    let script = [include_str!("head.sh"), &makers, include_str!("tail.sh")].concat();
    vec![
        text("etc/systemd/system/kbake-identity.service", include_str!("kbake-identity.service").as_bytes()),
        unit_link("sysinit.target.wants/kbake-identity.service", "/etc/systemd/system/kbake-identity.service"),
        Entry::File { path: TreePath::fixed("usr/lib/kbake/identity"), mode: 0o755, owner: Owner::ROOT, bytes: script.into_bytes() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_makes_what_its_own_packages_would_have_made() {
        assert_eq!(identity_entries(&["apt", "openssh-server"].into()), [], "nothing is added to the shipped roles");
        let entries = identity_entries(&["apt", "nvme-cli", "ssl-cert"].into());
        let Some(Entry::File { bytes, mode: 0o755, .. }) = entries.last() else { panic!("{entries:?}") };
        let script = std::str::from_utf8(bytes).unwrap();
        assert!(script.starts_with("#!/bin/sh\n") && script.ends_with("exit \"$failed\"\n"), "{script}");
        assert!(script.contains("gen-hostnqn") && script.contains("make-ssl-cert") && !script.contains("mungekey"), "{script}");
    }

    /// Runs the script of two packages over a folder in the place of `/`, with stand-ins for all programs that it calls:
    /// whether it succeeds, and the files.
    fn run(root: &std::path::Path) -> (bool, Vec<String>) {
        let entries = identity_entries(&["nvme-cli", "open-iscsi"].into());
        let Some(Entry::File { bytes, .. }) = entries.last() else { panic!() };
        let (etc, tools) = (root.join("etc"), root.join("tools"));
        let script = String::from_utf8(bytes.clone()).unwrap();
        let script = script.replace("/etc/", &format!("{}/", etc.display())).replace("PATH=", &format!("PATH={}:", tools.display()));
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let read = |name: &str| std::fs::read_to_string(etc.join(name)).unwrap_or_default();
        (
            output.status.success(),
            ["nvme/hostnqn", "nvme/hostid", "iscsi/initiatorname.iscsi"].map(|name| read(name).trim_end().to_owned()).into(),
        )
    }

    #[test]
    fn identities_are_made_once_and_a_failure_leaves_no_half() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        for folder in ["etc/nvme", "etc/iscsi", "tools"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let tool = |name: &str, text: &str| {
            let path = root.path().join("tools").join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        tool("chown", "exit 0");
        tool("nvme", "echo nqn.2014-08.org.nvmexpress:uuid:$$-a");
        tool("iscsi-iname", "exit 1");
        let (content, first) = run(root.path());
        assert!(!content && first[2].is_empty(), "{first:?}");
        assert!(first[0].starts_with("nqn.2014-08.org.nvmexpress:uuid:") && first[0].ends_with(&format!(":{}", first[1])), "{first:?}");
        tool("iscsi-iname", "echo iqn.1993-08.org.debian:01:$$");
        let (content, second) = run(root.path());
        assert!(content && second[..2] == first[..2] && second[2].starts_with("InitiatorName=iqn.1993"), "{second:?}");
        assert_eq!(run(root.path()), (true, second), "what is there stays");
        assert_eq!(std::fs::read_dir(root.path().join("etc/iscsi")).unwrap().count(), 1);
    }
}
