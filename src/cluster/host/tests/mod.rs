mod libvirt;
mod qemu;
mod texts;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::*;
use crate::cluster::model::{Cluster, Node, Role};
use crate::common::testing::goldens;

/// The clusters that kbake ships, by name.
fn shipped() -> Vec<(String, Cluster)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/clusters");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    let read = |file: &std::path::PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let cluster = Cluster::read(&format!("{name}.toml"), &std::fs::read_to_string(file).unwrap()).unwrap();
        (name, cluster)
    };
    files.iter().map(read).collect()
}

/// Cases that the shipped clusters lack: every mode with every option, and corner cases.
const ODD: [(&str, &str); 10] = [
    (
        "lan",
        "[network]\ncidr = '192.168.66.0/24'\nmode = 'bridge'\nbridge = 'br0'\ngateway = '192.168.66.254'\n\
         [[node]]\nrole = 'worker'\naddress = '192.168.66.20'\n",
    ),
    (
        "real-domain",
        "domain = 'k8s.example.org'\n[network]\ncidr = '192.168.67.0/24'\nlocal-only = false\ndns = ['192.168.67.53', '192.168.67.1']\n\
         [[node]]\nrole = 'worker'\ndata-disk = '1 GiB'\ndata-mount = '/srv/data'\n",
    ),
    (
        "nat",
        "[network]\ncidr = '192.168.60.0/24'\nuplink = 'en.p1_s0-x'\nnat-ports = '20000-30000'\nmtu = 9000\nmac = '52:54:00:aa:bb:cc'\n",
    ),
    ("route", "[network]\ncidr = '10.99.0.0/16'\nhost = '10.99.255.254'\nmode = 'route'\nuplink = 'eth0'\n"),
    ("isolated", "[network]\ncidr = '172.20.0.0/29'\nmode = 'isolated'\nbridge = 'br_lab.1'\n"),
    ("open", "[network]\ncidr = '192.168.61.0/25'\nmode = 'open'\ndhcp = '192.168.61.100-192.168.61.120'\nmtu = 576\n"),
    ("elsewhere", "[api]\nname = 'api.example.org'\n[network]\ncidr = '192.168.62.0/24'\ndns = ['192.0.2.53', '192.0.2.54']\n"),
    ("own-name", "domain = 'own.test'\n[api]\nname = 'api.own.test'\nport = 443\n[network]\ncidr = '192.168.63.0/24'\n"),
    (
        "shares",
        "[network]\ncidr = '192.168.64.0/24'\n[[export]]\npath = '/srv/a'\n[[export]]\npath = '/srv/b,c'\noptions = 'ro,anonuid=1000'\n",
    ),
    ("uefi", "[network]\ncidr = '192.168.65.0/24'\n[[node]]\nrole = 'worker'\nfirmware = 'uefi'\nmemory = '1025 MiB'\nvcpus = 3\n"),
];

fn odd() -> impl Iterator<Item = (String, Cluster)> {
    ODD.into_iter().map(|(name, rest)| {
        let address = if name == "lan" { "address = '192.168.66.10'\n" } else { "" };
        let text = format!("name = '{name}'\n{rest}[[node]]\nrole = 'control-plane'\ncount = 1\n{address}");
        (name.to_owned(), Cluster::read(name, &text).unwrap_or_else(|error| panic!("{name}: {error}")))
    })
}

fn all() -> Vec<(String, Cluster)> {
    shipped().into_iter().chain(odd()).collect()
}

/// The first node of each role.
fn one_per_role(cluster: &Cluster) -> Vec<&Node> {
    Role::ALL.into_iter().filter_map(|role| cluster.with_role(role).next()).collect()
}

fn path(text: &str) -> HostPath {
    HostPath::new(Path::new(text)).unwrap()
}

/// The paths of a machine's files in a folder `folder`.
fn files_in(folder: &str, node: &Node) -> MachineFiles {
    MachineFiles {
        disk: path(&format!("{folder}/disks/{}.qcow2", node.name)),
        seed: Some(path(&format!("{folder}/seeds/{}.iso", node.name))),
        data: node.data.as_ref().map(|_| path(&format!("{folder}/disks/{}.data.qcow2", node.name))),
    }
}

/// Folder names with special characters of shells, XML and QEMU's options.
const FOLDERS: [&str; 4] = ["/srv/kbake", "/it's, a \"path\",,if=none/ü <&>]]>", "/$HOME/`id`/!1/~/*?[a]#;|&\\", "/-a =b%25 {c,d}"];

