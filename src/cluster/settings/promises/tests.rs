//! Each promise, broken and kept; the values of kbake's own templates are those that the promises name.

use super::*;
use crate::cluster::Component;

const HEAD: &str = "name = 'x'\n[network]\ncidr = '10.1.0.0/24'\n";
const NODES: &str = "[[node]]\nrole = 'control-plane'\n[[node]]\nrole = 'worker'\n";

fn read(settings: &str) -> Result<Cluster> {
    Cluster::read("c.toml", &format!("{HEAD}{settings}\n{NODES}"))
}

/// A table with one setting, whose key may have dots.
fn given(component: Component, key: &str, value: &str) -> String {
    format!("[kubernetes.{component}]\n{key} = {value}\n")
}

fn ours(promise: &Promise, cluster: &Cluster) -> Option<String> {
    match promise.ours {
        Ours::Is(value) => Some(value.to_owned()),
        Ours::Of(value) => Some(value(cluster)),
        Ours::Has(words) => Some(words.join(",")),
        Ours::HasNot(_) => Some("NamespaceLifecycle".to_owned()),
        Ours::None => None,
    }
}

#[test]
fn every_promise_refuses_another_value_and_takes_its_own() {
    let cluster = read("").unwrap();
    for component in Component::ALL {
        for promise in promises(component) {
            let key = promise.key;
            let other = match promise.ours {
                Ours::HasNot(words) => format!("'Node,RBAC,{}'", words[0]),
                _ => "'something-else'".to_owned(),
            };
            let error = read(&given(component, key, &other)).expect_err(key).to_string();
            let needed = format!("`{key}` in [kubernetes.{component}] is kbake's: ");
            assert!(error.contains(&needed) && error.contains("c.toml:5:") && error.contains("hint: leave it out"), "{key}: {error}");
            assert!(error.contains(promise.why) && !promise.why.is_empty(), "{key}: {error}");
            let Some(own) = ours(promise, &cluster) else { continue };
            for value in [format!("'{own}'"), format!("['{}']", own.replace(',', "', '")), own.clone()] {
                // Only true, false and numbers are values without quotes.
                if value == own && own != "true" && own != "false" && own.parse::<u32>().is_err() {
                    continue;
                }
                let settings = given(component, key, &value);
                // `authorization-mode` has two promises, and this one's value need not keep the other.
                assert!(key == "authorization-mode" || read(&settings).is_ok(), "{settings}: {:?}", read(&settings).err());
            }
        }
    }
}

#[test]
fn lists_may_have_more_than_what_is_promised() {
    for good in [
        "[kubernetes.api-server]\nauthorization-mode = ['Node', 'RBAC', 'Webhook']",
        "[kubernetes.api-server]\nauthorization-mode = 'Node,RBAC'",
        "[kubernetes.api-server]\nenable-admission-plugins = ['NodeRestriction', 'PodNodeSelector']",
        "[kubernetes.api-server]\ndisable-admission-plugins = 'DefaultStorageClass'",
    ] {
        assert!(read(good).is_ok(), "{good}");
    }
    for bad in ["['RBAC']", "'Node,RBAC,AlwaysAllow'", "'AlwaysAllow'"] {
        assert!(read(&given(Component::ApiServer, "authorization-mode", bad)).is_err(), "{bad}");
    }
}

/// Some readers of Kubernetes take a key in any case, and some flags with `_` for `-`.
#[test]
fn another_spelling_breaks_no_promise() {
    for (settings, words) in [
        ("[kubernetes.kubelet]\nreadonlyPort = 10255", "`readOnlyPort` in [kubernetes.kubelet] is kbake's"),
        ("[kubernetes.kubelet]\nAuthentication.Anonymous.Enabled = true", "is kbake's"),
        ("[kubernetes.api-server]\nanonymous_auth = false", "`anonymous_auth` is no name of a setting of kube-apiserver"),
        ("[kubernetes.api-server]\n'--anonymous-auth' = false", "flags are written without the dashes in front"),
        ("[kubernetes.api-server]\n'a\\tb' = false", "is no name of a setting"),
        ("[kubernetes.kubelet]\n'a b' = false", "keys are those of its configuration file"),
    ] {
        let error = read(&settings.replace("\\t", "\t")).expect_err(settings).to_string();
        assert!(error.contains(words), "{settings}: {error}");
    }
}

