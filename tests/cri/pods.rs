//! Two pods by what a node's runtime, CNI plugins and images make of them.

use std::net::Ipv4Addr;

use super::messages::{LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping};
use super::{Container, Cri};

/// Where the server listens: in its pod, and by `hostPort` on its node.
pub const PORT: u16 = 8080;
pub const NODE_PORT: u16 = 18080;

/// A pod with one container.
pub struct Pod {
    pub sandbox: String,
    pub address: Ipv4Addr,
    pub container: Container,
}

impl Pod {
    /// Starts a pod whose program is a busybox that does `args`; nothing may have to be fetched for it.
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

    /// What the pod gets from `address`, whoever serves there. By netcat: Debian's static busybox has a wget that looks for
    /// libraries, and falls over where there are none.
    fn get(&self, cri: &Cri, address: Ipv4Addr, port: u16) -> String {
        let busybox = "/usr/local/bin/busybox";
        let script = format!("{busybox} printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | {busybox} nc -w 30 {address} {port}");
        let said = cri.exec(&self.container, &[busybox, "sh", "-c", &script]);
        assert_eq!(said.status, 0, "{address}:{port}: {}", said.stderr);
        said.stdout.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{address}:{port}: {said:?}")).1.to_owned()
    }
}

/// Starts a web server and a client, each in a pod of its own, and lets them find each other. `in_share` says whether an
/// address is of the node's share of the pods' network. Both pods run when it ends.
pub fn two_pods_talk(cri: &Cri, image: &str, cgroup: &str, node: Ipv4Addr, in_share: impl Fn(Ipv4Addr) -> bool) -> [Pod; 2] {
    for condition in cri.conditions() {
        assert!(condition.status, "{}: {} {}", condition.r#type, condition.reason, condition.message);
    }
    let port = PortMapping { protocol: 0, container_port: PORT.into(), host_port: NODE_PORT.into() };
    // What the kubelet gives each container to read: there is a file of the runtime's to serve.
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
