//! Two pods on a node's runtime, CNI plugins and images.

use std::net::Ipv4Addr;

use super::messages::{LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping};
use super::{Container, Cri};

/// The server's ports: in its pod, and by `hostPort` on its node.
pub const PORT: u16 = 8080;
pub const NODE_PORT: u16 = 18080;

/// A pod with one container.
pub struct Pod {
    pub sandbox: String,
    pub address: Ipv4Addr,
    pub container: Container,
}

impl Pod {
    /// Starts a pod that runs busybox with `args`, from an image that the node has.
    fn start(cri: &Cri, name: &str, image: &str, cgroup: &str, ports: Vec<PortMapping>, args: &[&str]) -> Pod {
        let metadata = PodSandboxMetadata { name: name.into(), uid: format!("uid-of-{name}"), namespace: "default".into(), attempt: 0 };
        let config = PodSandboxConfig {
            metadata: Some(metadata),
            hostname: name.into(),
            port_mappings: ports,
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: cgroup.into() }),
        };
        let sandbox = cri.run_sandbox(&config);
        let status = cri.sandbox(&sandbox);
        assert_eq!(status.state, 0, "{name} is ready");
        let address = status.network.unwrap_or_default().ip;
        let address = address.parse().unwrap_or_else(|_| panic!("{name} has no address, but `{address}`"));
        let container = cri.start(&sandbox, &config, image, args);
        Pod { sandbox, address, container }
    }

    /// The body of the answer from `address` to a request of the pod. By netcat: the wget of Debian's static busybox looks for
    /// libraries, and fails without them.
    fn get(&self, cri: &Cri, address: Ipv4Addr, port: u16) -> String {
        let busybox = "/usr/local/bin/busybox";
        let script = format!("{busybox} printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | {busybox} nc -w 30 {address} {port}");
        let said = cri.exec(&self.container, &[busybox, "sh", "-c", &script]);
        assert_eq!(said.status, 0, "{address}:{port}: {}", said.stderr);
        said.stdout.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{address}:{port}: {said:?}")).1.to_owned()
    }
}

/// Starts a web server and a client, each in a pod of its own, and checks that they reach each other. `in_share` is true for an address
/// of the node's share of the pods' network. Both pods still run at the end.
pub fn two_pods_talk(cri: &Cri, image: &str, cgroup: &str, node: Ipv4Addr, in_share: impl Fn(Ipv4Addr) -> bool) -> [Pod; 2] {
    for condition in cri.conditions() {
        assert!(condition.status, "{}: {} {}", condition.r#type, condition.reason, condition.message);
    }
    let port = PortMapping { protocol: 0, container_port: PORT.into(), host_port: NODE_PORT.into() };
    // /etc has a file to serve: the runtime puts `hostname` there for each container.
    let serve = ["httpd", "-f", "-p", &PORT.to_string(), "-h", "/etc"];
    let server = Pod::start(cri, "server", image, cgroup, vec![port], &serve);
    let client = Pod::start(cri, "client", image, cgroup, Vec::new(), &["sleep", "3600"]);
    for pod in [&server, &client] {
        assert!(in_share(pod.address), "{} is not of the node's share of the pods' network", pod.address);
    }
    assert_ne!(server.address, client.address);

    let ping = cri.exec(&client.container, &["/usr/local/bin/busybox", "ping", "-c", "1", "-W", "20", &server.address.to_string()]);
    assert_eq!(ping.status, 0, "{}{}", ping.stdout, ping.stderr);
    assert_eq!(client.get(cri, server.address, PORT), "server\n");
    // By the port of the node, and so back over the bridge: the second is the hairpin, as with a pod's own service.
    assert_eq!(client.get(cri, node, NODE_PORT), "server\n");
    assert_eq!(server.get(cri, node, NODE_PORT), "server\n", "a pod reaches itself by way of its node");
    [server, client]
}
