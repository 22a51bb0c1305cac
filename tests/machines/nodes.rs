//! Nodes with pods, and the gateway before the API, from recipes to booted machines, with Debian's own packages: the runtime and all
//! below it, no Kubernetes. The test calls the runtime as a kubelet would. On the same packages, an image of publishers' releases.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::time::Instant;

use crate::support::ROOT;
use crate::support::baked::{self, BOOT_DEADLINE, canaries, fresh_folder, holds_no_identity, holds_no_secret, judge, ok, path, text};
use crate::support::shared::cri::{self, Cri};
use crate::upstream;
use crate::vm::{self, Machine, Network, Other, Setup, SshKey, Vm};

/// A user's own image: a program from a package, under a name that no registry has.
const OWN_IMAGE: &str = r#"
[artifact.busybox]
package = "busybox-static"
member = "bin/busybox"

[image.busybox]
reference = "kbake.internal/tools/busybox:1.35.0"
from = "busybox"
files = ["busybox"]
command = ["/usr/local/bin/busybox"]
"#;
const BUSYBOX: &str = "kbake.internal/tools/busybox:1.35.0";
const PAUSE: &str = "kbake.internal/pause:0.1.7";
/// The worker's role, and that image.
const OWN_ROLE: &str = "description = \"A worker with a toolbox\"\n\nparts = [\"containerd\", \"kubelet\", \"kube-proxy\"]\nimages = [\"busybox\"]\n\n\
                        packages = [\"nfs-common\"]\n";

/// The host simulates the control plane, which needs names and certificates only.
fn cluster_file(key: &SshKey) -> String {
    format!(
        "name = \"nodes\"\nchannel = \"debian\"\nssh-keys = [\"{}\"]\n\n[network]\ncidr = \"192.168.30.0/24\"\n\n\
         [api]\nvip = \"192.168.30.20\"\n\n\
         [[node]]\nrole = \"gateway\"\naddress = \"192.168.30.10\"\nmac = \"52:54:00:12:34:60\"\n\n\
         [[node]]\nrole = \"control-plane\"\ncount = 2\naddress = \"192.168.30.11\"\n\n\
         [[node]]\nrole = \"worker\"\nimage = \"toolbox\"\naddress = \"192.168.30.15\"\nmac = \"52:54:00:12:34:61\"\npod-cidr = \"10.244.7.0/24\"\n",
        key.public
    )
}

const GATEWAY: Network =
    Network::Static { cidr: "192.168.30.0/24", host: "192.168.30.1", guest: "192.168.30.10", mac: "52:54:00:12:34:60" };
const WORKER: Network = Network::Static { cidr: "192.168.30.0/24", host: "192.168.30.1", guest: "192.168.30.15", mac: "52:54:00:12:34:61" };
const VIP: &str = "192.168.30.20";
const API_PORT: u16 = 6443;

/// The images, and seeds and disks of a cluster.
struct Built {
    folder: PathBuf,
    key: SshKey,
    /// Stretches of private keys, which no other file may hold.
    canaries: Vec<(PathBuf, Vec<u8>)>,
}

/// Both roles in one build, from recipes with a user's additions, which `kbake lock` locks first.
static BUILT: LazyLock<Built> = LazyLock::new(|| {
    let folder = fresh_folder("nodes");
    judge("cp", &["-r", &format!("{ROOT}/recipes"), &format!("{ROOT}/lockfiles"), path(&folder)]);
    let mut sources = OpenOptions::new().append(true).open(folder.join("recipes/sources/debian.toml")).unwrap();
    sources.write_all(OWN_IMAGE.as_bytes()).unwrap();
    fs::write(folder.join("recipes/roles/toolbox.toml"), OWN_ROLE).unwrap();
    let key = SshKey::generate("debian");
    fs::write(folder.join("cluster.toml"), cluster_file(&key)).unwrap();

    let started = Instant::now();
    let run = |args: &[&str]| ok(baked::kbake(&folder, &folder, args).output().unwrap());
    let locked = run(&["lock", "--channel", "debian"]);
    assert!(text(&locked.stdout).contains("busybox-static 1:1.35.0-"), "{}", text(&locked.stdout));
    println!("locked after {:.0?}", started.elapsed());
    let built = run(&["build", "toolbox", "gateway", "--channel", "debian"]);
    println!("built after {:.0?}", started.elapsed());
    // Debian has no kubelet: the image is built, with a note.
    assert!(text(&built.stderr).contains("Debian 12 has no kubelet"), "{}", text(&built.stderr));
    let mut said = Vec::new();
    for args in [&["pki", "init"][..], &["seed", "--all"], &["disk", "gateway", "worker"]] {
        let output = run(args);
        said.extend([output.stdout, output.stderr].concat());
    }
    let canaries = canaries(&folder.join("secrets"));
    holds_no_secret("what kbake says", &said, &canaries);
    Built { folder, key, canaries }
});

