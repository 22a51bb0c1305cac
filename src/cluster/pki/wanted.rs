//! The table of the certificates that a cluster needs. Pure: it knows nothing of their creation and storage.
//!
//! Names and groups are those that Kubernetes' authorisers have built in
//! (<https://kubernetes.io/docs/setup/best-practices/certificates/>). Each client identity of the API server is a certificate
//! of its own, and etcd has its own authority: otherwise any certificate of the cluster would give access to all of etcd.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cluster::model::{Cluster, HostName, HostRef, Node, ProxyMode, Role};

/// An authority. Each is a root of its own, so that a certificate is accepted by one kind of server only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// The API server, its clients, and kubelets.
    Cluster,
    /// etcd's members and their clients.
    Etcd,
    /// The API server towards extension API servers (`--requestheader-client-ca-file`).
    FrontProxy,
}

impl Authority {
    /// All authorities, in the order of creation and display.
    pub const ALL: [Authority; 3] = [Authority::Cluster, Authority::Etcd, Authority::FrontProxy];

    /// Its name in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Authority::Cluster => "ca",
            Authority::Etcd => "etcd-ca",
            Authority::FrontProxy => "front-proxy-ca",
        }
    }

    /// The subject of an authority made by kbake. It includes the cluster's name: users have more than one cluster.
    pub(super) fn common_name(self, cluster: &str) -> String {
        format!("{cluster}-{}", self.name())
    }
}

/// The purpose of a node's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The client that applies the cluster's add-ons. It has all rights, since no role is bound yet; one node has it.
    Addons,
    /// The API server's own serving certificate.
    Apiserver,
    /// The API server as a client of etcd.
    ApiserverEtcdClient,
    /// The API server as a client of kubelets. It has no group: its name is to be bound to `system:kubelet-api-admin`.
    ApiserverKubeletClient,
    /// The controller manager as a client. It serves on 127.0.0.1 only, with a certificate that it makes itself.
    ControllerManager,
    /// An etcd member towards other members.
    EtcdPeer,
    /// An etcd member towards clients, and as the client that its own gRPC gateway is.
    EtcdServer,
    /// The API server as the proxy that extension API servers trust.
    FrontProxyClient,
    /// kube-proxy as a client.
    KubeProxy,
    /// The kubelet, serving and as a client.
    Kubelet,
    /// The scheduler as a client. It serves as the controller manager does.
    Scheduler,
}

impl Purpose {
    /// Its name in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Addons => "addons",
            Purpose::Apiserver => "apiserver",
            Purpose::ApiserverEtcdClient => "apiserver-etcd-client",
            Purpose::ApiserverKubeletClient => "apiserver-kubelet-client",
            Purpose::ControllerManager => "controller-manager",
            Purpose::EtcdPeer => "etcd-peer",
            Purpose::EtcdServer => "etcd-server",
            Purpose::FrontProxyClient => "front-proxy-client",
            Purpose::KubeProxy => "kube-proxy",
            Purpose::Kubelet => "kubelet",
            Purpose::Scheduler => "scheduler",
        }
    }
}

/// A certificate's name. As text it is the argument of `kbake pki renew`: `admin`, `control0/apiserver`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A person with all rights, which the cluster grants to a group and can revoke.
    Admin,
    /// A person, or a health check, as a client of etcd.
    EtcdAdmin,
    /// A person with all rights while the certificate is valid, whatever the cluster's roles say: for the case that nobody else
    /// has any left.
    SuperAdmin,
    /// A node's certificate.
    Node(HostName, Purpose),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Admin => f.write_str("admin"),
            Name::EtcdAdmin => f.write_str("etcd-admin"),
            Name::SuperAdmin => f.write_str("super-admin"),
            Name::Node(node, purpose) => write!(f, "{node}/{}", purpose.name()),
        }
    }
}

impl Name {
    /// True if a cluster works without it: seeds do not need it, and folders of earlier versions have none.
    pub fn is_optional(&self) -> bool {
        *self == Name::SuperAdmin
    }
}

/// The group of the certificate for daily use. The add-on `rbac` binds it to `cluster-admin`; without that it has no rights.
pub(super) const ADMINS: &str = "kbake:cluster-admins";

/// The group with all rights, whatever is bound: they cannot be revoked before the certificate ends
/// (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles>).
pub(super) const MASTERS: &str = "system:masters";

/// The use of a certificate in TLS (RFC 5280 section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A server.
    Server,
    /// A client.
    Client,
    /// Both.
    Both,
}

impl Usage {
    pub(super) fn server(self) -> bool {
        self != Usage::Client
    }

    pub(super) fn client(self) -> bool {
        self != Usage::Server
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Usage::Server => "server",
            Usage::Client => "client",
            Usage::Both => "server+client",
        })
    }
}

/// One certificate that the cluster needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: Name,
    /// Its issuer.
    pub issuer: Authority,
    /// The subject's CN: the user's name to Kubernetes.
    pub common_name: String,
    /// The subject's O: the user's group to Kubernetes.
    pub organization: Option<&'static str>,
    /// Its DNS names.
    pub dns: BTreeSet<String>,
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Its use.
    pub usage: Usage,
}

