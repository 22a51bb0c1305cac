use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::*;
use crate::common::testing::{golden, put, pyyaml, systemd_analyze};
use crate::common::value::Sha256;

#[test]
fn image_files_are_as_recorded() {
    let mut text = String::new();
    let newer = CloudInit::OneProcess.entries();
    let base = base_entries([0x11; 16], CloudInit::EachStage);
    for (name, entries) in
        [("base", base), ("since cloud-init 24.3", newer), ("etcd", part_entries(Part::Etcd, &Facts::default()).unwrap())]
    {
        for entry in entries {
            let line = match &entry {
                Entry::Dir { path, mode, owner } => format!("dir {path} {mode:04o} {}:{}", owner.user, owner.group),
                Entry::File { path, mode, owner, bytes } => {
                    format!("file {path} {mode:04o} {}:{} {}", owner.user, owner.group, Sha256::of(bytes))
                }
                Entry::Symlink { path, target } => format!("link {path} {}", String::from_utf8_lossy(target)),
                Entry::Absent { path } => format!("none {path}"),
            };
            text.push_str(&format!("{name} {line}\n"));
        }
    }
    golden("image-files", &text);
}

#[test]
fn fstab_names_the_root_by_its_uuid() {
    let uuid = std::array::from_fn(|i| 0x10 * (i as u8 / 2) + i as u8);
    let entries = base_entries(uuid, CloudInit::OneProcess);
    let fstab = entries.iter().find(|entry| entry.path().as_bytes() == b"etc/fstab").unwrap();
    let Entry::File { bytes, .. } = fstab else { panic!("{fstab:?}") };
    let text = std::str::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().last().unwrap(), "UUID=00011213-2425-3637-4849-5a5b6c6d7e7f / ext4 errors=remount-ro 0 1");
}

#[test]
fn no_two_entries_share_a_path() {
    let mut paths: Vec<_> = base_entries([0; 16], CloudInit::OneProcess)
        .iter()
        .chain(&part_entries(Part::Etcd, &Facts::default()).unwrap())
        .map(|entry| entry.path().clone())
        .collect();
    let all = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), all);
}

#[test]
fn the_image_configuration_is_yaml_and_downloads_nothing() {
    let config = pyyaml(&[include_str!("90-kbake.cfg").to_owned(), include_str!("ds-identify.cfg").to_owned()]);
    assert_eq!(config[0]["datasource_list"], json!(["NoCloud", "None"]));
    assert_eq!(config[0]["manage_etc_hosts"], false);
    assert_eq!(config[1]["policy"], "enabled");
    // ds-identify looks for the list on one line, without a YAML parser.
    assert!(include_str!("90-kbake.cfg").lines().any(|line| line == "datasource_list: [NoCloud, None]"));
    let modules: Vec<&str> = ["cloud_init_modules", "cloud_config_modules", "cloud_final_modules"]
        .iter()
        .flat_map(|stage| config[0][stage].as_array().unwrap())
        .map(|module| module.as_str().unwrap())
        .collect();
    for needed in ["bootcmd", "write-files", "growpart", "resizefs", "set_hostname", "users-groups", "ssh", "runcmd"] {
        assert!(modules.contains(&needed), "{needed}");
    }
    for unwanted in ["ntp", "locale", "snap", "phone-home", "puppet", "grub-dpkg"] {
        assert!(!modules.contains(&unwanted), "{unwanted}");
    }
    // A seed's optional downloads come after the services; the masked stage has no modules.
    for late in ["apt-configure", "package-update-upgrade-install"] {
        assert!(config[0]["cloud_final_modules"].as_array().unwrap().contains(&json!(late)), "{late}");
    }
    assert_eq!(config[0]["cloud_config_modules"], json!([]));
}

