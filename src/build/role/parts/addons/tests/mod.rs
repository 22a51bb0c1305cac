mod run;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::super::testing::{as_recorded, facts, filled, systemd_accepts, texts};
use crate::spec::recipe::Part;

fn manifests(name: &str) -> Vec<Value> {
    filled(&texts(Part::Addons, &facts("upstream"))[&format!("/usr/share/kbake/addons/{name}/{name}.yaml")])
}

fn one(objects: &[Value], kind: &str) -> Value {
    let found: Vec<&Value> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0].clone()
}

#[test]
fn files_are_as_recorded() {
    as_recorded(Part::Addons, "upstream");
    as_recorded(Part::Addons, "upstream-1.35");
}

#[test]
fn what_the_channel_lacks_is_left_out() {
    let paths: Vec<String> = texts(Part::Addons, &facts("debian")).into_keys().filter(|path| path.contains("/addons/")).collect();
    assert_eq!(paths, ["/usr/share/kbake/addons/rbac/once/cluster-admins.yaml", "/usr/share/kbake/addons/rbac/rbac.yaml"]);
}

/// The user is the subject of a certificate that seeds bring.
#[test]
fn the_api_server_gets_into_kubelets() {
    let binding = one(&manifests("rbac"), "ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], "system:kubelet-api-admin");
    let user = binding["subjects"][0]["name"].as_str().unwrap();
    let certificates = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pki/kubenet.txt"));
    assert!(certificates.contains(&format!("apiserver-kubelet-client ca CN={user} client")), "{user}");
}

/// The group is that of a certificate in the user's folder; the other certificate needs no binding.
#[test]
fn the_admins_of_the_cluster_have_rights_that_can_be_taken_away() {
    let text = &texts(Part::Addons, &facts("upstream"))["/usr/share/kbake/addons/rbac/once/cluster-admins.yaml"];
    let binding = one(&filled(text), "ClusterRoleBinding");
    assert_eq!((&binding["roleRef"]["kind"], &binding["roleRef"]["name"]), (&json!("ClusterRole"), &json!("cluster-admin")));
    let subjects = binding["subjects"].as_array().unwrap();
    assert_eq!((subjects.len(), &subjects[0]["kind"]), (1, &json!("Group")));
    let group = subjects[0]["name"].as_str().unwrap();
    let certificates = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pki/kubenet.txt"));
    assert!(certificates.starts_with(&format!("admin ca O={group}, CN=kubernetes-admin client\n")), "{group}");
    assert!(certificates.contains("\nsuper-admin ca O=system:masters, CN=kubernetes-super-admin client\n"));
    assert!(!group.starts_with("system:"), "what begins so is Kubernetes's own");
}

#[test]
fn dns_is_found_where_the_kubelets_say() {
    let objects = manifests("coredns");
    let service = one(&objects, "Service");
    assert_eq!(service["spec"]["clusterIP"], "10.32.0.10");
    let typed: Service = serde_json::from_value(service.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), service);
    let deployment = one(&objects, "Deployment");
    let typed: Deployment = serde_json::from_value(deployment.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), deployment);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for selector in [&service["spec"]["selector"], &deployment["spec"]["selector"]["matchLabels"]] {
        assert_eq!(selector, labels);
    }
    assert_eq!(one(&objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], *labels);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "registry.k8s.io/coredns/coredns:v1.14.2");
    let account = one(&objects, "ServiceAccount")["metadata"]["name"].clone();
    assert_eq!((&pod["serviceAccountName"], &one(&objects, "ClusterRoleBinding")["subjects"][0]["name"]), (&account, &account));
    let corefile = one(&objects, "ConfigMap")["data"]["Corefile"].as_str().unwrap().to_owned();
    assert!(corefile.contains("    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"), "{corefile}");
    assert_eq!(corefile.matches('{').count(), corefile.matches('}').count());
}

/// Two nodes of any kind, but none whose image may lack it, and none whose taint keeps pods off.
#[test]
fn dns_survives_the_loss_of_a_node() {
    let deployment = one(&manifests("coredns"), "Deployment").clone();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(deployment["spec"]["replicas"], 2);
    let spread = &pod["topologySpreadConstraints"][0];
    assert_eq!((&spread["topologyKey"], &spread["maxSkew"]), (&json!("kubernetes.io/hostname"), &json!(1)));
    assert_eq!((&spread["minDomains"], &spread["whenUnsatisfiable"]), (&json!(2), &json!("DoNotSchedule")), "a number, and no wish");
    assert_eq!(spread["nodeTaintsPolicy"], "Honor");
    assert_eq!(pod["nodeSelector"], json!({ "kubernetes.io/os": "linux" }));
    let terms = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let keys: Vec<&Value> = terms.as_array().unwrap().iter().map(|term| &term["matchExpressions"][0]["key"]).collect();
    assert_eq!(keys, ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/worker"]);
}

#[test]
fn metallb_has_the_clusters_pool() {
    let objects = manifests("metallb");
    assert_eq!(one(&objects, "IPAddressPool")["spec"], json!({ "addresses": ["192.168.3.30-192.168.3.254"] }));
    let pool = one(&objects, "IPAddressPool")["metadata"]["name"].clone();
    assert_eq!(one(&objects, "L2Advertisement")["spec"], json!({ "ipAddressPools": [pool] }));
    for object in &objects {
        assert_eq!((&object["apiVersion"], &object["metadata"]["namespace"]), (&json!("metallb.io/v1beta1"), &json!("metallb-system")));
    }
}

#[test]
fn volumes_come_from_the_clusters_export() {
    let objects = manifests("nfs");
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    let export = json!({ "server": "192.168.3.1", "path": "/srv/nfs/kubenet" });
    assert_eq!(pod["volumes"][0]["nfs"], export);
    let env = pod["containers"][0]["env"].as_array().unwrap();
    let of = |name: &str| env.iter().find(|pair| pair["name"] == name).unwrap()["value"].clone();
    assert_eq!(json!({ "server": of("NFS_SERVER"), "path": of("NFS_PATH") }), export);
    let class = one(&objects, "StorageClass");
    assert_eq!(class["provisioner"], of("PROVISIONER_NAME"));
    assert_eq!(class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"], "true");
    let binding = one(&objects, "ClusterRoleBinding");
    let role = one(&objects, binding["roleRef"]["kind"].as_str().unwrap());
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    // A single replica, replaced after it is gone: no election is possible.
    let deployment = one(&objects, "Deployment");
    let one_at_a_time = (&deployment["spec"]["replicas"], &deployment["spec"]["strategy"]["type"]);
    assert_eq!((one_at_a_time, of("ENABLE_LEADER_ELECTION")), ((&json!(1), &json!("Recreate")), json!("false")));
}

/// Preloaded images are never pulled, however early a pod is.
#[test]
fn pods_have_their_preloaded_images_or_none() {
    for name in ["coredns", "nfs"] {
        let container = one(&manifests(name), "Deployment")["spec"]["template"]["spec"]["containers"][0].clone();
        assert_eq!(container["imagePullPolicy"], "Never", "{name}");
    }
}

#[test]
fn systemd_accepts_the_unit() {
    let files = texts(Part::Addons, &facts("upstream"));
    systemd_accepts("kbake-addons.service", &files, &[]);
}
