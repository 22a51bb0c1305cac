//! The files of parts with a kubelet, and their readers' verdict on them.

mod cni;
mod images;
mod kubernetes;
mod oracle;
mod settings;
mod whole;

use std::collections::BTreeSet;
use std::process::Command;

use super::*;
use crate::build::role::{Facts, Runtime, part_entries};
use crate::common::testing::containerd::config_dump;
use crate::common::testing::{goldens, put, systemd_analyze};
use crate::common::value::Sha256;
use crate::spec::recipe::Part;

/// The facts of a channel.
fn facts(artifacts: &[(&str, &str)], images: &[(&str, &str)], runtime: Runtime) -> Facts {
    Facts {
        artifacts: artifacts.iter().map(|(name, version)| (name.parse().unwrap(), version.parse().unwrap())).collect(),
        images: images.iter().map(|(name, reference)| (name.parse().unwrap(), reference.parse().unwrap())).collect(),
        runtime: Some(runtime),
    }
}

/// Debian 12's containerd.
fn debian() -> Facts {
    facts(&[("containerd", "1.6.20")], &[("pause", "kbake.internal/pause:0.1.7")], Runtime::Containerd)
}

/// The newest containerd of any Kubernetes channel.
fn upstream() -> Facts {
    facts(&[("containerd", "2.3.4")], &[("pause", "registry.k8s.io/pause:3.10.2")], Runtime::Containerd)
}

/// CRI-O, with one more image.
fn crio() -> Facts {
    let images = [("coredns", "registry.k8s.io/coredns/coredns:v1.14.2"), ("pause", "registry.k8s.io/pause:3.10.2")];
    facts(&[("crio", "1.36.3")], &images, Runtime::Crio)
}