impl Built {
    fn disk(&self, node: &str) -> PathBuf {
        self.folder.join(format!("images/disks/nodes/{node}.qcow2"))
    }

    fn seed(&self, node: &str) -> PathBuf {
        self.folder.join(format!("images/seeds/nodes/{node}.iso"))
    }

    fn secret(&self, name: &str) -> String {
        path(&self.folder.join("secrets/nodes").join(name)).to_owned()
    }
}

/// Waits for a login and the end of the boot, and for no unit that has failed.
fn boots(vm: &mut Vm, name: &str) {
    let key = &BUILT.key;
    vm.wait_for_ssh(key, BOOT_DEADLINE);
    println!("{name}: a login {:.0?} after power-on", vm.age());
    let state = text(&vm.ssh(key, "systemctl is-system-running --wait").stdout);
    let failed = vm.ssh_ok(key, "systemctl --failed --no-legend --plain");
    assert_eq!((state.trim(), failed.trim()), ("running", ""), "no unit may have failed");
    println!("{name}: booted after {:.0?}: {}", vm.age(), vm.ssh_ok(key, "systemd-analyze").trim());
    assert_eq!(vm.ssh_ok(key, "hostname").trim(), name);
}

#[test]
fn the_images_hold_no_identity() {
    for role in ["toolbox", "gateway"] {
        let args = ["tree", role, "--offline", "--plain", "--channel", "debian"];
        let tree = text(&ok(baked::kbake(&BUILT.folder, &BUILT.folder, &args).output().unwrap()).stdout);
        holds_no_identity(&tree);
        ok(baked::kbake(&BUILT.folder, &BUILT.folder, &["audit", &format!("images/{role}.qcow2")]).output().unwrap());
        // Files of the seed are not in the image.
        for path in ["/etc/kubernetes/pki", "/etc/kubernetes/kubelet.conf", "/etc/haproxy/haproxy.cfg", "/etc/cni/net.d/10-bridge.conflist"]
        {
            assert!(!tree.contains(&format!(" {path} ")), "{role}: {path}");
        }
    }
    // A gateway passes TLS on unopened, so its seed holds no key; a worker's seed holds no other node's key.
    let own = format!("{}/", BUILT.secret("nodes/worker"));
    for (node, own) in [("gateway", "nobody's"), ("worker", own.as_str())] {
        let others: Vec<_> = BUILT.canaries.iter().filter(|(key, _)| !path(key).starts_with(own)).cloned().collect();
        holds_no_secret(&format!("the seed of {node}"), &fs::read(BUILT.seed(node)).unwrap(), &others);
    }
}

#[test]
fn a_channel_of_releases_leads_to_the_same_image_everywhere() {
    upstream::chain(&BUILT.folder.join("store"), &fs::read_to_string(BUILT.folder.join("lockfiles/debian.lock")).unwrap());
}

#[test]
fn a_worker_starts_pods_without_any_network() {
    let (disk, seed, key) = (BUILT.disk("worker"), BUILT.seed("worker"), &BUILT.key);
    let setup = Setup {
        machine: Machine::Q35,
        memory_mib: 2048,
        disks: &[&disk, &seed],
        network: WORKER,
        ports: &[22, cri::pods::NODE_PORT],
        further: &[],
        others: &[],
    };
    let mut vm = Vm::start(&setup);
    boots(&mut vm, "worker");
    // The kubelet does not wait for all images; this test does.
    vm.ssh_ok(key, "sudo systemctl start kbake-images-rest");
    for unit in ["containerd", "kbake-images", "kbake-images-rest", "kbake-settings"] {
        assert_eq!(vm.ssh_ok(key, &format!("systemctl show --property=Result --value {unit}")).trim(), "success", "{unit}");
    }
    assert_eq!(vm.ssh_ok(key, "systemctl is-active containerd kbake-images kbake-settings").trim(), "active\nactive\nactive");

    // Debian has neither: the units are skipped, not retried for ever.
    let skipped = vm.ssh_ok(key, "systemctl show --property=ActiveState --property=ConditionResult kubelet kube-proxy");
    assert_eq!(skipped.matches("ConditionResult=no").count(), 2, "{skipped}");
    assert_eq!(skipped.matches("ActiveState=inactive").count(), 2, "{skipped}");

    // The socket is root's; the test's user needs it as well.
    vm.ssh_ok(key, "sudo chgrp debian /run/containerd/containerd.sock");
    let tunnel = vm.tunnel(key, "/run/containerd/containerd.sock");
    let cri = Cri::connect(&tunnel.socket).unwrap();
    let version = cri.version().unwrap();
    assert_eq!(version.runtime_name, "containerd");
    println!("containerd {} answers {:.0?} after power-on", version.runtime_version, vm.age());
    // Under exactly the names that kubelets ask for; the sandbox's is the configured one.
    assert_eq!(cri.image_names(), [PAUSE, BUSYBOX]);
    assert!(cri.image(PAUSE).is_some() && cri.image("kbake.internal/pause:latest").is_none());
    let config = vm.ssh_ok(key, "sudo containerd config dump | grep sandbox_image");
    assert_eq!(config.trim(), format!("sandbox_image = \"{PAUSE}\""));

    let in_share = |address: Ipv4Addr| address.octets()[..3] == [10, 244, 7];
    let [server, client] = cri::pods::two_pods_talk(&cri, BUSYBOX, "kubepods.slice", Ipv4Addr::new(192, 168, 30, 15), in_share);
    println!("pods {} and {} talk {:.0?} after power-on", server.address, client.address, vm.age());
    // From outside the node, by its port.
    assert_eq!(vm.wait_for_http(cri::pods::NODE_PORT, "/hostname", BOOT_DEADLINE + vm.age()), "server\n");
    // systemd keeps the pods' cgroups, as the kubelet expects it.
    let groups = vm.ssh_ok(key, "systemctl status kubepods.slice --no-pager --lines=0");
    assert_eq!(groups.matches("cri-containerd-").count(), 4, "two sandboxes, two containers:\n{groups}");
    for pod in [server, client] {
        cri.remove_sandbox(&pod.sandbox);
    }
    assert_eq!(vm.ssh_ok(key, "ls /var/lib/cni/networks/bridge | grep -c '^10[.]' || true").trim(), "0", "addresses are given back");
    holds_no_secret("the console", vm.console().as_bytes(), &BUILT.canaries);
}

