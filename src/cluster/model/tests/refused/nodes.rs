//! Names, endpoints, labels, disks and exports of nodes.

use super::super::{file, node};
use super::{KEY, refused, worker};

#[test]
fn names() {
    let long = "n".repeat(52);
    refused(&[
        (file(&node("etcd", "")).replace("lab", "Lab"), &["cluster name `Lab`: `L` is upper case"], &[1]),
        (worker("name = \"Worker\""), &["host name `Worker`: `W` is upper case; Kubernetes takes lower-case names only"], &[8]),
        (worker("name = \"worker_\"\ncount = 2"), &["host name `worker_0`: `_` is not allowed in host names; use `-`"], &[8]),
        (worker("name = \"10\""), &["has only digits"], &[8]),
        (worker("name = \"a.b\""), &["has a dot"], &[8]),
        (file(&node("etcd", &format!("name = \"{}\"\ncount = 2", "n".repeat(63)))), &["may have 63 bytes, this has 64"], &[6]),
        (worker(&format!("name = \"{long}\"\ncount = 1")), &["0` has 53 bytes; 52 are allowed, since `system:node:`"], &[8]),
        (
            worker("name = \"control\""),
            &["the node of role worker and the node of role control-plane have the same name `control`", "hint: give each its own `name`"],
            &[5, 8],
        ),
        (
            worker("[[node]]\nrole = \"worker\""),
            &["the node of role worker and another one have the same name `worker`", "the other one is here", "`count`"],
            &[7, 9],
        ),
        (
            worker("count = 3\n[[node]]\nrole = \"worker\"\nname = \"worker1\""),
            &["the node of role worker and one of the 3 nodes `worker…` have the same name `worker1`"],
            &[7, 11],
        ),
        (worker("name = \"kubernetes\""), &["node `kubernetes` and the API server have the same name", "by default"], &[8]),
        (
            worker("name = \"api\"\n[api]\nname = \"api.lab.internal\""),
            &["node `api` and the API server have the same name", "the API server's name is here"],
            &[8, 10],
        ),
        (worker("[api]\nname = \"a.b.lab.internal\""), &["`a.b.lab.internal` cannot be the API server's name", "NAME.lab.internal"], &[9]),
        (worker("[api]\nname = \"lab.internal\""), &["`lab.internal` cannot be the API server's name"], &[9]),
        (
            worker("[api]\nname = \"kubernetes.default.svc.cluster.local\""),
            &["is a name of services in cluster.local, which only pods can resolve"],
            &[9],
        ),
        (
            format!("domain = \"lab.cluster.local\"\n{}", worker("")),
            &["the nodes' domain lab.cluster.local is the services' domain cluster.local or in it", "by default", "lab.internal"],
            &[1],
        ),
        (
            format!("domain = \"lab\"\n{}", worker("[services]\ndomain = \"lab\"")),
            &["the nodes' domain lab is the services' domain lab or in it", "the services' domain is here"],
            &[1, 10],
        ),
    ]);
}

#[test]
fn endpoints() {
    let gateways = "[[node]]\nrole = \"gateway\"\ncount = 2";
    refused(&[
        (worker("[api]\nvip = \"192.168.7.9\""), &["virtual address needs a node of role gateway, and there is none", "hint: add"], &[9]),
        (
            worker(&format!("[api]\nvip = \"192.168.7.9\"\n{gateways}")),
            &["2 nodes of role gateway cannot share one virtual address"],
            &[9, 11],
        ),
        (worker(gateways), &["2 nodes of role gateway have no address in common for the API server", "keep one gateway"], &[9]),
        (
            worker("[[node]]\nrole = \"control-plane\"\nname = \"second\""),
            &["2 control-plane nodes have no address in common for the API server", "hint: add one node of role gateway", "full DNS name"],
            &[5, 9],
        ),
        (file(&node("worker", "")), &["no node runs an API server", "hint: add a node of role control-plane"], &[5]),
        (file(&format!("[api]\nport = 443\n{}", node("etcd", ""))), &["no node runs an API server"], &[7]),
        (worker("[api]\nport = 2379"), &["the API server cannot have port 2379: it is etcd's", "without `port` it is 6443"], &[9]),
        (worker("[api]\nport = 31000"), &["for services of type NodePort"], &[9]),
        (worker("[api]\nport = 0"), &["`port` is 0; it must be 1 to 65535"], &[9]),
    ]);
}