#[test]
fn a_nodes_own_settings_keep_the_promises_too() {
    let node =
        |line: &str| Cluster::read("c.toml", &format!("{HEAD}[[node]]\nrole = 'control-plane'\n[[node]]\nrole = 'worker'\n{line}\n"));
    let error = node("kubelet = { readOnlyPort = 10255 }").unwrap_err().to_string();
    assert!(error.contains("`readOnlyPort` in `kubelet` of node `worker` is kbake's") && error.contains("c.toml:8:"), "{error}");
    assert!(node("kubelet = { maxPods = 20 }").is_ok());
    let error =
        Cluster::read("c.toml", &format!("{HEAD}[[node]]\nrole = 'gateway'\nkubelet.maxPods = 20\n{NODES}")).unwrap_err().to_string();
    assert!(error.contains("a node of role gateway has no kubelet, so it cannot have settings of one"), "{error}");
}

#[test]
fn settings_that_no_node_reads_are_refused() {
    for (text, words) in [
        (format!("{HEAD}[kubernetes.proxy]\nmode = 'x'\n[services]\nproxy = 'none'\n{NODES}"), "no node runs kube-proxy"),
        (format!("{HEAD}[kubernetes.kubelet]\nmaxPods = 1\n[[node]]\nrole = 'etcd'\n"), "no node runs kubelet"),
        (
            format!("{HEAD}[api]\nname = 'api.example.test'\n[kubernetes.api-server]\nv = 1\n[[node]]\nrole = 'worker'\n"),
            "no node runs kube-apiserver",
        ),
        (
            format!("{HEAD}[api]\nname = 'api.example.test'\n[kubernetes.etcd]\nquota-backend-bytes = 1\n[[node]]\nrole = 'worker'\n"),
            "no node runs etcd",
        ),
    ] {
        let error = Cluster::read("c.toml", &text).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("so nothing reads its settings"), "{error}");
    }
}

/// A node's settings count more than the cluster's, and those more than the preset's; tables are merged key by key.
#[test]
fn settings_are_merged_from_the_widest_to_the_nearest() {
    let cluster = Cluster::read(
        "c.toml",
        &format!(
            "{HEAD}[kubernetes]\npreset = 'slow'\n[kubernetes.kubelet]\nruntimeRequestTimeout = '5m'\nfeatureGates = {{ A = true, B = true }}\n\
             allowedUnsafeSysctls = ['a', 'b']\n[[node]]\nrole = 'control-plane'\n[[node]]\nrole = 'worker'\n\
             kubelet = {{ featureGates = {{ B = false }}, allowedUnsafeSysctls = ['c'] }}\n"
        ),
    )
    .unwrap();
    let shown = |node: &str| {
        let table = cluster.settings_of(Component::Kubelet, cluster.node(node).unwrap()).unwrap();
        table.iter().map(|(key, item)| format!("{key}={}", item.value)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        shown("control"),
        "allowedUnsafeSysctls=[\"a\", \"b\"] featureGates={ A = true, B = true } nodeLeaseDurationSeconds=160 nodeStatusUpdateFrequency=30s runtimeRequestTimeout=5m"
    );
    assert!(shown("worker").starts_with("allowedUnsafeSysctls=[\"c\"] featureGates={ A = true, B = false } "), "{}", shown("worker"));
    assert!(read("[kubernetes]\npreset = 'fast'").unwrap_err().to_string().contains("unknown preset `fast`; known: slow"));
    assert_eq!(cluster.probes().map(|probes| probes.timeout), Some(60));
}

/// The preset breaks no promise.
#[test]
fn the_preset_may_be_written_out() {
    for component in Component::ALL {
        let table = crate::cluster::Preset::Slow.table(component).unwrap();
        for promise in promises(component) {
            assert!(at(&table, promise.key).is_none(), "{}", promise.key);
        }
    }
}
