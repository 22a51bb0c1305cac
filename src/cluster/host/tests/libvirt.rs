use super::*;
use crate::cluster::host::xml::tests::{Found, expat};
use crate::cluster::model::{Firmware, Mode};

/// Validates against libvirt's own schemas.
fn validate(document: &str, schema: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("document.xml");
    std::fs::write(&file, document).unwrap();
    // It runs xmllint, and says so when that one is missing.
    let output = run(Command::new("virt-xml-validate").arg(&file).arg(schema), b"");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!message.contains("xmllint: not found"), "xmllint is missing: run tests/setup.sh");
    assert!(output.status.success(), "{message}\n{document}");
}

/// Passes documents to libvirt's test driver, and returns its form of the last one.
fn virsh(documents: &[&str], commands: &str) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    for (number, document) in documents.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number}.xml")), document).unwrap();
    }
    let mut command = Command::new("virsh");
    // Without the user's own configuration.
    command.current_dir(&folder).env("HOME", folder.path()).args(["--quiet", "--connect", "test:///default", commands]);
    let said = run_ok(&mut command, b"");
    let start = said.rfind("<network").into_iter().chain(said.rfind("<domain type")).min().unwrap_or_else(|| panic!("{said}"));
    expat(&[said[start..].to_owned()]).remove(0)
}

fn forward(mode: &Mode) -> Vec<[String; 2]> {
    let uplink = |uplink: &Option<crate::cluster::model::Interface>| uplink.as_ref().map(ToString::to_string).unwrap_or_default();
    match mode {
        Mode::Isolated => vec![],
        Mode::Open => vec![["open".to_owned(), String::new()]],
        Mode::Bridged => vec![["bridge".to_owned(), String::new()]],
        Mode::Route { uplink: dev } => vec![["route".to_owned(), uplink(dev)]],
        Mode::Nat { uplink: dev, .. } => vec![["nat".to_owned(), uplink(dev)]],
    }
}

#[test]
fn libvirt_makes_the_network_that_was_meant() {
    for (name, cluster) in all().into_iter().filter(|(_, cluster)| cluster.network.mode != Mode::Bridged) {
        let document = network_xml(&cluster);
        validate(&document, "network");
        let dumped = virsh(&[&document], &format!("net-define 0.xml; net-start {0}; net-dumpxml {0}", cluster.name));
        let (found, network) = (Found(&dumped), &cluster.network);
        assert_eq!(found.one("name").text(), cluster.name.to_string());
        assert_eq!(found.one("uuid").text(), network.uuid.to_string());
        let bridge = [network.bridge.to_string(), "on".into(), "0".into()];
        assert_eq!(found.one("bridge").attributes(["name", "stp", "delay"]), bridge);
        assert_eq!(found.one("mac").attributes(["address"]), [network.mac.to_string()]);
        assert_eq!(
            found.one("domain").attributes(["name", "localOnly"]),
            [cluster.domain.to_string(), if network.local_only { "yes" } else { "no" }.to_owned(),]
        );
        let mtu: Vec<String> = found.all("mtu").iter().flat_map(|mtu| mtu.attributes(["size"])).collect();
        assert_eq!(mtu, network.mtu.map(|mtu| mtu.to_string()).into_iter().collect::<Vec<_>>(), "{name}");
        let ip = [network.host.to_string(), network.cidr.prefix().to_string()];
        assert_eq!(found.one("ip").attributes(["address", "prefix"]), ip);

        let forwards: Vec<_> = found.all("forward").iter().map(|forward| forward.attributes(["mode", "dev"])).collect();
        assert_eq!(forwards, forward(&network.mode), "{name}");
        let ports: Vec<_> = found.all("forward/nat/port").iter().map(|port| port.attributes(["start", "end"])).collect();
        let expected = match network.mode {
            Mode::Nat { ports: Some((first, last)), .. } => vec![[first.to_string(), last.to_string()]],
            _ => vec![],
        };
        assert_eq!(ports, expected, "{name}");

        let ranges: Vec<_> = found.all("ip/dhcp/range").iter().map(|range| range.attributes(["start", "end"])).collect();
        let expected: Vec<_> = network.dhcp.iter().map(|range| [range.first().to_string(), range.last().to_string()]).collect();
        assert_eq!(ranges, expected, "{name}");
        let reserved: Vec<_> = found.all("ip/dhcp/host").iter().map(|host| host.attributes(["mac", "name", "ip"])).collect();
        let expected: Vec<_> =
            cluster.nodes.iter().map(|node| [node.mac.to_string(), node.name.to_string(), node.address.to_string()]).collect();
        assert_eq!(reserved, expected, "{name}");
        let routes: Vec<_> = found.all("route").iter().map(|route| route.attributes(["address", "prefix", "gateway"])).collect();
        let with_pods = cluster.nodes.iter().filter_map(|node| Some((node, node.pods?)));
        let expected: Vec<_> =
            with_pods.map(|(node, pods)| [pods.first().to_string(), pods.prefix().to_string(), node.address.to_string()]).collect();
        assert_eq!(routes, expected, "{name}");

        names_are_as_meant(found, &name, &cluster);
    }
}

