//! Each restriction, with a refused and an allowed value; the values of kbake's own templates are the allowed ones.

use super::*;
use crate::cluster::model::Component;

const HEAD: &str = "name = 'x'\n[network]\ncidr = '10.1.0.0/24'\n";
const NODES: &str = "[[node]]\nrole = 'control-plane'\n[[node]]\nrole = 'worker'\n";

fn read(settings: &str) -> Result<Cluster> {
    Cluster::read("c.toml", &format!("{HEAD}{settings}\n{NODES}"))
}

/// A table with one setting, whose key may have dots.
fn given(component: Component, key: &str, value: &str) -> String {
    format!("[kubernetes.{component}]\n{key} = {value}\n")
}

fn own_value(restriction: &Restriction, cluster: &Cluster) -> Option<String> {
    match restriction.allowed {
        Allowed::Is(value) => Some(value.to_owned()),
        Allowed::Of(value) => Some(value(cluster)),
        Allowed::Has(words) => Some(words.join(",")),
        Allowed::HasNot(_) => Some("NamespaceLifecycle".to_owned()),
        Allowed::None => None,
    }
}

#[test]
fn every_restriction_refuses_another_value_and_allows_its_own() {
    let cluster = read("").unwrap();
    for component in Component::ALL {
        for restriction in restrictions(component) {
            let key = restriction.key;
            let other = match restriction.allowed {
                Allowed::HasNot(words) => format!("'Node,RBAC,{}'", words[0]),
                _ => "'something-else'".to_owned(),
            };
            let error = read(&given(component, key, &other)).expect_err(key).to_string();
            let needed = format!("`{key}` in [kubernetes.{component}] is restricted: ");
            assert!(error.contains(&needed) && error.contains("c.toml:5:") && error.contains("hint: leave it out"), "{key}: {error}");
            assert!(error.contains(restriction.why) && !restriction.why.is_empty(), "{key}: {error}");
            let Some(own) = own_value(restriction, &cluster) else { continue };
            for value in [format!("'{own}'"), format!("['{}']", own.replace(',', "', '")), own.clone()] {
                // Only true, false and numbers are values without quotes.
                if value == own && own != "true" && own != "false" && own.parse::<u32>().is_err() {
                    continue;
                }
                let settings = given(component, key, &value);
                // `authorization-mode` has two restrictions, and a value that satisfies this one need not satisfy the other.
                assert!(key == "authorization-mode" || read(&settings).is_ok(), "{settings}: {:?}", read(&settings).err());
            }
        }
    }
}

#[test]
fn lists_may_have_more_than_the_required_words() {
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

/// Some readers of Kubernetes ignore a key's case, and some flags allow `_` for `-`.
#[test]
fn another_spelling_evades_no_restriction() {
    for (settings, words) in [
        ("[kubernetes.kubelet]\nreadonlyPort = 10255", "`readOnlyPort` in [kubernetes.kubelet] is restricted"),
        ("[kubernetes.kubelet]\nAuthentication.Anonymous.Enabled = true", "is restricted"),
        ("[kubernetes.api-server]\nanonymous_auth = false", "`anonymous_auth` is not a setting of kube-apiserver"),
        ("[kubernetes.api-server]\n'--anonymous-auth' = false", "flags are written without the dashes in front"),
        ("[kubernetes.api-server]\n'a\\tb' = false", "is not a setting"),
        ("[kubernetes.kubelet]\n'a b' = false", "keys are those of its configuration file"),
    ] {
        let error = read(&settings.replace("\\t", "\t")).expect_err(settings).to_string();
        assert!(error.contains(words), "{settings}: {error}");
    }
}

#[test]
fn a_nodes_own_settings_are_restricted_too() {
    let node =
        |line: &str| Cluster::read("c.toml", &format!("{HEAD}[[node]]\nrole = 'control-plane'\n[[node]]\nrole = 'worker'\n{line}\n"));
    let error = node("kubelet = { readOnlyPort = 10255 }").unwrap_err().to_string();
    assert!(error.contains("`readOnlyPort` in `kubelet` of node `worker` is restricted") && error.contains("c.toml:8:"), "{error}");
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

/// A node's settings override the cluster's, and those the preset's; tables are merged key by key.
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

/// The preset sets nothing that is restricted.
#[test]
fn the_preset_may_be_written_out() {
    for component in Component::ALL {
        let table = crate::cluster::model::Preset::Slow.table(component).unwrap();
        for restriction in restrictions(component) {
            assert!(at(&table, restriction.key).is_none(), "{}", restriction.key);
        }
    }
}
