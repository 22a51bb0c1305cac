//! The components' configuration files, compared with the fields of their versions.

use serde_json::{Value, json};

use super::*;
use crate::common::testing::pyyaml;

/// The fields of `KubeletConfiguration` that exist in every version from 1.34 to 1.36 and that a node may need
/// (<https://github.com/kubernetes/kubelet/blob/v0.34.0/config/v1beta1/types.go>). The kubelet only logs unknown ones.
const KUBELET: &str = "apiVersion kind enableServer staticPodPath podLogsDir syncFrequency fileCheckFrequency \
    address port readOnlyPort tlsCertFile tlsPrivateKeyFile tlsCipherSuites tlsMinVersion rotateCertificates serverTLSBootstrap \
    authentication authorization registryPullQPS registryBurst imagePullCredentialsVerificationPolicy eventRecordQPS eventBurst \
    enableDebuggingHandlers healthzPort healthzBindAddress oomScoreAdj clusterDomain clusterDNS nodeStatusUpdateFrequency \
    nodeStatusReportFrequency nodeLeaseDurationSeconds imageMinimumGCAge imageMaximumGCAge imageGCHighThresholdPercent \
    imageGCLowThresholdPercent volumeStatsAggPeriod kubeletCgroups systemCgroups cgroupRoot cgroupsPerQOS cgroupDriver \
    cpuManagerPolicy memoryManagerPolicy topologyManagerPolicy runtimeRequestTimeout hairpinMode maxPods podPidsLimit resolvConf \
    cpuCFSQuota maxOpenFiles kubeAPIQPS kubeAPIBurst serializeImagePulls maxParallelImagePulls evictionHard evictionSoft \
    evictionSoftGracePeriod evictionPressureTransitionPeriod evictionMaxPodGracePeriod evictionMinimumReclaim podsPerCore \
    protectKernelDefaults makeIPTablesUtilChains featureGates failSwapOn memorySwap containerLogMaxSize containerLogMaxFiles \
    systemReserved kubeReserved enforceNodeAllocatable allowedUnsafeSysctls volumePluginDir providerID logging \
    shutdownGracePeriod shutdownGracePeriodCriticalPods seccompDefault registerWithTaints registerNode tracing \
    localStorageCapacityIsolation containerRuntimeEndpoint imageServiceEndpoint failCgroupV1";

/// Those of `KubeProxyConfiguration` (<https://github.com/kubernetes/kube-proxy/blob/v0.34.0/config/v1alpha1/types.go>).
const KUBE_PROXY: &str = "apiVersion kind featureGates clientConnection logging hostnameOverride bindAddress healthzBindAddress \
    metricsBindAddress bindAddressHardFail enableProfiling showHiddenMetricsForVersion mode iptables ipvs nftables \
    detectLocalMode detectLocal clusterCIDR nodePortAddresses oomScoreAdj conntrack configSyncPeriod";

fn config(path: &str, facts: &Facts) -> Value {
    let parts = [Part::Kubelet, Part::KubeProxy];
    let text = content(&entries(&parts, facts), &format!("{TEMPLATES}/node/{path}"));
    let values = [("CLUSTER_DNS", "10.32.0.10"), ("CLUSTER_DOMAIN", "cluster.local"), ("CLUSTER_CIDR", "10.0.0.0/12")];
    let node = [("NODE_NAME", "worker0"), ("REGISTER_WITH_TAINTS", "[]")];
    let all = values.into_iter().chain(node).chain([("PROXY_MODE", "nftables")]);
    let text = all.fold(text, |text, (key, value)| text.replace(&format!("@{key}@"), value));
    assert!(!text.contains('@'), "{text}");
    pyyaml(&[text]).remove(0)
}

fn holds_only(config: &Value, known: &str) {
    for key in config.as_object().unwrap().keys() {
        assert!(known.split_whitespace().any(|field| field == key), "no such field: {key}");
    }
}

#[test]
fn the_kubelet_has_every_field_that_it_is_given() {
    for (facts, endpoint) in [(upstream(), "unix:///run/containerd/containerd.sock"), (crio(), "unix:///run/crio/crio.sock")] {
        let config = config("var/lib/kubelet/config.yaml", &facts);
        holds_only(&config, KUBELET);
        assert_eq!(config["containerRuntimeEndpoint"], endpoint);
        assert_eq!((&config["apiVersion"], &config["kind"]), (&json!("kubelet.config.k8s.io/v1beta1"), &json!("KubeletConfiguration")));
        let authentication = json!({
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": "/etc/kubernetes/pki/ca.crt" },
        });
        assert_eq!((&config["authentication"], &config["authorization"]), (&authentication, &json!({ "mode": "Webhook" })));
        assert_eq!((&config["clusterDNS"], &config["clusterDomain"]), (&json!(["10.32.0.10"]), &json!("cluster.local")));
        for (key, value) in [
            ("cgroupDriver", json!("systemd")),
            ("failSwapOn", json!(true)),
            ("readOnlyPort", json!(0)),
            ("registerWithTaints", json!([])),
            ("resolvConf", json!("/run/systemd/resolve/resolv.conf")),
            ("rotateCertificates", json!(false)),
            ("seccompDefault", json!(true)),
            ("staticPodPath", json!("/etc/kubernetes/manifests")),
        ] {
            assert_eq!(config[key], value, "{key}");
        }
        // The kubelet refuses a low threshold that is not below the high one.
        let threshold = |end: &str| config[format!("imageGC{end}ThresholdPercent")].as_u64().unwrap();
        assert!(threshold("Low") < threshold("High") && threshold("High") <= 100);
        // An explicit list replaces the defaults, of which none may be lost.
        let signals: Vec<&str> = config["evictionHard"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(signals, ["imagefs.available", "imagefs.inodesFree", "memory.available", "nodefs.available", "nodefs.inodesFree"]);
    }
}

#[test]
fn kube_proxy_has_every_field_that_it_is_given() {
    let config = config("var/lib/kube-proxy/config.yaml", &upstream());
    holds_only(&config, KUBE_PROXY);
    let expected = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": "/etc/kubernetes/kube-proxy.conf" },
        "clusterCIDR": "10.0.0.0/12",
        "hostnameOverride": "worker0",
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "nftables",
    });
    assert_eq!(config, expected);
}
