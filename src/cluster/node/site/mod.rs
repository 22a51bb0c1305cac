//! Files with a node's site settings. They exist only if there are such settings, and the image's programs read them then.

use super::NodeFile;
use crate::cluster::model::{ApiName, Cluster, Mirror, Node, Proxy, WebUrl};

/// The file that the image's units of container runtimes read.
const PROXY_ENV: &str = "/etc/kubernetes/proxy.env";

/// The files; `authorities` are certificates as PEM, one each.
pub(crate) fn site_files(cluster: &Cluster, node: &Node, authorities: &[String]) -> Vec<NodeFile<'static>> {
    let site = &cluster.site;
    let mut files = Vec::new();
    if !site.ntp.is_empty() {
        let servers: Vec<String> = site.ntp.iter().map(ToString::to_string).collect();
        let text = format!("# kbake: from the node's seed.\n[Time]\nNTP={}\n", servers.join(" "));
        files.push(NodeFile::public("/etc/systemd/timesyncd.conf.d/90-kbake.conf", text));
    }
    // update-ca-certificates takes one certificate per file.
    let authority =
        |(number, pem): (usize, &String)| NodeFile::public(format!("/usr/local/share/ca-certificates/kbake-{number}.crt"), pem.clone());
    files.extend(authorities.iter().enumerate().map(authority));
    // Only these nodes run programs that pull container images.
    if node.role.has_kubelet() {
        files.extend(site.proxy.as_ref().map(|proxy| NodeFile::public(PROXY_ENV, proxy_env(cluster, proxy))));
        files.extend(site.mirrors.iter().map(containerd));
        if !site.mirrors.is_empty() {
            files.push(NodeFile::public("/etc/containers/registries.conf.d/90-kbake.conf", crio(&site.mirrors)));
        }
    }
    files
}

/// Lines `KEY=value` for systemd's `EnvironmentFile`. No value has a character that it interprets.
fn proxy_env(cluster: &Cluster, proxy: &Proxy) -> String {
    let url = |key: &str, url: &Option<WebUrl>| url.as_ref().map(|url| format!("{key}={url}\n")).unwrap_or_default();
    let services = &cluster.services;
    // The cluster's own networks: no proxy is nearer to them.
    let mut direct: Vec<String> = ["localhost", "127.0.0.0/8"].map(str::to_owned).into();
    direct.extend([cluster.network.cidr, cluster.pods.cidr, services.cidr].map(|net| net.to_string()));
    direct.extend([format!(".{}", cluster.domain), ".svc".to_owned(), format!(".{}", services.domain)]);
    direct.extend(cluster.api.iter().filter_map(|api| match &api.name {
        ApiName::Full(name) => Some(name.to_string()),
        ApiName::Short(_) => None,
    }));
    direct.extend(proxy.direct.iter().map(ToString::to_string));
    let (http, https) = (url("HTTP_PROXY", &proxy.http), url("HTTPS_PROXY", &proxy.https));
    format!("# Written from the node's seed; read by the container runtime's unit.\n{http}{https}NO_PROXY={}\n", direct.join(","))
}

/// [hosts.toml](https://github.com/containerd/containerd/blob/main/docs/hosts.md): mirrors in order; after them containerd asks
/// the registry itself.
fn containerd(mirror: &Mirror) -> NodeFile<'static> {
    let mut text = "# kbake: from the node's seed.\n".to_owned();
    for url in &mirror.urls {
        // The path is inserted between `/v2/` and an image's name, as CRI-O does; containerd alone would put it in front.
        let (address, whole) = match url.path() {
            "" => (url.to_string(), ""),
            path => (format!("{}/v2{path}", url.origin()), "  override_path = true\n"),
        };
        text.push_str(&format!("\n[host.\"{address}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{whole}"));
    }
    NodeFile::public(format!("/etc/containerd/certs.d/{}/hosts.toml", mirror.registry), text)
}

/// [containers-registries.conf](https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md).
fn crio(mirrors: &[Mirror]) -> String {
    let mut text = "# kbake: from the node's seed.\n".to_owned();
    for Mirror { registry, urls } in mirrors {
        text.push_str(&format!("\n[[registry]]\nprefix = \"{registry}\"\nlocation = \"{registry}\"\n"));
        for url in urls {
            let plain = if url.is_tls() { "" } else { "insecure = true\n" };
            text.push_str(&format!("\n[[registry.mirror]]\nlocation = \"{}\"\n{plain}", url.without_scheme()));
        }
    }
    text
}

#[cfg(test)]
mod tests;
