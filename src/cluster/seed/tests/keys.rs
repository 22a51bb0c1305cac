//! The keys in each node's seed.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::cluster::model::Role;
use crate::cluster::pki::Name;

/// The names of the keys in a seed, in clear or in a kubeconfig.
fn found(seed: &Seed, keyring: &Fake) -> BTreeSet<String> {
    let user_data = text(seed, "user-data");
    // A block's lines are indented; the key itself is not.
    let flat: String = user_data.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let holds = |key: &str| flat.contains(key) || flat.contains(&STANDARD.encode(key));
    keyring.keys().iter().filter(|(_, key)| holds(key.expose_secret())).map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_seed_holds_its_nodes_keys_and_no_other() {
    for name in EXAMPLES {
        let cluster = example(name);
        for node in &cluster.nodes {
            let keyring = Fake::of(&cluster);
            let seed = of(&cluster, node, crate::cluster::node::EtcdStart::New, &keyring, &NamedFiles::default()).unwrap();
            let own = crate::cluster::pki::wanted(&cluster).into_iter().map(|wanted| wanted.name);
            let mut expected: BTreeSet<String> =
                own.filter(|wanted| matches!(wanted, Name::Node(of, _) if *of == node.name)).map(|wanted| wanted.to_string()).collect();
            if node.role == Role::ControlPlane {
                expected.extend(["ca", "sa", "encryption"].map(String::from));
            }
            assert_eq!(found(&seed, &keyring), expected, "{name}/{}", node.name);
            assert_eq!(keyring.asked(), expected, "{name}/{}: nothing is even asked for in vain", node.name);
            for other in &cluster.nodes {
                let (private, public) = keyring.host_key(&other.name).unwrap();
                let has = |text_of: &str| text(&seed, "user-data").lines().any(|line| line.contains(text_of));
                let key = private.expose_secret().lines().nth(1).unwrap().to_owned();
                assert_eq!((has(&key), has(public)), (other.name == node.name, other.name == node.name), "{name}/{}", node.name);
            }
            for public in ["meta-data", "network-config"] {
                assert!(!text(&seed, public).contains("FAKE"), "{name}/{}/{public}", node.name);
            }
        }
    }
}

/// Keys are only in files that nobody but the owner can read.
#[test]
fn files_with_keys_are_private_and_the_others_are_not() {
    for name in EXAMPLES {
        let cluster = example(name);
        let keyring = Fake::of(&cluster);
        for node in &cluster.nodes {
            let files = files::files(&cluster, node, crate::cluster::node::EtcdStart::New, &keyring).unwrap();
            let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(paths.len(), files.len(), "{name}/{}: a path twice", node.name);
            for file in &files {
                let secret = !matches!(file.content, crate::cluster::node::file::Content::Public(_));
                assert_eq!(file.permissions, if secret { "0600" } else { "0644" }, "{}", file.path);
                assert_eq!(secret, [".key", ".conf", "encryption.yaml"].iter().any(|end| file.path.ends_with(end)), "{}", file.path);
                let owner = if file.path.starts_with("/etc/etcd/pki/") { "etcd:etcd" } else { "root:root" };
                assert_eq!(file.owner, owner, "{}", file.path);
                let shown = format!("{file:?}");
                assert!(!shown.contains("FAKE KEY") && !shown.contains("LS0t"), "{shown}");
            }
        }
    }
}

#[test]
fn the_instance_id_follows_the_content() {
    let cluster = example("kubenet");
    let id = |keyring: &Fake, cluster: &Cluster, name: &str| {
        let seed = of(cluster, cluster.node(name).unwrap(), crate::cluster::node::EtcdStart::New, keyring, &NamedFiles::default()).unwrap();
        text(&seed, "meta-data").lines().next().unwrap().to_owned()
    };
    let same = Fake::of(&cluster);
    let first = id(&same, &cluster, "worker0");
    assert!(first.starts_with("instance-id: \"worker0-") && first.len() == "instance-id: \"worker0-\"".len() + 16, "{first}");
    assert_eq!(id(&same, &cluster, "worker0"), first);
    assert_ne!(id(&same, &cluster, "worker1"), first);
    assert_ne!(id(&Fake::renewed(&cluster, "worker0/kubelet"), &cluster, "worker0"), first, "a new key");
    assert_eq!(id(&Fake::renewed(&cluster, "worker1/kubelet"), &cluster, "worker0"), first, "another node's key");
    let text = example_text("kubenet");
    let slower = Cluster::read("k", &text.replace("mode = \"nat\"", "mode = \"nat\"\nmtu = 1400")).unwrap();
    assert_ne!(id(&same, &slower, "gateway"), id(&same, &cluster, "gateway"), "the network counts");
}

#[test]
fn seeds_do_not_print_themselves() {
    let seed = seed(&example("etcd"), "etcd0");
    assert_eq!(format!("{seed:?}"), "Seed(etcd0, private)");
    let volume = seed.volume(Volume::Iso, epoch()).unwrap();
    assert_eq!(format!("{volume:?}"), format!("SeedVolume({} bytes, private)", volume.0.expose_secret().len()));
}

/// A written seed identifies its node in each of its forms, and its source.
#[test]
fn a_seed_is_known_again() {
    let cluster = example("kubenet");
    let node = cluster.node("worker0").unwrap();
    let made = seed(&cluster, "worker0");
    let volumes = [Volume::Iso, Volume::Vfat].map(|kind| Found::of_volume(made.volume(kind, epoch()).unwrap().0.expose_secret()).unwrap());
    let folder = Found::of_documents(text(&made, "meta-data"), text(&made, "network-config")).unwrap();
    for found in volumes.iter().chain([&folder]) {
        assert_eq!((found.cluster.as_deref(), found.node.as_str(), found.instance.as_str()), (Some("kubenet"), "worker0", made.instance()));
        assert!(found.is_of(&cluster, node) && !found.is_of(&cluster, cluster.node("worker1").unwrap()));
        assert!(!found.is_of(&example("lab"), node), "another cluster may have such a node, too");
        assert_eq!(found.other_network(&cluster, node), None);
        let text = example_text("kubenet");
        let moved = Cluster::read("k", &text.replace("192.168.3.", "192.168.4.")).unwrap();
        let (old, new) = found.other_network(&moved, moved.node("worker0").unwrap()).unwrap();
        assert!(old.contains("192.168.3.") && new.contains("192.168.4."), "{old} {new}");
    }
    // A seed of an older version, which did not name the cluster.
    let old: String = text(&made, "meta-data").lines().filter(|line| !line.starts_with("kbake")).map(|line| format!("{line}\n")).collect();
    assert!(Found::of_documents(&old, "").unwrap().is_of(&cluster, node));
    for other in ["", "instance-id: \"worker0\"\n", "instance-id: iid-local01\nlocal-hostname: worker0\n", &old.replace("local\"", "net\"")]
    {
        assert_eq!(Found::of_documents(other, ""), None, "{other}");
        assert_eq!(Found::of_volume(other.as_bytes()), None, "{other}");
    }
}