/// A process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stand-in for a control-plane node's API server, with its certificate, at a port of the host. It is ready.
fn api_server(node: &str) -> (u16, Running) {
    let port = vm::free_port();
    let ready = BUILT.folder.join(format!("{node}.ready"));
    fs::write(&ready, "").unwrap();
    let file = |end: &str| BUILT.secret(&format!("nodes/{node}/apiserver.{end}"));
    let mut command = api(&["serve", node, "127.0.0.1", &port.to_string(), &file("crt"), &file("key"), path(&ready)]);
    (port, Running(vm::spawn(&mut command)))
}

fn api(args: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-I").arg(Path::new(ROOT).join("tests/machines/gateway/api.py")).args(args);
    command
}

#[test]
fn a_gateway_leads_to_the_api_servers_that_are_left() {
    let (disk, seed, key) = (BUILT.disk("gateway"), BUILT.seed("gateway"), &BUILT.key);
    let (first_port, first) = api_server("control0");
    let (second_port, _second) = api_server("control1");
    let setup = Setup {
        machine: Machine::Q35,
        memory_mib: 1024,
        disks: &[&disk, &seed],
        network: GATEWAY,
        ports: &[22, 9000],
        further: &[(VIP, API_PORT)],
        others: &[
            Other { address: "192.168.30.11", port: API_PORT, host: first_port },
            Other { address: "192.168.30.12", port: API_PORT, host: second_port },
        ],
    };
    let mut vm = Vm::start(&setup);
    let url = format!("127.0.0.1:{}", vm.port(API_PORT));
    // The names of the servers that answer on the API's address, to a client that trusts the cluster's CA only.
    let names = |calls: &str| {
        let output = vm::output(&mut api(&["names", &BUILT.secret("ca.crt"), &url, calls]));
        output.status.success().then(|| text(&output.stdout).trim().to_owned())
    };
    vm.wait_until("both API servers", BOOT_DEADLINE, || names("12").filter(|names| names == "control0 control1"));
    println!("the gateway answers for both {:.0?} after power-on", vm.age());
    boots(&mut vm, "gateway");

    let down = Instant::now();
    drop(first);
    vm.wait_until("the one that is left", BOOT_DEADLINE + vm.age(), || names("6").filter(|names| names == "control1"));
    // Three checks, two seconds apart at most, and six calls, on a calm host.
    println!("the other one alone after {:.0?}", down.elapsed());

    // haproxy's statistics are on the gateway's loopback only: QEMU's port leads to its network address, where nothing listens.
    let page = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:9000/\").read().decode())'";
    let page = vm.ssh_ok(key, page);
    assert!(page.contains("control0") && page.contains("DOWN"), "{page}");
    let listening = vm.ssh_ok(key, "ss -Hltn | awk '{ print $4 }' | grep -E ':(9000|6443)$' | sort");
    assert_eq!(listening, format!("127.0.0.1:9000\n{VIP}:{API_PORT}\n"));
    assert_eq!(
        vm.ssh_ok(key, "sudo haproxy -c -f /etc/haproxy/haproxy.cfg 2>&1 && sudo ls /etc/kubernetes 2>&1 || true").lines().count(),
        2
    );
    holds_no_secret("the console", vm.console().as_bytes(), &BUILT.canaries);
}