/// All certificates of a cluster, sorted by name.
pub(crate) fn wanted(cluster: &Cluster) -> Vec<Wanted> {
    let mut all = vec![
        client(Name::Admin, Authority::Cluster, "kubernetes-admin", Some(ADMINS)),
        client(Name::EtcdAdmin, Authority::Etcd, "etcd-admin", None),
        client(Name::SuperAdmin, Authority::Cluster, "kubernetes-super-admin", Some(MASTERS)),
    ];
    for node in &cluster.nodes {
        if node.role.has_kubelet() {
            all.push(kubelet(node));
        }
        if node.role.has_kubelet() && cluster.services.proxy != ProxyMode::None {
            all.push(kube_proxy(node));
        }
        if cluster.applies_addons(node) {
            all.push(client(name(node, Purpose::Addons), Authority::Cluster, "kbake-addons", Some(MASTERS)));
        }
        if node.role == Role::ControlPlane {
            all.extend(control_plane(cluster, node));
        }
        if cluster.is_etcd_member(node) {
            all.extend(etcd(node));
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn client(name: Name, issuer: Authority, common_name: &str, organization: Option<&'static str>) -> Wanted {
    let (dns, addresses) = (BTreeSet::new(), BTreeSet::new());
    Wanted { name, issuer, common_name: common_name.to_owned(), organization, dns, addresses, usage: Usage::Client }
}

fn name(node: &Node, purpose: Purpose) -> Name {
    Name::Node(node.name.clone(), purpose)
}

/// Adds this node's names to `wanted`, as a server.
fn serving(node: &Node, wanted: Wanted, usage: Usage) -> Wanted {
    let dns = [node.name.to_string(), node.fqdn.clone()].into();
    Wanted { dns, addresses: [node.address.into()].into(), usage, ..wanted }
}

/// Adds the names of the loopback interface to `wanted`.
fn on_loopback(wanted: &mut Wanted) {
    wanted.dns.insert(LOCALHOST.to_owned());
    wanted.addresses.extend([IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]);
}

const LOCALHOST: &str = "localhost";

impl Wanted {
    /// The form that earlier versions gave the certificate; existing clusters keep it.
    pub(super) fn earlier(&self) -> Option<Wanted> {
        let mut earlier = self.clone();
        match &self.name {
            Name::Admin => earlier.organization = Some(MASTERS),
            Name::Node(_, Purpose::Apiserver) => {
                earlier.dns.remove(LOCALHOST);
                earlier.addresses.remove(&Ipv6Addr::LOCALHOST.into());
            }
            Name::Node(_, Purpose::EtcdServer) => _ = earlier.addresses.remove(&Ipv6Addr::LOCALHOST.into()),
            _ => return None,
        }
        Some(earlier)
    }
}

fn kubelet(node: &Node) -> Wanted {
    // The node authoriser takes the node's name from the CN.
    let user = format!("system:node:{}", node.name);
    let kubelet = client(name(node, Purpose::Kubelet), Authority::Cluster, &user, Some("system:nodes"));
    serving(node, kubelet, Usage::Both)
}

fn kube_proxy(node: &Node) -> Wanted {
    client(name(node, Purpose::KubeProxy), Authority::Cluster, "system:kube-proxy", Some("system:node-proxier"))
}

fn control_plane(cluster: &Cluster, node: &Node) -> [Wanted; 6] {
    let of = |purpose, issuer, user, group| client(name(node, purpose), issuer, user, group);
    let mut server = serving(node, of(Purpose::Apiserver, Authority::Cluster, "kube-apiserver", None), Usage::Server);
    let (names, addresses) = api_endpoint(cluster);
    server.dns.extend(names);
    server.addresses.extend(addresses);
    on_loopback(&mut server);
    let (manager, scheduler) = ("system:kube-controller-manager", "system:kube-scheduler");
    [
        server,
        of(Purpose::ApiserverKubeletClient, Authority::Cluster, "kube-apiserver-kubelet-client", None),
        of(Purpose::ApiserverEtcdClient, Authority::Etcd, "kube-apiserver-etcd-client", None),
        of(Purpose::FrontProxyClient, Authority::FrontProxy, "front-proxy-client", None),
        of(Purpose::ControllerManager, Authority::Cluster, manager, Some(manager)),
        of(Purpose::Scheduler, Authority::Cluster, scheduler, Some(scheduler)),
    ]
}

/// The names and addresses of an API server beside its node's: pods use the service `kubernetes`, all others the endpoint.
fn api_endpoint(cluster: &Cluster) -> (Vec<String>, Vec<IpAddr>) {
    let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
    let mut names = Vec::from(service);
    names.push(format!("kubernetes.default.svc.{}", cluster.services.domain));
    let mut addresses = vec![cluster.services.api().into()];
    if let Some(api) = &cluster.api {
        names.extend([api.name.to_string(), api.name.fqdn(&cluster.domain)]);
        addresses.extend(api.address.map(IpAddr::from));
        for san in &api.sans {
            match san {
                HostRef::Name(name) => names.push(name.to_string()),
                HostRef::Address(address) => addresses.push((*address).into()),
            }
        }
    }
    (names, addresses)
}

fn etcd(node: &Node) -> [Wanted; 2] {
    let of = |purpose| client(name(node, purpose), Authority::Etcd, node.name.as_str(), None);
    let mut server = serving(node, of(Purpose::EtcdServer), Usage::Both);
    on_loopback(&mut server);
    [server, serving(node, of(Purpose::EtcdPeer), Usage::Both)]
}
