use super::*;

const NODES: &str = "[[node]]\nrole = 'control-plane'\n[[node]]\nrole = 'worker'\n";

fn versions() -> Versions {
    Versions { kubernetes: Some("1.36.2".parse().unwrap()), etcd: Some("3.6.8".parse().unwrap()) }
}

fn cluster(settings: &str) -> Cluster {
    Cluster::read("c.toml", &format!("name = 'x'\n[network]\ncidr = '10.1.0.0/24'\n{settings}\n{NODES}")).unwrap_or_else(|e| panic!("{e}"))
}

fn checked(settings: &str) -> Result<Vec<String>> {
    check(&cluster(settings), &versions())
}

#[test]
fn every_line_of_the_facts_is_read() {
    for (family, version) in [("Kubernetes", "1.36.2"), ("etcd", "3.6.6")] {
        let known = Known::of(family, &version.parse().unwrap()).unwrap_or_else(|| panic!("{family} {version}"));
        assert!(!known.flags.is_empty());
        assert_eq!(family == "etcd", known.keys.is_empty() && known.gates.is_empty());
    }
}

#[test]
fn settings_that_the_version_knows_pass() {
    let good = "[kubernetes.kubelet]\nmaxPods = 200\nfailCgroupV1 = false\nfeatureGates = { AllAlpha = false }\n\
        evictionHard = { 'memory.available' = '200Mi' }\nsystemReserved = { memory = '500Mi' }\n\
        reservedMemory = [{ numaNode = 0, limits = { memory = '1Gi' } }]\nkubeAPIQPS = 100\nlogging.verbosity = 3\nlogging.flushFrequency = '5s'\n\
        [kubernetes.api-server]\noidc-issuer-url = 'https://id.example.test'\nfeature-gates = { AllAlpha = false }\nv = 2\n\
        enable-admission-plugins = ['NodeRestriction', 'PodNodeSelector']\nrequest-timeout = '1m30s'\nmax-requests-inflight = 800\n\
        [kubernetes.controller-manager]\nkube-api-qps = 40.5\nnode-monitor-grace-period = '2m'\n\
        [kubernetes.scheduler]\nprofiles = [{ schedulerName = 'x', pluginConfig = [{ name = 'NodeResourcesFit', args = { any = 1 } }] }]\n\
        [kubernetes.proxy]\nconntrack = { maxPerCore = 0 }\nnftables.minSyncPeriod = '2s'\n\
        [kubernetes.etcd]\nheartbeat-interval = 500\nelection-timeout = 5000\n";
    assert_eq!(checked(good).unwrap(), Vec::<String>::new());
}

#[test]
fn settings_that_it_does_not_know_are_refused_with_place_and_nearest_name() {
    for (settings, line, words) in [
        ("[kubernetes.kubelet]\nmaxPod = 1", 5, "kubelet of Kubernetes 1.36 has no key `maxPod`\n"),
        ("[kubernetes.kubelet]\nmaxPod = 1", 5, "did you mean `maxPods`?"),
        ("[kubernetes.kubelet]\nlogging.verbose = 1", 5, "has no key `logging.verbose`"),
        ("[kubernetes.kubelet]\nmemorySwap = { swapBehaviour = 'x' }", 5, "did you mean `swapBehavior`?"),
        ("[kubernetes.kubelet]\nregisterWithTaint = []", 5, "did you mean `registerWithTaints`?"),
        ("[kubernetes.kubelet]\nfeatureGates = { AllAlphas = true }", 5, "did you mean `AllAlpha`?"),
        ("[kubernetes.kubelet]\nreservedMemory = [{ numa = 0 }]", 5, "has no key `reservedMemory.numa`"),
        ("[kubernetes.api-server]\nodic-issuer-url = 'x'", 5, "did you mean `oidc-issuer-url`?"),
        ("[kubernetes.api-server]\ninsecure-port = 0", 5, "kube-apiserver of Kubernetes 1.36 has no flag `insecure-port`"),
        ("[kubernetes.controller-manager]\nkubeapi-qps = 1", 5, "did you mean `kube-api-qps`?"),
        ("[kubernetes.scheduler]\nprofile = []", 5, "did you mean `profiles`?"),
        ("[kubernetes.proxy]\nconntrack.max = 1", 5, "kube-proxy of Kubernetes 1.36 has no key `conntrack.max`"),
        ("[kubernetes.etcd]\nheart-beat-interval = 1", 5, "did you mean `heartbeat-interval`?"),
    ] {
        let error = checked(settings).expect_err(settings).to_string();
        assert!(error.contains(words) && error.contains(&format!("c.toml:{line}:")), "{settings}: {error}");
    }
}