#[test]
fn labels_taints_keys_exports_and_days() {
    refused(&[
        (worker("pod-cidr = \"10.244.9.0/24\"\n[pods]\nnetwork = \"none\""), &["`pod-cidr` is only for", "`network` is here"], &[8, 10]),
        (file(&node("gateway", "labels = { a = \"b\" }")), &["a node of role gateway has no kubelet, so it cannot have labels"], &[5, 6]),
        (file(&node("etcd", "taints = [\"a:NoSchedule\"]")), &["so it cannot have taints"], &[5, 6]),
        (
            worker("labels = { \"node-role.kubernetes.io/worker\" = \"\" }"),
            &["a kubelet may not give its own node the label", "hint: "],
            &[8],
        ),
        (worker("labels = { \"a/b/c\" = \"\" }"), &["label key `a/b/c`"], &[8]),
        (worker("labels = { \"A.example/b\" = \"\" }"), &["its prefix must be a DNS name in lower case"], &[8]),
        (worker("labels = { \"-a.example/b\" = \"\" }"), &["its prefix must be a DNS name"], &[8]),
        (worker("labels = { \"/b\" = \"\" }"), &["its prefix must be a DNS name"], &[8]),
        (worker(&format!("labels = {{ \"{}/b\" = \"\" }}", "a".repeat(254))), &["has 254 bytes; 253 are allowed"], &[8]),
        (
            worker("taints = [\"a=1:NoSchedule\",\n\"a=2:NoSchedule\"]"),
            &["key `a` and effect NoSchedule is given twice", "first here"],
            &[8, 9],
        ),
        (worker("taints = [\"a=1:Never\"]"), &["unknown effect `Never`"], &[8]),
        (
            file(&node("control-plane", "taints = [\"node-role.kubernetes.io/control-plane:NoSchedule\"]")),
            &["the control plane's own", "leave it out"],
            &[6],
        ),
        (format!("ssh-keys = [\"{KEY} a\",\n\"{KEY} b\"]\n{}", worker("")), &["this ssh key is given twice", "first here"], &[1, 2]),
        (worker("[[export]]\npath = \"/srv\"\n[[export]]\npath = \"/srv\""), &["the export /srv is given twice"], &[9, 11]),
        (worker("[[export]]\npath = \"srv\""), &["an exported folder is an absolute path"], &[9]),
        (worker("[[export]]\npath = \"/srv/a&b\""), &["of letters, digits and"], &[9]),
        (worker("[[export]]\npath = \"/srv/\""), &["without `.`, `..`, doubled and final `/`"], &[9]),
        (worker("[[export]]\npath = \"/srv/../etc\""), &["without `.`, `..`"], &[9]),
        (worker("[[export]]\npath = \"/\""), &["is not `/` itself"], &[9]),
        (worker("[[export]]\npath = \"/srv\"\noptions = \"rw,,sync\""), &["words with commas between"], &[10]),
        (worker("[[export]]\npath = \"/srv\"\noptions = \"rw) *(rw\""), &["words with commas between"], &[10]),
        (
            worker("[pki]\nca-days = 30\ncertificate-days = 90"),
            &["certificates of 90 days (`certificate-days`) would outlive their authority of 30 days (`ca-days`)", "`ca-days` is here"],
            &[9, 10],
        ),
        (worker("[pki]\ncertificate-days = 9000"), &["authority of 3650 days", "by default"], &[9]),
        (worker("[pki]\nca-days = 0"), &["`ca-days` is 0"], &[9]),
    ]);
}

#[test]
fn too_many_nodes() {
    let text = file(&(0..21).map(|n| node("etcd", &format!("name = \"e{n}-\"\ncount = 500\n"))).collect::<String>());
    refused(&[(text, &["more than 10000 nodes from here on", "hint: "], &[84])]);
}

#[test]
fn names_of_the_api_server_data_disks_and_additions() {
    refused(&[
        (worker("[api]\nsans = [\"a.example\", \"a.example\"]"), &["the name a.example is given twice"], &[9]),
        (worker("[api]\nsans = [\"2001:db8::1\"]"), &["IPv6", "IPv4 addresses so far"], &[9]),
        (worker("[api]\nsans = [\"*.example\"]"), &["`*` is not allowed"], &[9]),
        (worker("data-disk = \"20 GiB\""), &["`data-disk` needs `data-mount`", "/var/lib/etcd"], &[8]),
        (worker("data-mount = \"/srv/a\""), &["`data-mount` needs `data-disk`"], &[8]),
        (
            worker("data-mount = \"/srv/a\"\ndata-disk = \"1 MiB\""),
            &["`data-disk` of node `worker` is 1.0 MiB; it takes 64 MiB at least"],
            &[9],
        ),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"srv\""), &["must be an absolute path"], &[9]),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"/srv/../etc\""), &["must be an absolute path"], &[9]),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"/srv/a b\""), &["must be an absolute path"], &[9]),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"/etc\""), &["`/etc` is not below /var/lib/", "would hide files of the image"], &[9]),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"/var/lib/cloud/x\""), &["would hide /var/lib/cloud"], &[9]),
        (
            worker("data-disk = \"1 GiB\"\ndata-mount = \"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs\""),
            &["is a part of containerd's data", "all of /var/lib/containerd"],
            &[9],
        ),
        (worker("user-data = [\"a\"]"), &["`user-data` must be a string"], &[8]),
    ]);
}