/// systemd of the host reads the unit and the drop-ins in a root of their own, with the units that they build on.
#[test]
fn systemd_accepts_the_units() {
    let root = tempfile::tempdir().unwrap();
    let host = Path::new("/usr/lib/systemd/system");
    let units = root.path().join("usr/lib/systemd/system");
    std::fs::create_dir_all(&units).unwrap();
    std::os::unix::fs::symlink("usr/lib", root.path().join("lib")).unwrap();
    let listed = std::fs::read_dir(host).unwrap_or_else(|_| panic!("systemd is missing: run tests/setup.sh"));
    for entry in listed.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
        std::fs::copy(entry.path(), units.join(entry.file_name())).unwrap();
    }
    put(root.path(), "usr/bin/etcd", b"#!/bin/sh\n", 0o755);
    for program in ["systemd-networkd", "systemd-binfmt"] {
        put(root.path(), &format!("lib/systemd/{program}"), b"#!/bin/sh\n", 0o755);
    }
    for program in ["bin/udevadm", "bin/sh", "bin/systemctl", "usr/bin/cloud-init"] {
        put(root.path(), program, b"#!/bin/sh\n", 0o755);
    }
    put(root.path(), "etc/passwd", b"root:x:0:0::/:/bin/sh\netcd:x:100:100::/:/bin/sh\n", 0o644);
    // Not in systemd's own package; the drop-in needs a unit to extend.
    let local = b"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/usr/bin/cloud-init init --local\n";
    put(root.path(), "usr/lib/systemd/system/cloud-init-local.service", local, 0o644);
    let main = b"[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nExecStart=/usr/bin/cloud-init --all-stages\n";
    put(root.path(), "usr/lib/systemd/system/cloud-init-main.service", main, 0o644);
    let base = [base_entries([0; 16], CloudInit::OneProcess), CloudInit::EachStage.entries()].concat();
    for entry in base.iter().chain(&part_entries(Part::Etcd, &Facts::default()).unwrap()) {
        if let Entry::File { path, bytes, .. } = entry {
            put(root.path(), std::str::from_utf8(path.as_bytes()).unwrap(), bytes, 0o644);
        }
    }
    for unit in [
        "etcd.service",
        "cloud-init-local.service",
        "cloud-init-main.service",
        "cloud-init-network.service",
        "cloud-init.service",
        "systemd-binfmt.service",
        "systemd-networkd-wait-online.service",
    ] {
        let out = systemd_analyze(root.path(), &["verify", "--man=no", unit]);
        let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
        let ours: Vec<&str> =
            complaint.lines().filter(|line| line.contains(unit) || line.contains("90-kbake") || line.contains("etcd")).collect();
        assert!(out.status.success() && ours.is_empty(), "{unit}: {complaint}");
    }
    // The scale goes from 0 (nothing exposed) to 10; the rest is mostly the network that etcd exists for.
    let out = systemd_analyze(root.path(), &["security", "--offline=true", "--threshold=15", "etcd.service"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout).lines().last().unwrap_or_default());
}

/// The second stage starts depending on the first one's record of itself (its `DataSourceNoCloud.__str__`).
#[test]
fn the_second_stage_is_for_seeds_that_want_the_network() {
    let unit = include_str!("cloud-init.service");
    let condition = unit.lines().find_map(|line| line.strip_prefix("ExecCondition=/bin/sh -c '")?.strip_suffix('\'')).unwrap();
    let status = "/run/cloud-init/status.json";
    assert!(condition.contains(status), "{condition}");
    let folder = tempfile::tempdir().unwrap();
    let found = folder.path().join("status.json");
    let condition = condition.replace(status, found.to_str().unwrap());
    let said = |source: &str| format!("{{\n \"v1\": {{\n  \"datasource\": {source},\n  \"stage\": null\n }}\n}}\n");
    for (source, starts) in [
        (Some("\"DataSourceNoCloud [seed=/dev/vdb][dsmode=local]\""), false),
        (Some("\"DataSourceNoCloud [seed=/dev/vdb][dsmode=net]\""), true),
        (Some("null"), true),
        (None, true),
    ] {
        let _ = std::fs::remove_file(&found);
        if let Some(source) = source {
            std::fs::write(&found, said(source)).unwrap();
        }
        let status = Command::new("/bin/sh").args(["-c", &condition]).stderr(std::process::Stdio::null()).status().unwrap();
        // systemd skips a unit without a failure on 1 to 254 only.
        assert_eq!(status.code(), Some(i32::from(!starts)), "{source:?}");
    }
}

/// The check reads networkd's state file: systemd.network(5), networkctl(1).
#[test]
fn a_network_is_there_when_one_interface_can_be_routed_to() {
    let unit = include_str!("wait-online.conf");
    let wait = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c '")?.strip_suffix('\'')).unwrap();
    let (state, tries) = ("/run/systemd/netif/state", "$$(seq 300)");
    assert!(wait.contains(state) && wait.contains(tries), "{wait}");
    let folder = tempfile::tempdir().unwrap();
    let found = folder.path().join("state");
    let wait = wait.replace(state, found.to_str().unwrap()).replace(tries, "1 2");
    for (said, there) in [
        ("# This is private data.\nOPER_STATE=routable\nCARRIER_STATE=carrier\n", true),
        ("OPER_STATE=degraded\nIPV6_ADDRESS_STATE=routable\n", false),
        ("", false),
    ] {
        std::fs::write(&found, said).unwrap();
        assert_eq!(Command::new("/bin/sh").args(["-c", &wait]).status().unwrap().success(), there, "{said}");
    }
    std::fs::remove_file(&found).unwrap();
    assert!(!Command::new("/bin/sh").args(["-c", &wait]).status().unwrap().success());
}