#[test]
fn values_of_another_kind_are_refused() {
    for (settings, words) in [
        ("[kubernetes.kubelet]\nmaxPods = '200'", "`maxPods` in [kubernetes.kubelet] must be a whole number, not a string"),
        ("[kubernetes.kubelet]\nmaxPods = 1.5", "must be a whole number, not a fraction"),
        ("[kubernetes.kubelet]\nfailSwapOn = 'no'", "must be true or false, not a string"),
        ("[kubernetes.kubelet]\nruntimeRequestTimeout = 60", "must be a duration such as \"90s\" or \"1h30m\", not a whole number"),
        ("[kubernetes.kubelet]\nruntimeRequestTimeout = '60'", "not `60`"),
        ("[kubernetes.kubelet]\nruntimeRequestTimeout = '1 m'", "not `1 m`"),
        ("[kubernetes.kubelet]\nsystemReserved = '500Mi'", "must be a table, not a string"),
        ("[kubernetes.kubelet]\nsystemReserved = { memory = 500 }", "must be a string, not a whole number"),
        ("[kubernetes.kubelet]\nallowedUnsafeSysctls = 'a'", "must be an array, not a string"),
        ("[kubernetes.kubelet]\nlogging = 3", "must be a table, not a whole number"),
        (
            "[kubernetes.kubelet]\nreservedMemory = [{ numaNode = 0, limits = { memory = 'much' } }]",
            "an amount such as \"500Mi\", not `much`",
        ),
        ("[kubernetes.kubelet]\nfeatureGates = { AllAlpha = 'true' }", "must be true or false"),
        ("[kubernetes.api-server]\nmax-requests-inflight = 'many'", "must be a whole number"),
        ("[kubernetes.api-server]\noidc-issuer-url = ['a', 'b']", "must be a string, not an array"),
        ("[kubernetes.api-server]\nfeature-gates = { AllAlpha = 1 }", "must be true or false"),
        ("[kubernetes.api-server]\noidc-signing-algs = [['a']]", "must be an array of strings or numbers"),
        ("[kubernetes.api-server]\nprofiling = 'no'", "must be true or false"),
    ] {
        let error = checked(settings).expect_err(settings).to_string();
        assert!(error.contains(words) && error.contains("c.toml:5:") && error.contains("as Kubernetes 1.36 has it"), "{settings}: {error}");
    }
}

#[test]
fn a_gate_that_is_locked_keeps_its_value() {
    let locked = Known::of("Kubernetes", &"1.36.2".parse().unwrap()).unwrap();
    let (name, gate) = locked.gates.iter().find(|(_, gate)| gate.is_locked).unwrap();
    let settings = |value: bool| format!("[kubernetes.api-server]\nfeature-gates = {{ {name} = {value} }}");
    assert!(checked(&settings(gate.default)).is_ok());
    let error = checked(&settings(!gate.default)).unwrap_err().to_string();
    assert!(error.contains(&format!("the feature gate `{name}` is locked to {} in Kubernetes 1.36", gate.default)), "{error}");
}

#[test]
fn what_is_deprecated_or_cannot_be_seen_is_warned_of() {
    let said = checked("[kubernetes.api-server]\napiserver-count = 1\naudit-webhook-config-file = '/root/x'").unwrap();
    assert_eq!(said[0], "c.toml:5:1: `apiserver-count` in [kubernetes.api-server] is deprecated in Kubernetes 1.36");
    assert!(said[1].starts_with("c.toml:6:1: kube-apiserver runs in a pod that does not see /root/x"), "{said:?}");
    let seen =
        "[kubernetes.api-server]\naudit-webhook-config-file = '/etc/kubernetes/pki/x'\noidc-ca-file = '/etc/ssl/certs/ca-certificates.crt'";
    assert_eq!(checked(seen).unwrap(), Vec::<String>::new());
}

#[test]
fn a_version_without_facts_is_a_warning() {
    let cluster = cluster("[kubernetes.kubelet]\nnothing = 1\n[kubernetes.etcd]\nnothing = 1");
    let said = check(&cluster, &Versions { kubernetes: Some("1.20.5".parse().unwrap()), etcd: None }).unwrap();
    assert_eq!(
        said,
        [
            "[kubernetes.kubelet] is not checked: the settings of Kubernetes 1.20.5 are not known; known: 1.35, 1.36",
            "[kubernetes.etcd] is not checked: the settings of the channel's version of etcd are not known; known: 3.6",
        ]
    );
}

/// The preset uses only settings that exist in every version with facts.
#[test]
fn the_preset_is_of_settings_that_exist() {
    for version in ["1.35.4", "1.36.2"] {
        let versions = Versions { kubernetes: Some(version.parse().unwrap()), ..versions() };
        let mut text = String::new();
        for line in include_str!("../model/settings/slow.toml").lines() {
            text.push_str(&line.replacen('[', "[kubernetes.", usize::from(line.starts_with('['))));
            text.push('\n');
        }
        assert_eq!(check(&cluster(&text), &versions).unwrap(), Vec::<String>::new(), "{version}");
    }
}