/// libvirt gets the name of an existing bridge, and nothing about a network that it does not manage.
#[test]
fn a_bridge_of_somebody_else_s_has_no_leases_and_no_names() {
    let (_, cluster) = all().into_iter().find(|(name, _)| name == "lan").unwrap();
    let document = network_xml(&cluster);
    validate(&document, "network");
    let dumped = virsh(&[&document], "net-define 0.xml; net-start lan; net-dumpxml lan");
    let found = Found(&dumped);
    assert_eq!(found.all("forward").iter().map(|forward| forward.attributes(["mode"])).collect::<Vec<_>>(), [["bridge".to_owned()]]);
    assert_eq!(found.one("bridge").attributes(["name"]), ["br0"]);
    for absent in ["ip", "dns", "domain", "mac", "route"] {
        assert!(found.all(absent).is_empty(), "{absent}");
    }
}

/// Each name once, at the right address.
fn names_are_as_meant(network: Found<'_>, name: &str, cluster: &Cluster) {
    let mut found = Vec::new();
    for host in network.all("dns/host") {
        let [address] = host.attributes(["ip"]);
        found.extend(host.all("hostname").iter().map(|name| (name.text(), address.clone())));
    }
    let of_node = |node: &Node| [(node.fqdn.clone(), node.address.to_string()), (node.name.to_string(), node.address.to_string())];
    let mut expected: Vec<_> = cluster.nodes.iter().flat_map(of_node).collect();
    if let Some((api, address)) = cluster.api.as_ref().and_then(|api| Some((api, api.address?))) {
        expected.push((api.name.to_string(), address.to_string()));
        expected.push((api.name.fqdn(&cluster.domain), address.to_string()));
    }
    for list in [&mut found, &mut expected] {
        list.sort();
    }
    expected.dedup();
    assert_eq!(found, expected, "{name}");
}

/// The virtual address has no lease, so its name must be a static one.
#[test]
fn the_virtual_address_has_its_name() {
    let (_, cluster) = shipped().into_iter().find(|(name, _)| name == "kubenet").unwrap();
    let found = expat(&[network_xml(&cluster)]).remove(0);
    let hosts = Found(&found).all("dns/host");
    assert_eq!(hosts[0].attributes(["ip"]), ["192.168.3.21"]);
    let names: Vec<String> = hosts[0].all("hostname").iter().map(|name| name.text()).collect();
    assert_eq!(names, ["kubernetes.kubenet", "kubernetes"]);
    assert_eq!(hosts.len(), 8);
}

#[test]
fn libvirt_makes_the_machines_that_were_meant() {
    for (at, (name, cluster)) in all().into_iter().enumerate() {
        for node in one_per_role(&cluster) {
            let mut files = files_in(FOLDERS[at % FOLDERS.len()], node);
            if at % 3 == 2 {
                files.seed = None;
            }
            for (accel, kind) in [(Accel::Kvm, "kvm"), (Accel::Emulated, "qemu"), (Accel::Hvf, "hvf")] {
                let document = domain_xml(&cluster, node, &files, accel);
                validate(&document, "domain");
                if accel == Accel::Hvf {
                    // The driver on Linux knows no such machines.
                    continue;
                }
                let machine = domain_name(&cluster, node);
                let commands = format!("net-define 0.xml; net-start {}; define 1.xml; start {machine}; dumpxml {machine}", cluster.name);
                let dumped = virsh(&[&network_xml(&cluster), &document], &commands);
                machine_is_as_meant(Found(&dumped), &name, &cluster, node, &files);
                assert_eq!(Found(&dumped).attributes(["type"]), [kind]);
            }
        }
    }
}

