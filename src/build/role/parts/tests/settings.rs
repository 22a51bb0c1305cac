//! `/usr/lib/kbake/settings`, run by a shell in roots of its own.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::*;
use crate::cluster::model::Role;
use crate::cluster::testing::example;
use crate::common::testing::pyyaml;

const GOOD: &str =
    "CLUSTER_CIDR=10.0.0.0/12\nCLUSTER_DNS=10.32.0.10\nCLUSTER_DOMAIN=cluster.local\nCLUSTER_NAME=lab\nPROXY_MODE=nftables\n";
const STACKED: &str = "ETCD_INITIAL_CLUSTER=a=https://192.0.2.1:2380,b=https://192.0.2.2:2380\n";
const NODE: &str = "# From the seed.\nKUBELET_NODE_ARGS=--hostname-override=worker-0.x --node-ip=192.0.2.1\n";
const MANIFEST: &str = "etc/kubernetes/manifests/etcd.yaml";
const KUBELET: &str = "var/lib/kubelet/config.yaml";

/// A node's root with the parts' own templates and one of stacked etcd's.
fn root(settings: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for entry in entries(&[Part::Kubelet, Part::KubeProxy], &upstream()) {
        if let Entry::File { path, mode, bytes, .. } = entry {
            put(root.path(), std::str::from_utf8(path.as_bytes()).unwrap(), &bytes, u32::from(mode));
        }
    }
    let manifest = format!("{TEMPLATES}/stacked-etcd/{MANIFEST}");
    put(root.path(), &manifest, b"a: \"@ETCD_INITIAL_CLUSTER@\" # @CLUSTER_NAME@@CLUSTER_DNS@ me@home @lower@\n", 0o600);
    put(root.path(), "etc/kubernetes/cluster.env", settings.as_bytes(), 0o644);
    put(root.path(), "etc/kubernetes/kubelet.env", NODE.as_bytes(), 0o644);
    root
}