/// The parts of a node of each kind.
fn kinds() -> [(&'static str, Facts, Vec<Part>); 3] {
    let node = |runtime| vec![runtime, Part::Kubelet, Part::KubeProxy];
    [
        ("containerd-1", debian(), node(Part::Containerd)),
        ("containerd-2", upstream(), node(Part::Containerd)),
        ("crio", crio(), node(Part::Crio)),
    ]
}

fn entries(parts: &[Part], facts: &Facts) -> Vec<Entry> {
    parts.iter().flat_map(|part| part_entries(*part, facts).unwrap()).collect()
}

/// The text of a file of the entries.
fn content(entries: &[Entry], path: &str) -> String {
    let found = entries.iter().find_map(|entry| match entry {
        Entry::File { path: known, bytes, .. } if known.as_bytes() == path.as_bytes() => Some(bytes.clone()),
        _ => None,
    });
    String::from_utf8(found.unwrap_or_else(|| panic!("no {path}"))).unwrap()
}

#[test]
fn the_files_are_as_recorded() {
    let mut files = Vec::new();
    for (kind, facts, parts) in kinds() {
        let mut list = String::new();
        for entry in entries(&parts, &facts) {
            let (path, line) = match &entry {
                Entry::Dir { path, mode, owner } => (path, format!("dir {mode:04o} {}:{}", owner.user, owner.group)),
                Entry::File { path, mode, owner, bytes } => {
                    let name = format!("parts/{kind}/{path}").replace("//", "/");
                    files.push((name, String::from_utf8(bytes.clone()).unwrap()));
                    (path, format!("file {mode:04o} {}:{} {}", owner.user, owner.group, Sha256::of(bytes)))
                }
                Entry::Symlink { path, target } => (path, format!("link {}", String::from_utf8_lossy(target))),
                Entry::Absent { path } => (path, "none".to_owned()),
            };
            list.push_str(&format!("{path} {line}\n"));
        }
        files.push((format!("parts/{kind}/list"), list));
    }
    goldens(files);
}

#[test]
fn no_part_writes_what_another_does() {
    for (kind, facts, parts) in kinds() {
        let all = entries(&parts, &facts);
        let paths: BTreeSet<_> = all.iter().map(Entry::path).collect();
        assert_eq!(paths.len(), all.len(), "{kind}");
        assert!(
            all.iter().all(|entry| !matches!(entry, Entry::File { bytes, .. } if bytes.contains(&b'{') && {
                let text = String::from_utf8_lossy(bytes);
                ["{runtime}", "{endpoint}", "{sandbox}", "{pinned}", "{plugin-folders}", "{format}"].iter().any(|gap| text.contains(gap))
            })),
            "{kind}: a gap is left"
        );
    }
}

#[test]
fn what_is_needed_is_asked_for() {
    let message = |part, facts: &Facts| part_entries(part, facts).unwrap_err().message().to_owned();
    assert!(message(Part::Kubelet, &Facts::default()).contains("no container runtime"));
    assert!(message(Part::Containerd, &Facts::default()).contains("needs the artifact `containerd`"));
    let unpaused = facts(&[("containerd", "2.3.4")], &[], Runtime::Containerd);
    assert!(message(Part::Containerd, &unpaused).contains("needs the container image `pause`"));
    assert!(message(Part::Crio, &Facts::default()).contains("needs the container image `pause`"));
}

/// <https://github.com/containerd/containerd/blob/main/RELEASES.md>: the one key is removed in 2.4, the other new in 2.1. An
/// older format is converted at each start with a warning, a newer one refused.
#[test]
fn each_containerd_gets_the_newest_format_that_it_reads() {
    for (version, key, format) in [
        ("1.6.20", "bin_dir", 2),
        ("1.7.28", "bin_dir", 2),
        ("2.0.6", "bin_dir", 3),
        ("2.1.0", "bin_dirs", 3),
        ("2.2.4", "bin_dirs", 3),
        ("2.3.0", "bin_dirs", 4),
        ("2.10.0", "bin_dirs", 4),
        ("3.0.0", "bin_dirs", 4),
    ] {
        let facts = facts(&[("containerd", version)], &[("pause", "registry.k8s.io/pause:3.10.2")], Runtime::Containerd);
        let config: toml::Table = content(&entries(&[Part::Containerd], &facts), "etc/containerd/config.toml").parse().unwrap();
        assert_eq!(config["version"].as_integer(), Some(format), "{version}");
        let plugin = if format == 2 { "io.containerd.grpc.v1.cri" } else { "io.containerd.cri.v1.runtime" };
        assert!(config["plugins"][plugin]["cni"].get(key).is_some(), "{version}: {config}");
    }
}

/// systemd of the host reads the units in a root of their own, with the units that they build on. The programs are not on the
/// tests' host; systemd checks that they exist.
#[test]
fn systemd_accepts_the_units() {
    for (kind, facts, parts) in kinds() {
        let root = tempfile::tempdir().unwrap();
        let units = root.path().join("usr/lib/systemd/system");
        std::fs::create_dir_all(&units).unwrap();
        std::os::unix::fs::symlink("usr/lib", root.path().join("lib")).unwrap();
        std::os::unix::fs::symlink("usr/bin", root.path().join("bin")).unwrap();
        let host = std::fs::read_dir("/usr/lib/systemd/system").unwrap_or_else(|_| panic!("systemd is missing: run tests/setup.sh"));
        for entry in host.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
            std::fs::copy(entry.path(), units.join(entry.file_name())).unwrap();
        }
        for program in ["usr/local/bin/containerd", "usr/local/bin/crio", "usr/local/bin/kubelet", "usr/local/bin/kube-proxy"] {
            put(root.path(), program, b"#!/bin/sh\n", 0o755);
        }
        for program in ["usr/bin/kill", "usr/bin/grep", "usr/sbin/nft"] {
            put(root.path(), program, b"#!/bin/sh\n", 0o755);
        }
        let mut names = Vec::new();
        for entry in entries(&parts, &facts) {
            let Entry::File { path, bytes, mode, .. } = entry else { continue };
            let path = String::from_utf8(path.as_bytes().to_vec()).unwrap();
            put(root.path(), &path, &bytes, u32::from(mode));
            names.extend(path.strip_prefix("etc/systemd/system/").map(str::to_owned));
        }
        assert_eq!(names.len(), 7, "{names:?}");
        for unit in &names {
            let out = systemd_analyze(root.path(), &["verify", "--man=no", unit]);
            let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
            let ours: Vec<&str> = complaint.lines().filter(|line| names.iter().any(|name| line.contains(name.as_str()))).collect();
            assert!(out.status.success() && ours.is_empty(), "{kind}: {unit}: {complaint}");
        }
        // The links under multi-user.target.wants are made by hand; they match [Install].
        let links: Vec<String> = entries(&parts, &facts)
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Symlink { path, target } => Some(format!("{path} {}", String::from_utf8(target).unwrap())),
                _ => None,
            })
            .collect();
        for unit in &names {
            let link = format!("/etc/systemd/system/multi-user.target.wants/{unit} /etc/systemd/system/{unit}");
            assert!(links.contains(&link), "{kind}: {link}\n{links:?}");
        }
    }
}

