use std::io::ErrorKind;
use std::process::Command;

use super::*;
use crate::cluster::{Addressing, EtcdListen, EtcdNode};
use crate::value::Sha256;

fn node() -> LoneNode {
    LoneNode {
        name: "etcd0".parse().unwrap(),
        domain: Some("kbake.test".parse().unwrap()),
        role: "etcd".parse().unwrap(),
        network: Addressing::Dhcp,
        mac: None,
        ssh_keys: Vec::new(),
        etcd: Some(EtcdNode { listen: EtcdListen::Loopback }),
    }
}

fn epoch() -> Epoch {
    Epoch::from_seconds(1_700_000_000).unwrap()
}

fn digest(volume: &SeedVolume) -> String {
    let mut digest = String::new();
    volume
        .write_private(|bytes| {
            digest = Sha256::of(bytes).to_string();
            Ok(())
        })
        .unwrap();
    digest
}

#[test]
fn the_volume_holds_the_three_documents() {
    let volume = volume(&node(), epoch()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (iso, out) = (dir.path().join("seed.iso"), dir.path().join("out"));
    volume.write_private(|bytes| std::fs::write(&iso, bytes).map_err(|error| Error::io("write the seed", &error))).unwrap();
    let run = Command::new("xorriso").args(["-osirrox", "on", "-indev"]).arg(&iso).args(["-extract", "/"]).arg(&out).output();
    let run = match run {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("xorriso is missing: run tests/setup.sh"),
        other => other.unwrap(),
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let expected = [
        ("meta-data", render::meta_data(&node())),
        ("network-config", render::network_config(&node())),
        ("user-data", render::user_data(&node())),
    ];
    for (name, text) in &expected {
        assert_eq!(std::fs::read_to_string(out.join(name)).unwrap(), *text, "{name}");
    }
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), expected.len());
}

#[test]
fn the_bytes_follow_from_node_and_epoch_alone() {
    let first = digest(&volume(&node(), epoch()).unwrap());
    assert_eq!(digest(&volume(&node(), epoch()).unwrap()), first);
    // A new digest means that all seeds change, and with them every instance id: do it on purpose.
    assert_eq!(first, "5a25db54e4df67245fe948753d3c96f2f9c8c84e6e960ebe2492f820bc5bc7f7");
    assert_ne!(digest(&volume(&node(), Epoch::from_seconds(1).unwrap()).unwrap()), first);
    assert_ne!(digest(&volume(&LoneNode { domain: None, ..node() }, epoch()).unwrap()), first);
}

#[test]
fn a_failed_write_is_the_callers() {
    let error = volume(&node(), epoch()).unwrap().write_private(|_| Err(Error::user("disk on fire"))).unwrap_err();
    assert_eq!(error.message(), "disk on fire");
}

#[test]
fn a_seed_does_not_print_itself() {
    let volume = volume(&node(), epoch()).unwrap();
    assert_eq!(format!("{volume:?}"), format!("SeedVolume({} bytes, private)", volume.size()));
    assert_eq!(volume.size() % 2048, 0);
}