fn machine_is_as_meant(found: Found<'_>, name: &str, cluster: &Cluster, node: &Node, files: &MachineFiles) {
    assert_eq!(found.one("name").text(), format!("{}-{}", cluster.name, node.name));
    assert_eq!(found.one("uuid").text(), node.uuid.to_string());
    assert_eq!(found.one("memory").attributes(["unit"]), ["KiB"]);
    assert_eq!(found.one("memory").text(), (node.memory.0 / 1024).to_string(), "{name}");
    assert_eq!(found.one("vcpu").text(), node.vcpus.to_string());
    assert_eq!(found.one("os/type").attributes(["arch", "machine"]), ["x86_64", "q35"]);
    let efi = if node.firmware == Firmware::Uefi { "efi" } else { "" };
    assert_eq!(found.one("os").attributes(["firmware"]), [efi], "{name}");

    // The very MAC of the reservation, on the very network.
    assert_eq!(found.one("devices/interface/mac").attributes(["address"]), [node.mac.to_string()]);
    // libvirt's test driver adds values that it has resolved; only the requested ones are compared.
    match cluster.network.mode {
        Mode::Bridged => assert_eq!(found.one("devices/interface/source").attributes(["network", "bridge"]), ["", "br0"]),
        _ => assert_eq!(found.one("devices/interface/source").attributes(["network"]), [cluster.name.to_string()]),
    }
    assert_eq!(found.one("devices/interface/model").attributes(["type"]), ["virtio"]);

    let disks = found.all("devices/disk");
    assert_eq!(disks.len(), 1 + usize::from(files.seed.is_some()) + usize::from(files.data.is_some()), "{name}");
    assert_eq!(files.data.is_some(), node.data.is_some(), "{name}");
    if let (Some(data), Some(disk)) = (&files.data, disks.last()) {
        assert_eq!(disk.one("source").attributes(["file"]), [data.to_string()]);
        assert_eq!(disk.one("target").attributes(["dev", "bus"]), ["vdc", "virtio"]);
        assert_eq!(disk.one("serial").text(), "kbake-data");
        assert!(disk.all("readonly").is_empty());
    }
    assert_eq!(disks[0].one("source").attributes(["file"]), [files.disk.to_string()]);
    assert_eq!(disks[0].one("driver").attributes(["type"]), ["qcow2"]);
    assert!(disks[0].all("backingStore").is_empty(), "{name}: the disk itself says what it lies on");
    assert!(disks[0].all("readonly").is_empty());
    if let Some(seed) = &files.seed {
        assert_eq!(disks[1].one("source").attributes(["file"]), [seed.to_string()]);
        assert_eq!(disks[1].one("driver").attributes(["type"]), ["raw"]);
        disks[1].one("readonly");
    }
    assert!(found.all("devices/graphics").is_empty());
    found.one("devices/serial");
    found.one("devices/rng");
}

/// One host can have all of them at once: no name or UUID occurs twice.
#[test]
fn clusters_do_not_meet_on_a_host() {
    let (mut documents, mut commands) = (Vec::new(), String::new());
    let clusters = all();
    for (_, cluster) in &clusters {
        commands.push_str(&format!("net-define {}.xml; ", documents.len()));
        documents.push(network_xml(cluster));
        for node in &cluster.nodes {
            commands.push_str(&format!("define {}.xml; ", documents.len()));
            documents.push(domain_xml(cluster, node, &files_in("/srv", node), Accel::Kvm));
        }
    }
    let (_, last) = clusters.last().unwrap();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    virsh(&documents, &format!("{commands}dumpxml {}", domain_name(last, &last.nodes[0])));
}