/// Runs a reference tool in a fixed locale, with `input` on its standard input.
fn run(command: &mut Command, input: &[u8]) -> Output {
    use std::io::Write as _;
    command.env("LC_ALL", "C").env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => panic!("{} is missing: run tests/setup.sh", command.get_program().to_string_lossy()),
        _ => panic!("{command:?}: {error}"),
    });
    // A tool that refuses may have closed its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Like [`run`], and fails unless the tool succeeds. Returns its standard output.
fn run_ok(command: &mut Command, input: &[u8]) -> String {
    let output = run(command, input);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// A network of the node's own, with its role's services forwarded.
fn user_link(cluster: &Cluster, node: &Node) -> Link {
    Link::User { forwards: Forward::from(Forward::FIRST, cluster, node).unwrap() }
}

#[test]
fn the_hosts_side_is_as_recorded() {
    let mut all = Vec::new();
    for (name, cluster) in shipped() {
        let mut documents = vec![
            ("network.xml".to_owned(), network_xml(&cluster)),
            ("dnsmasq.conf".to_owned(), dnsmasq_conf(&cluster)),
            ("hosts".to_owned(), hosts(&cluster)),
            ("inventory.ini".to_owned(), inventory(&cluster)),
            ("exports".to_owned(), exports(&cluster)),
        ];
        for node in one_per_role(&cluster) {
            let files = files_in("/srv/kbake", node);
            documents.push((format!("{}.domain.xml", node.name), domain_xml(&cluster, node, &files, Accel::Kvm)));
            let link = user_link(&cluster, node);
            documents.push((format!("{}.qemu.sh", node.name), qemu_command(&cluster, node, &files, Accel::Kvm, &link)));
        }
        all.extend(documents.into_iter().map(|(file, text)| (format!("cluster/{name}/{file}"), text)));
    }
    goldens(all);
}

/// The other ways to run one node.
#[test]
fn variants_are_as_recorded() {
    let (_, cluster) = shipped().into_iter().find(|(name, _)| name == "kubenet").unwrap();
    let node = cluster.node("worker0").unwrap();
    let files = files_in("/srv/kbake", node);
    let bare = MachineFiles { seed: None, ..files.clone() };
    let qemu = |accel, link| qemu_command(&cluster, node, &files, accel, &link);
    let documents = [
        ("emulated.domain.xml", domain_xml(&cluster, node, &bare, Accel::Emulated)),
        ("bridge.qemu.sh", qemu(Accel::Kvm, Link::Bridge)),
        ("vmnet.qemu.sh", qemu(Accel::Hvf, Link::Vmnet)),
        ("multicast.qemu.sh", qemu(Accel::Emulated, Link::Multicast)),
    ];
    goldens(documents.map(|(file, text)| (format!("cluster/kubenet/variants/worker0.{file}"), text)));
}

/// Hundreds of machines take no time, and the documents do not depend on when or how often they are asked for.
#[test]
fn a_large_cluster_takes_no_time() {
    let text = "name = 'large'\n[network]\ncidr = '10.64.0.0/16'\n[pods]\ncidr = '10.128.0.0/12'\n[[node]]\nrole = 'control-plane'\n\
                [[node]]\nrole = 'worker'\ncount = 500\n[[node]]\nrole = 'worker'\nname = 'more'\ncount = 500\n";
    let render = || {
        let cluster = Cluster::read("large", text).unwrap();
        let mut all = vec![network_xml(&cluster), dnsmasq_conf(&cluster), hosts(&cluster), inventory(&cluster)];
        for node in &cluster.nodes {
            let files = files_in("/srv", node);
            all.push(domain_xml(&cluster, node, &files, Accel::Kvm));
            all.push(qemu_command(&cluster, node, &files, Accel::Kvm, &user_link(&cluster, node)));
        }
        all
    };
    let started = std::time::Instant::now();
    let first = render();
    let took = started.elapsed();
    // A second on an idle machine; only quadratic time reaches this limit.
    assert!(took < std::time::Duration::from_secs(120), "2006 documents took {took:?}");
    assert_eq!(first.len(), 4 + 2 * 1001);
    assert!(first == render());
}

#[test]
fn paths_are_refused_that_would_be_looked_for_elsewhere() {
    for (bad, why) in [("", "absolute"), ("images/a", "absolute"), ("~/a", "absolute"), ("/a\nb", "control"), ("/a\u{ffff}", "control")] {
        let error = HostPath::new(Path::new(bad)).unwrap_err();
        assert!(error.message().contains(why), "{bad:?}: {error}");
    }
    use std::os::unix::ffi::OsStrExt as _;
    let latin = Path::new(std::ffi::OsStr::from_bytes(b"/caf\xe9"));
    assert!(HostPath::new(latin).unwrap_err().message().contains("not UTF-8"));
    for good in FOLDERS {
        assert_eq!(path(good).as_str(), good);
    }
}