#[test]
fn scripts_are_for_every_shell() {
    for (kind, facts, parts) in kinds() {
        for entry in entries(&parts, &facts) {
            let Entry::File { path, mode: 0o755, bytes, .. } = entry else { continue };
            let dir = tempfile::tempdir().unwrap();
            put(dir.path(), "script", &bytes, 0o755);
            let out = Command::new("shellcheck").arg(dir.path().join("script")).output();
            let out = out.unwrap_or_else(|e| panic!("shellcheck is missing: run tests/setup.sh ({e})"));
            assert!(out.status.success(), "{kind}: {path}: {}", String::from_utf8_lossy(&out.stdout));
        }
    }
}

/// Debian's containerd itself reads the file, fills in its defaults, and shows what it understood.
#[test]
fn containerd_understands_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "config.toml", content(&entries(&[Part::Containerd], &debian()), "etc/containerd/config.toml").as_bytes(), 0o644);
    let dump: toml::Table = config_dump(&dir.path().join("config.toml")).unwrap().parse().unwrap();
    let cri = &dump["plugins"]["io.containerd.grpc.v1.cri"];
    assert_eq!(cri["sandbox_image"].as_str(), Some("kbake.internal/pause:0.1.7"));
    assert_eq!(cri["cni"]["bin_dir"].as_str(), Some("/opt/cni/bin"));
    assert_eq!(cri["cni"]["conf_dir"].as_str(), Some("/etc/cni/net.d"));
    assert_eq!(cri["registry"]["config_path"].as_str(), Some("/etc/containerd/certs.d"));
    let containerd = &cri["containerd"];
    assert_eq!(containerd["snapshotter"].as_str(), Some("overlayfs"));
    assert_eq!(containerd["default_runtime_name"].as_str(), Some("runc"));
    assert_eq!(containerd["runtimes"]["runc"]["runtime_type"].as_str(), Some("io.containerd.runc.v2"));
    assert_eq!(containerd["runtimes"]["runc"]["options"]["SystemdCgroup"].as_bool(), Some(true));
}

/// CRI-O is not available here; the names of its sections and keys are, of version 1.36
/// (<https://github.com/cri-o/cri-o/blob/v1.36.3/pkg/config/config.go>).
#[test]
fn crio_is_told_what_it_knows() {
    let config: toml::Table = content(&entries(&[Part::Crio], &crio()), "etc/crio/crio.conf.d/10-kbake.conf").parse().unwrap();
    let known = [
        ("image", vec!["pause_command", "pause_image", "pinned_images", "signature_policy"]),
        ("network", vec!["network_dir", "plugin_dirs"]),
        ("runtime", vec!["cgroup_manager", "default_runtime", "runtimes"]),
    ];
    let sections = config["crio"].as_table().unwrap();
    assert_eq!(sections.keys().collect::<Vec<_>>(), ["image", "network", "runtime"]);
    for (section, keys) in known {
        let mut found: Vec<&str> = sections[section].as_table().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, keys);
    }
    let pinned = ["registry.k8s.io/coredns/coredns:v1.14.2", "registry.k8s.io/pause:3.10.2"];
    assert_eq!(
        sections["image"]["pinned_images"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>(),
        pinned
    );
    assert_eq!(sections["image"]["pause_image"].as_str(), Some(pinned[1]));
    let crun = sections["runtime"]["runtimes"]["crun"].as_table().unwrap();
    assert_eq!(crun.keys().collect::<Vec<_>>(), ["monitor_path", "runtime_path", "runtime_root"]);
}