/// Runs the script with Debian's /bin/sh: whether it succeeded, and both streams.
fn run(root: &Path) -> (bool, String) {
    let out = Command::new("dash").arg("usr/lib/kbake/settings").arg(root).current_dir(root).output();
    let out = out.unwrap_or_else(|e| panic!("dash is missing: run tests/setup.sh ({e})"));
    (out.status.success(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The paths of all files of the node except for its templates.
fn files(root: &Path) -> Vec<String> {
    let out = Command::new("find").args([".", "-type", "f", "-not", "-path", "./usr/*"]).current_dir(root).output().unwrap();
    let mut files: Vec<String> = String::from_utf8(out.stdout).unwrap().lines().map(|line| line[2..].to_owned()).collect();
    files.sort();
    files
}

#[test]
fn every_template_gets_the_clusters_values() {
    let root = root(&format!("# a comment\n\n{GOOD}{STACKED}"));
    let (good, said) = run(root.path());
    assert!(good, "{said}");
    let kubelet = read(root.path(), KUBELET);
    assert!(kubelet.contains("clusterDomain: \"cluster.local\"\n") && kubelet.contains("  - \"10.32.0.10\"\n"), "{kubelet}");
    // The node's own name is its kubelet's.
    assert!(read(root.path(), "var/lib/kube-proxy/config.yaml").contains("hostnameOverride: \"worker-0.x\"\n"));
    let manifest = "a: \"a=https://192.0.2.1:2380,b=https://192.0.2.2:2380\" # lab10.32.0.10 me@home @lower@\n";
    assert_eq!(read(root.path(), MANIFEST), manifest);
    assert_eq!(fs::metadata(root.path().join(MANIFEST)).unwrap().mode() & 0o777, 0o600);
    assert!(!files(root.path()).iter().any(|path| path.contains("/.")), "{:?}", files(root.path()));
}

#[test]
fn a_second_run_touches_nothing() {
    let root = root(&format!("{GOOD}{STACKED}"));
    assert!(run(root.path()).0);
    let before = fs::metadata(root.path().join(MANIFEST)).unwrap();
    assert_eq!(run(root.path()), (true, String::new()));
    let after = fs::metadata(root.path().join(MANIFEST)).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec(), before.ctime_nsec()), (after.ino(), after.mtime_nsec(), after.ctime_nsec()));
    // A changed value changes the files that contain it.
    put(root.path(), "etc/kubernetes/cluster.env", format!("{GOOD}{STACKED}").replace("nftables", "iptables").as_bytes(), 0o644);
    let (good, said) = run(root.path());
    assert!(good && said.lines().count() == 1 && said.ends_with("/var/lib/kube-proxy/config.yaml\n"), "{said}");
}

#[test]
fn etcds_manifest_comes_and_goes_with_its_settings() {
    let root = root(GOOD);
    assert!(run(root.path()).0);
    assert!(!root.path().join(MANIFEST).exists());
    put(root.path(), "etc/kubernetes/cluster.env", format!("{GOOD}{STACKED}").as_bytes(), 0o644);
    assert!(run(root.path()).0);
    assert!(root.path().join(MANIFEST).exists());
    // An empty value means none.
    put(root.path(), "etc/kubernetes/cluster.env", format!("{GOOD}ETCD_INITIAL_CLUSTER=\n").as_bytes(), 0o644);
    assert!(run(root.path()).0);
    assert!(!root.path().join(MANIFEST).exists());
}

#[test]
fn addons_are_for_the_node_that_applies_them() {
    let root = root(GOOD);
    put(root.path(), &format!("{TEMPLATES}/addons/etc/kbake/dns.yaml"), b"ip: @CLUSTER_DNS@\n", 0o644);
    assert!(run(root.path()).0);
    assert!(!root.path().join("etc/kbake/dns.yaml").exists());
    put(root.path(), "etc/kubernetes/addons.env", b"ADDONS=coredns\n", 0o644);
    assert!(run(root.path()).0);
    assert_eq!(read(root.path(), "etc/kbake/dns.yaml"), "ip: 10.32.0.10\n");
}

#[test]
fn what_is_missing_or_hostile_changes_nothing() {
    let missing = GOOD.replace("CLUSTER_DNS=10.32.0.10\n", "");
    for (settings, complaint) in [
        (missing.clone(), "there is no value for CLUSTER_DNS, which"),
        (GOOD.replace("10.32.0.10", ""), "there is no value for CLUSTER_DNS, which"),
        (format!("{missing}CLUSTER_DNS=$(touch /tmp/x)\n"), "a character in CLUSTER_DNS that no value has"),
        (format!("{missing}CLUSTER_DNS=\"10.0.0.1\"\n"), "a character in CLUSTER_DNS that no value has"),
        (format!("{missing}CLUSTER_DNS=a&b\n"), "a character in CLUSTER_DNS that no value has"),
        (format!("{missing}CLUSTER_DNS=a\\nb\n"), "a character in CLUSTER_DNS that no value has"),
        (format!("{missing}CLUSTER_DNS=größe\n"), "a character in CLUSTER_DNS that no value has"),
        (format!("{missing}CLUSTER_DNS=a b\n"), "a character in CLUSTER_DNS that no value has"),
        (format!("{missing}CLUSTER_DNS=a\r\n"), "a character in CLUSTER_DNS that no value has"),
        (format!("{missing}cluster_dns=a\n"), "has a bad key: cluster_dns"),
        (format!("{missing}CLUSTER.DNS=a\n"), "has a bad key: CLUSTER.DNS"),
        (format!("{missing}=a\n"), "has a bad key: "),
        (format!("{missing} CLUSTER_DNS=a\n"), "has a bad key:  CLUSTER_DNS"),
        (format!("{missing}export\n"), "has a line without ="),
        (format!("{GOOD}CLUSTER_DNS=10.0.0.1\n"), "has CLUSTER_DNS twice"),
    ] {
        let root = root(GOOD);
        assert!(run(root.path()).0);
        let before = (files(root.path()), read(root.path(), KUBELET));
        put(root.path(), "etc/kubernetes/cluster.env", settings.replace("cluster.local", "other.test").as_bytes(), 0o644);
        let (good, said) = run(root.path());
        assert!(!good && said.contains(complaint), "{settings}: {said}");
        assert_eq!((files(root.path()), read(root.path(), KUBELET)), before, "{settings}");
    }
}

/// A value is filled in once: a text in it that looks like a key is not one.
#[test]
fn values_are_not_filled_in_themselves() {
    let root = root(&GOOD.replace("10.32.0.10", "@CLUSTER_NAME@"));
    let (good, said) = run(root.path());
    assert!(good, "{said}");
    assert!(read(root.path(), KUBELET).contains("  - \"@CLUSTER_NAME@\"\n"));
}

/// Taints are objects of texts, even if a text looks like another type.
#[test]
fn taints_reach_the_kubelets_configuration() {
    let list = |settings: &str| {
        let root = root(&format!("{GOOD}{settings}"));
        let (good, said) = run(root.path());
        assert!(good, "{settings}: {said}");
        pyyaml(&[read(root.path(), KUBELET)]).remove(0)["registerWithTaints"].clone()
    };
    let taint = |key: &str, value: &str, effect: &str| serde_json::json!({ "key": key, "value": value, "effect": effect });
    let role = serde_json::json!({ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" });
    for (taints, expected) in [
        ("", vec![]),
        ("node-role.kubernetes.io/control-plane:NoSchedule", vec![role.clone()]),
        ("gpu=true:NoExecute", vec![taint("gpu", "true", "NoExecute")]),
        ("a=1:NoSchedule,a=1:NoExecute", vec![taint("a", "1", "NoSchedule"), taint("a", "1", "NoExecute")]),
        ("x.test/on=:PreferNoSchedule", vec![taint("x.test/on", "", "PreferNoSchedule")]),
    ] {
        assert_eq!(list(&format!("NODE_TAINTS={taints}\n")), serde_json::Value::from(expected), "{taints}");
    }
    // A seed of an earlier version passes them to the kubelet as an argument, which overrides the file.
    assert_eq!(list(""), serde_json::json!([]));
}

/// A seed of an earlier version lacks the setting, and may be one of several.
#[test]
fn leaders_are_elected_unless_the_seed_says_otherwise() {
    for (settings, expected) in [("", "true"), ("LEADER_ELECT=false\n", "false"), ("LEADER_ELECT=true\n", "true")] {
        let root = root(&format!("{GOOD}{settings}"));
        put(root.path(), &format!("{TEMPLATES}/control-plane/etc/kubernetes/x"), b"@LEADER_ELECT@\n", 0o644);
        assert!(run(root.path()).0);
        assert_eq!(read(root.path(), "etc/kubernetes/x"), format!("{expected}\n"), "{settings}");
    }
}

/// The script reads the node's arguments in the form that seeds have them.
#[test]
fn the_node_has_its_kubelets_name() {
    for name in ["kubenet", "two-node", "hard-way"] {
        let cluster = example(name);
        for node in cluster.nodes.iter().filter(|node| matches!(node.role, Role::Worker | Role::ControlPlane)) {
            let files = crate::cluster::node::public_files(&cluster, node, crate::cluster::node::EtcdStart::New).unwrap();
            let arguments = files.iter().find(|file| file.path == "/etc/kubernetes/kubelet.env").unwrap();
            let crate::cluster::node::file::Content::Public(text) = &arguments.content else { panic!("{arguments:?}") };
            let root = root(GOOD);
            put(root.path(), "etc/kubernetes/kubelet.env", text.as_bytes(), 0o644);
            assert!(run(root.path()).0);
            let line = format!("hostnameOverride: \"{}\"\n", node.name);
            assert!(read(root.path(), "var/lib/kube-proxy/config.yaml").contains(&line), "{line}");
        }
    }
}

/// The lines of a file that the settings change, before and after.
fn changed(root: &Path, path: &str, settings: &str) -> (Vec<String>, Vec<String>) {
    put(root, "etc/kubernetes/cluster.env", whole().as_bytes(), 0o644);
    let (good, said) = run(root);
    assert!(good, "{said}");
    let before = read(root, path);
    put(root, "etc/kubernetes/components.conf", settings.as_bytes(), 0o644);
    put(root, "etc/kubernetes/cluster.env", format!("{}COMPONENTS=yes\n", whole()).as_bytes(), 0o644);
    let (good, said) = run(root);
    assert!(good, "{said}");
    let after = read(root, path);
    let only = |of: &str, other: &str| of.lines().filter(|line| !other.lines().any(|known| known == *line)).map(str::to_owned).collect();
    (only(&before, &after), only(&after, &before))
}

/// A cluster's values for all templates.
fn whole() -> String {
    super::super::testing::VALUES
        .iter()
        .map(|(key, value)| format!("{key}={value}\n"))
        .filter(|line| !line.starts_with("NODE_NAME"))
        .collect()
}

/// A root of a control plane with the named parts' templates.
fn control_plane(parts: &[Part]) -> tempfile::TempDir {
    let root = root(GOOD);
    for entry in entries(parts, &super::super::testing::facts("upstream")) {
        if let Entry::File { path, mode, bytes, .. } = entry {
            put(root.path(), std::str::from_utf8(path.as_bytes()).unwrap(), &bytes, u32::from(mode));
        }
    }
    root
}

#[test]
fn a_clusters_flags_take_the_place_of_the_templates() {
    let root = control_plane(&[Part::ControlPlane]);
    let settings = "# a comment\n\
        kube-apiserver\tflag\taudit-log-maxage\t\"7\"\n\
        kube-apiserver\tflag\toidc-issuer-url\t\"https://a.test/@API_PORT@&\\\\1\"\n\
        kube-apiserver\tflag\ttls-sni-cert-key\t\"a,b\"\n\
        kube-apiserver\tflag\ttls-sni-cert-key\t\"c,d\"\n\
        kube-scheduler\tkey\tprofiles\t-\t[]\n";
    let (gone, new) = changed(root.path(), "etc/kubernetes/manifests/kube-apiserver.yaml", settings);
    assert_eq!(gone, ["        - \"--audit-log-maxage=30\""]);
    let expected = [
        "        - \"--audit-log-maxage=7\"",
        "        - \"--oidc-issuer-url=https://a.test/@API_PORT@&\\\\1\"",
        "        - \"--tls-sni-cert-key=a,b\"",
        "        - \"--tls-sni-cert-key=c,d\"",
    ];
    assert_eq!(new, expected);
    let pod = pyyaml(&[read(root.path(), "etc/kubernetes/manifests/kube-apiserver.yaml")]).remove(0);
    let command = pod["spec"]["containers"][0]["command"].as_array().unwrap();
    assert!(command.iter().any(|word| word == "--oidc-issuer-url=https://a.test/@API_PORT@&\\1"), "{command:?}");
    // Without the word in cluster.env, the file is an earlier seed's.
    put(root.path(), "etc/kubernetes/cluster.env", whole().as_bytes(), 0o644);
    assert!(run(root.path()).0);
    assert!(!read(root.path(), "etc/kubernetes/manifests/kube-apiserver.yaml").contains("oidc"));
}

#[test]
fn a_clusters_keys_are_put_beside_the_templates() {
    let root = control_plane(&[Part::ControlPlane]);
    let settings = "kube-scheduler\tkey\tclientConnection\tqps\t50.5\nkube-scheduler\tkey\tenableProfiling\t-\ttrue\n\
        kube-scheduler\tkey\tleaderElection\tretryPeriod\t\"3s\"\nkube-scheduler\tkey\tprofiles\t-\t[{\"schedulerName\":\"x: y\"}]\n\
        kube-proxy\tkey\tclientConnection\tqps\t7\nkube-proxy\tkey\tconntrack\tmaxPerCore\t0\nkube-proxy\tkey\tconntrack\tmin\t1\n";
    changed(root.path(), "etc/kubernetes/scheduler.yaml", settings);
    let found = pyyaml(&[read(root.path(), "etc/kubernetes/scheduler.yaml"), read(root.path(), "var/lib/kube-proxy/config.yaml")]);
    let scheduler = &found[0];
    assert_eq!(scheduler["clientConnection"], serde_json::json!({ "kubeconfig": "/etc/kubernetes/scheduler.conf", "qps": 50.5 }));
    assert_eq!(scheduler["enableProfiling"], true);
    assert_eq!((&scheduler["leaderElection"]["retryPeriod"], &scheduler["leaderElection"]["renewDeadline"]), (&"3s".into(), &"40s".into()));
    assert_eq!(scheduler["profiles"], serde_json::json!([{ "schedulerName": "x: y" }]));
    let proxy = &found[1];
    assert_eq!(proxy["clientConnection"], serde_json::json!({ "kubeconfig": "/etc/kubernetes/kube-proxy.conf", "qps": 7 }));
    assert_eq!(proxy["conntrack"], serde_json::json!({ "maxPerCore": 0, "min": 1 }));
    assert_eq!(proxy["mode"], "nftables");
}

#[test]
fn kubeadm_is_told_of_a_clusters_settings() {
    let root = control_plane(&[Part::Kubeadm]);
    let settings = "kube-apiserver\tflag\tencryption-provider-config\t\"/etc/kubernetes/encryption.yaml\"\nkube-apiserver\tflag\tv\t\"2\"\n\
        kube-controller-manager\tflag\tleader-elect-lease-duration\t\"240s\"\nkube-proxy\tkey\tconntrack\tmin\t1\n\
        kube-scheduler\tkey\tenableProfiling\t-\ttrue\n";
    changed(root.path(), "etc/kubernetes/kubeadm.yaml", settings);
    let text = read(root.path(), "etc/kubernetes/kubeadm.yaml");
    let found = pyyaml(&text.split("\n---\n").map(str::to_owned).collect::<Vec<_>>());
    let [_, cluster, _, proxy] = &found[..] else { panic!("{text}") };
    let arguments = |component: &str| -> Vec<(String, String)> {
        let word = |argument: &serde_json::Value, key: &str| argument[key].as_str().unwrap().to_owned();
        cluster[component]["extraArgs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|argument| (word(argument, "name"), word(argument, "value")))
            .collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(arguments("apiServer"), [pair("encryption-provider-config", "/etc/kubernetes/encryption.yaml"), pair("v", "2")]);
    let controllers = arguments("controllerManager");
    assert_eq!(
        controllers.iter().filter(|(name, _)| name == "leader-elect-lease-duration").collect::<Vec<_>>(),
        [&pair("leader-elect-lease-duration", "240s")]
    );
    assert!(controllers.contains(&pair("leader-elect-renew-deadline", "40s")), "{controllers:?}");
    assert_eq!((&proxy["mode"], &proxy["conntrack"]), (&"nftables".into(), &serde_json::json!({ "min": 1 })));
    assert!(read(root.path(), "etc/kubernetes/scheduler.yaml").contains("enableProfiling: true\n"));
    // A cluster without kube-proxy has none of kubeadm's either.
    put(root.path(), "etc/kubernetes/cluster.env", whole().replace("PROXY_MODE=nftables", "PROXY_MODE=none").as_bytes(), 0o644);
    let (good, said) = run(root.path());
    assert!(good, "{said}");
    assert!(read(root.path(), "etc/kubernetes/kubeadm.yaml").contains("proxy:\n  disabled: true\n"));
}

/// Seeds of earlier versions lack the thresholds.
#[test]
fn probes_have_the_patience_that_the_cluster_gives_them() {
    let root = control_plane(&[Part::ControlPlane]);
    for (settings, expected) in [("", (60, 8, 15)), ("STARTUP_FAILURES=180\nLIVENESS_FAILURES=30\nPROBE_TIMEOUT=60\n", (180, 30, 60))] {
        let values: String = whole()
            .lines()
            .filter(|line| !line.contains("_FAILURES=") && !line.contains("PROBE_"))
            .map(|line| format!("{line}\n"))
            .collect();
        put(root.path(), "etc/kubernetes/cluster.env", format!("{values}{settings}").as_bytes(), 0o644);
        let (good, said) = run(root.path());
        assert!(good, "{said}");
        for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            let pod = pyyaml(&[read(root.path(), &format!("etc/kubernetes/manifests/{name}.yaml"))]).remove(0);
            let container = &pod["spec"]["containers"][0];
            let of = |probe: &str, key: &str| container[probe][key].as_u64().unwrap();
            assert_eq!(
                (of("startupProbe", "failureThreshold"), of("livenessProbe", "failureThreshold"), of("livenessProbe", "timeoutSeconds")),
                expected,
                "{name}"
            );
        }
    }
}

#[test]
fn a_line_that_is_no_setting_changes_nothing() {
    for line in [
        "kube-apiserver\tflag\tv",
        "kube-apiserver\tflag\tV\t\"1\"",
        "kube-apiserver\tflag\tv\t1\"",
        "kube-proxy\tkey\ta b\t-\t1",
        "kube-proxy key a - 1",
        "x",
    ] {
        let root = control_plane(&[Part::ControlPlane]);
        put(root.path(), "etc/kubernetes/cluster.env", format!("{}COMPONENTS=yes\n", whole()).as_bytes(), 0o644);
        put(root.path(), "etc/kubernetes/components.conf", format!("{line}\n").as_bytes(), 0o644);
        let (good, said) = run(root.path());
        assert!(!good && said.contains("a line of components.conf is no setting"), "{line}: {said}");
        assert!(!root.path().join("etc/kubernetes/manifests/kube-apiserver.yaml").exists());
        fs::remove_file(root.path().join("etc/kubernetes/components.conf")).unwrap();
        let (good, said) = run(root.path());
        assert!(!good && said.contains("components.conf is missing, which"), "{said}");
    }
}
