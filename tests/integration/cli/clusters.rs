//! Commands on a cluster file: the cluster shown, certificates, seeds, texts for the host.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::said_by;
use crate::support::ROOT;
use crate::support::site::{Site, says};

/// A site with the shipped cluster of three etcd members, and its keys.
fn site_with_keys() -> Site {
    let site = Site::new();
    let text = fs::read_to_string(Path::new(ROOT).join("recipes/clusters/etcd.toml")).unwrap();
    site.write("cluster.toml", &text);
    let cluster = kbake::Cluster::read("cluster.toml", &text).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    kbake::Pki::new(&site.path("secrets"), &cluster).init(now as i64).unwrap();
    site
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_cluster_is_shown_warned_about_or_refused() {
    let site = Site::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ someone@example";
    let good =
        format!("name = \"lab\"\nssh-keys = [\"{key}\"]\n[network]\ncidr = \"192.168.7.0/24\"\n[[node]]\nrole = \"etcd\"\ncount = 3\n");
    let missing = site.fails(1, &["cluster"]);
    says(
        &missing,
        &["error: the cluster file cluster.toml does not exist", "hint: `kbake init` writes one", "recipes/clusters/", "--cluster FILE"],
    );
    says(&site.fails(1, &["cluster", "--cluster", "a/b.toml"]), &["error: the cluster file a/b.toml does not exist"]);
    says(&site.fails(1, &["cluster", "--cluster", "recipes"]), &["error: ", "recipes"]);

    site.write("cluster.toml", &good);
    let output = site.kbake(&["cluster"]).output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "nothing to warn about");
    let table = String::from_utf8(output.stdout).unwrap();
    says(&table, &["cluster  lab, domain lab.internal", "NAME   ROLE  ADDRESS", "etcd2  etcd  192.168.7.12"]);
    // By option and by environment; the option takes precedence.
    site.write("other.toml", &good.replace("count = 3", "count = 2"));
    let warned = site.kbake(&["cluster", "--quiet"]).env("KBAKE_CLUSTER", "other.toml").output().unwrap();
    assert_eq!(warned.status.code(), Some(0), "a warning is no failure");
    says(&String::from_utf8_lossy(&warned.stderr), &["warning: other.toml: 2 etcd members survive the loss of 0"]);
    assert!(!String::from_utf8_lossy(&warned.stdout).contains("warning"), "stdout is for data");
    let option = site.kbake(&["cluster", "--cluster", "cluster.toml"]).env("KBAKE_CLUSTER", "other.toml").output().unwrap();
    assert_eq!(String::from_utf8(option.stdout).unwrap(), table);

    // Names are checked against the project.
    let names = |from: &str, to: &str| site.write("cluster.toml", &good.replace(from, to));
    names("name = \"lab\"", "name = \"lab\"\nchannel = \"debain\"");
    says(&site.fails(1, &["cluster"]), &["cluster.toml names the channel `debain`", "did you mean `channel = \"debian\"`?"]);
    names("count = 3", "image = \"ectd\"");
    says(&site.fails(1, &["cluster"]), &["node `etcd` boots the image `ectd`", "did you mean `image = \"etcd\"`?"]);
    names("count = 3", "image = \"from-elsewhere\"");
    let elsewhere = site.kbake(&["cluster"]).output().unwrap();
    assert!(elsewhere.status.success());
    says(
        &said_by(&elsewhere),
        &["warning: cluster.toml: node `etcd` boots the image `from-elsewhere`", "recipes/roles/from-elsewhere.toml"],
    );

    site.write("cluster.toml", &good.replace("count = 3", "address = \"192.168.7.1\""));
    let refused = site.fails(1, &["cluster"]);
    says(
        &refused,
        &[
            "error: node `etcd` and the host (by default) have the same address 192.168.7.1",
            "cluster.toml:4:8",
            "cluster.toml:7:11",
            "hint: ",
        ],
    );
    fs::write(site.path("cluster.toml"), b"name = \"\xff\"").unwrap();
    says(&site.fails(1, &["cluster"]), &["cluster.toml", "UTF-8"]);
}

#[test]
fn seeds_are_private_and_the_same_every_time() {
    let site = site_with_keys();
    let mut command = site.kbake_by("sh", &["-c", "umask 0; exec \"$@\"", "sh"]);
    command.args(["seed", "--all"]);
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stdout, "images/seeds/etcd-lab/etcd0.iso\nimages/seeds/etcd-lab/etcd1.iso\nimages/seeds/etcd-lab/etcd2.iso\n", "{stderr}");
    says(&stderr, &["private (mode 0600)"]);
    assert_eq!((mode(site.path("images/seeds/etcd-lab")), mode(site.path("images/seeds/etcd-lab/etcd0.iso"))), (0o711, 0o600));

    assert_eq!(site.succeeds(&["seed", "etcd1", "etcd1", "--out", "again"]), "again/etcd1.iso\n");
    assert_eq!(fs::read(site.path("images/seeds/etcd-lab/etcd1.iso")).unwrap(), fs::read(site.path("again/etcd1.iso")).unwrap());
    assert_eq!(fs::read_dir(site.path("again")).unwrap().count(), 2, "the node that was named, .gitignore, and nothing half-written");
    assert_eq!(site.read("again/.gitignore"), "*\n");
    assert_eq!(site.succeeds(&["seed", "etcd1", "--format", "vfat", "--out", "again"]), "again/etcd1.img\n");
    assert_eq!(site.succeeds(&["seed", "etcd1", "--format", "dir", "--out", "again"]), "again/etcd1\n");
    assert_eq!((mode(site.path("again/etcd1.img")), mode(site.path("again/etcd1"))), (0o600, 0o700));
    for document in ["meta-data", "network-config", "user-data"] {
        assert_eq!(mode(site.path("again/etcd1").join(document)), 0o600);
    }
    let user_data = site.read("again/etcd1/user-data");
    let key = site.read("secrets/etcd-lab/nodes/etcd1/etcd-server.key");
    let line = key.lines().nth(1).unwrap();
    assert!(user_data.contains(line), "the seed holds the node's key");
    assert!(!stdout.contains(line) && !stderr.contains(line));
    let copies = Command::new("grep").args(["-rl", line, "."]).current_dir(site.dir.path()).output().unwrap();
    let mut copies: Vec<&str> = std::str::from_utf8(&copies.stdout).unwrap().lines().collect();
    copies.sort();
    let expected = [
        "./again/etcd1.img",
        "./again/etcd1.iso",
        "./again/etcd1/user-data",
        "./images/seeds/etcd-lab/etcd1.iso",
        "./secrets/etcd-lab/nodes/etcd1/etcd-server.key",
    ];
    assert_eq!(copies, expected, "and nothing else does, the store included");
}

#[test]
fn a_seed_that_cannot_be_made_leaves_nothing() {
    let site = site_with_keys();
    says(&site.fails(1, &["seed", "etdc0"]), &["cluster.toml has no node `etdc0`", "did you mean `etcd0`?"]);
    says(&site.fails(2, &["seed"]), &["NODE", "--all"]);
    says(&site.fails(2, &["seed", "--all", "etcd0"]), &["--all"]);
    says(&site.fails(2, &["seed", "etcd0", "--format", "qcow2"]), &["iso", "vfat", "dir"]);
    says(&site.fails(1, &["seed", "etcd0", "--secrets", "nowhere"]), &["nowhere/etcd-lab", "hint: kbake pki init"]);
    fs::remove_file(site.path("secrets/etcd-lab/nodes/etcd2/etcd-peer.key")).unwrap();
    says(&site.fails(1, &["seed", "etcd0"]), &["etcd2/etcd-peer"]);
    fs::set_permissions(site.path("secrets"), fs::Permissions::from_mode(0o755)).unwrap();
    says(&site.fails(1, &["seed", "etcd0"]), &["secrets"]);
    assert!(!site.path("images/seeds").exists());

    // A folder in which others could replace files is refused as well.
    let site = site_with_keys();
    fs::create_dir(site.path("open")).unwrap();
    fs::set_permissions(site.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    says(
        &site.fails(1, &["seed", "etcd0", "--out", "open"]),
        &["others: they may write to it (mode 0777)", &format!("hint: chmod go-w {}", site.path("open").canonicalize().unwrap().display())],
    );
    fs::create_dir(site.path("out")).unwrap();
    std::os::unix::fs::symlink("../open", site.path("out/etcd0")).unwrap();
    says(&site.fails(1, &["seed", "etcd0", "--out", "out", "--format", "dir"]), &["out/etcd0", "a link"]);
    assert_eq!(fs::read_dir(site.path("open")).unwrap().count(), 0);
    assert!(!site.path("images/seeds").exists());
}

#[test]
fn certificates_are_made_once_shown_and_renewed() {
    let site = Site::new();
    site.write("cluster.toml", &fs::read_to_string(Path::new(ROOT).join("recipes/clusters/two-node.toml")).unwrap());
    let made = site.succeeds(&["pki", "init"]);
    assert!(made.lines().any(|line| line == "control/apiserver"), "{made}");
    assert_eq!(site.read("secrets/.gitignore").lines().next(), Some("*"));
    let before = site.read("secrets/two-node/nodes/control/apiserver.crt");
    assert_eq!(site.succeeds(&["pki", "init"]), "", "a second time makes nothing");
    assert_eq!(site.read("secrets/two-node/nodes/control/apiserver.crt"), before);
    let shown = site.succeeds(&["pki", "show"]);
    let rows: Vec<&str> = shown.lines().filter(|line| line.starts_with("control/apiserver ")).collect();
    says(&rows.join("\n"), &["good", "CN=kube-apiserver"]);
    says(&shown, &["kubernetes.default.svc.cluster.local", "10.96.0.1", "192.168.40.10"]);
    assert_eq!(site.succeeds(&["pki", "renew", "control/apiserver"]), "control/apiserver\n");
    assert_ne!(site.read("secrets/two-node/nodes/control/apiserver.crt"), before);
    says(&site.fails(1, &["pki", "renew", "control/apiserve"]), &["control/apiserver"]);

    // Every command that would use a certificate that no longer fits names it, and the command that renews it.
    site.write("cluster.toml", &site.read("cluster.toml").replace("192.168.40.", "192.168.41."));
    for command in [&["pki", "init"][..], &["seed", "--all"], &["kubeconfig", "admin"]] {
        says(&site.fails(1, command), &["control/apiserver", "192.168.41.10", "hint: kbake pki renew "]);
    }
    // The table is printed all the same; the exit code is for scripts.
    let show = |options: &[&str]| {
        let output = site.kbake(&[&["pki", "show"], options].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("NAME "));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    says(&show(&[]), &["control/apiserver", "hint: kbake pki renew "]);
    site.succeeds(&["pki", "renew"]);
    site.succeeds(&["seed", "--all"]);
    fs::remove_file(site.path("secrets/two-node/admin.crt")).unwrap();
    says(&show(&[]), &["1 of these do not exist", "hint: kbake pki init"]);
    // A hint works as typed, also for another cluster file.
    fs::rename(site.path("cluster.toml"), site.path("lab.toml")).unwrap();
    let options = ["--cluster", "lab.toml", "--secrets", "secrets"];
    says(&show(&options), &["hint: kbake pki init --cluster lab.toml --secrets secrets"]);
    fs::rename(site.path("lab.toml"), site.path("cluster.toml")).unwrap();
    site.succeeds(&["pki", "init"]);

    // kubectl reads the kubeconfig.
    assert_eq!(site.succeeds(&["kubeconfig", "--out", "admin.conf"]), "admin.conf\n");
    assert_eq!((site.read("admin.conf"), mode(site.path("admin.conf"))), (site.succeeds(&["kubeconfig"]), 0o600));
    let config = site.path("admin.conf");
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.server} {.users[0].name}", "--kubeconfig"]).arg(&config);
    let output = kubectl.output().unwrap_or_else(|e| panic!("kubectl is missing: run tests/setup.sh ({e})"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "https://192.168.41.10:6443 kubernetes-admin");

    fs::set_permissions(site.path("secrets"), fs::Permissions::from_mode(0o750)).unwrap();
    says(&site.fails(1, &["pki", "show"]), &["secrets", "chmod 700"]);
}

#[test]
fn an_authority_from_elsewhere_is_taken() {
    let site = Site::new();
    site.write("cluster.toml", &fs::read_to_string(Path::new(ROOT).join("recipes/clusters/one-node.toml")).unwrap());
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=our own"]);
    openssl.args(["-days", "4000", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", "own.key", "-out", "own.crt"]);
    let made = openssl.current_dir(site.dir.path()).output().unwrap_or_else(|e| panic!("openssl is missing: run tests/setup.sh ({e})"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    site.succeeds(&["pki", "import", "ca", "own.crt", "own.key"]);
    site.succeeds(&["pki", "init"]);
    says(&site.succeeds(&["pki", "show"]), &["CN=our own"]);
    says(&site.fails(1, &["pki", "import", "ca", "own.key", "own.crt"]), &["the key for `ca`", "hint: `openssl pkcs8"]);
    says(&site.fails(2, &["pki", "import", "cafe", "own.crt", "own.key"]), &["etcd-ca"]);
}

#[test]
fn the_host_s_side_follows_from_the_file_alone() {
    let site = Site::new();
    site.write("lab.toml", &fs::read_to_string(Path::new(ROOT).join("recipes/clusters/kubenet.toml")).unwrap());
    for (command, expected) in [
        ("net-xml", "<host mac='52:54:00:f0:c4:e9' name='gateway' ip='192.168.3.10'/>"),
        ("dnsmasq", "dhcp-host=52:54:00:f0:c4:e9"),
        ("hosts", "192.168.3.21 kubernetes.kubenet kubernetes"),
        ("inventory", "control0"),
        ("exports", "/srv/nfs/kubenet 192.168.3.0/24("),
        ("cluster", "192.168.3.21"),
    ] {
        let text = site.succeeds(&[command, "--cluster", "lab.toml"]);
        assert!(text.contains(expected), "{command}: {text}");
        assert_eq!(site.succeeds(&[command, "--cluster", "lab.toml"]), text, "{command} twice");
        says(&site.fails(1, &[command]), &["the cluster file cluster.toml does not exist", "kbake init"]);
    }
    let images = site.path("images");
    for command in [&["domain-xml", "worker0"][..], &["qemu", "worker0"]] {
        let text = site.succeeds(&[command, &["--cluster", "lab.toml"]].concat());
        assert!(text.contains(images.join("disks/kubenet/worker0.qcow2").to_str().unwrap()), "{text}");
        assert!(text.contains(images.join("seeds/kubenet/worker0.iso").to_str().unwrap()), "{text}");
        says(&site.fails(1, &[command[0], "worker9", "--cluster", "lab.toml"]), &["no node `worker9`", "did you mean"]);
    }
}

/// A cluster of one control-plane node, with these lines in its table and these tables before it.
fn one_node(site: &Site, tables: &str, node: &str) {
    let text = format!(
        "name = \"lab\"\n[network]\ncidr = \"192.168.77.0/24\"\n{tables}\n[[node]]\nrole = \"control-plane\"\nimage = \"etcd\"\n{node}\n"
    );
    site.write("cluster.toml", &text);
}

/// The stderr of a command.
fn stderr(site: &Site, args: &[&str]) -> String {
    let output = site.kbake(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
    said
}

/// Files that the cluster file names are found beside it, and are as private as the seed that they go into.
#[test]
fn what_a_person_adds_goes_into_the_seed_only() {
    let site = Site::new();
    fs::create_dir(site.path("lab")).unwrap();
    one_node(&site, "", "user-data = \"more.yaml\"");
    let text = format!("ca-certificates = [\"corp.pem\"]\n{}", site.read("cluster.toml"));
    site.write("lab/cluster.toml", &text);
    let args = ["--cluster", "lab/cluster.toml"];
    site.succeeds(&[&["pki", "init"], &args[..]].concat());
    let seed = [&["seed", "--all", "--format", "dir", "--out", "out"], &args[..]].concat();
    says(&site.fails(1, &seed), &["lab/corp.pem"]);
    site.write("lab/corp.pem", &site.read("lab/secrets/lab/ca.crt"));
    says(&site.fails(1, &seed), &["lab/more.yaml"]);
    site.write("lab/corp.pem", &site.read("lab/secrets/lab/ca.key"));
    let said = site.fails(1, &seed);
    says(&said, &["lab/corp.pem holds a private key", "`ca-certificates` in lab/cluster.toml names it"]);
    assert!(!said.contains(site.read("lab/secrets/lab/ca.key").lines().nth(1).unwrap()));
    site.write("lab/corp.pem", &site.read("lab/secrets/lab/ca.crt"));
    site.write("lab/more.yaml", "#cloud-config\nwrite_files:\n- path: /etc/more\n  content: hunter2\nhostname: hunter2\n");
    let said = site.fails(1, &seed);
    says(&said, &["lab/more.yaml:5: `hostname` is set by kbake"]);
    assert!(!said.contains("hunter2") && !site.path("out").exists());
    site.write("lab/more.yaml", "#cloud-config\nwrite_files:\n- path: /etc/more\n  content: hunter2\n");
    assert_eq!(site.succeeds(&seed), "out/control\n");
    let user_data = site.read("out/control/user-data");
    says(&user_data, &["hunter2", "/usr/local/share/ca-certificates/kbake-0.crt", "Content-Type: text/cloud-config"]);
    assert_eq!(mode(site.path("out/control/user-data")), 0o600);
    let copies = Command::new("grep").args(["-rl", "hunter2", "."]).current_dir(site.dir.path()).output().unwrap();
    let mut copies: Vec<&str> = std::str::from_utf8(&copies.stdout).unwrap().lines().collect();
    copies.sort();
    assert_eq!(copies, ["./lab/more.yaml", "./out/control/user-data"], "and nowhere else, the store included");
}

#[test]
fn a_data_disk_is_made_once_and_stays() {
    let site = Site::new();
    one_node(&site, "", "data-disk = \"1 GiB\"\ndata-mount = \"/var/lib/etcd\"");
    let image = site.path("images/etcd.qcow2");
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("20G").status();
    assert!(made.unwrap_or_else(|e| panic!("qemu-img is missing: run tests/setup.sh ({e})")).success());
    let (disk, data) = ("images/disks/lab/control.qcow2", "images/disks/lab/control.data.qcow2");
    says(
        &stderr(&site, &["domain-xml", "control"]),
        &["the data disk ", "control.data.qcow2 does not exist yet; `kbake disk control` creates it"],
    );
    assert_eq!(site.succeeds(&["disk", "--all"]), format!("{disk}\n{data}\n"));
    assert_eq!(mode(site.path(data)), 0o600);
    site.write(data, "what the machine has written");
    fs::remove_file(site.path(disk)).unwrap();
    says(&stderr(&site, &["disk", "control"]), &["control: its data disk exists and is kept"]);
    assert_eq!(site.read(data), "what the machine has written", "a new disk, and the old data");
    for command in ["domain-xml", "qemu"] {
        let text = site.succeeds(&[command, "control"]);
        says(&text, &[site.path(data).to_str().unwrap(), "kbake-data"]);
    }
}

/// A port in use is reported before QEMU is started, with a command that works as typed.
#[test]
fn a_taken_port_is_noticed_and_other_ports_can_be_had() {
    let site = Site::new();
    one_node(&site, "", "");
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = own.local_addr().unwrap().port();
    let first = port.min(59_536).to_string();
    let usual = ["qemu", "control", "--net", "user"];
    let args = [&usual[..], &["--ports", &first]].concat();
    if port <= 59_536 {
        let said = stderr(&site, &args);
        let line = said.lines().find(|line| line.contains(&format!("port {port} of 127.0.0.1 in use"))).unwrap_or_else(|| panic!("{said}"));
        let hint = line.split('`').nth(1).unwrap();
        let typed: Vec<&str> = hint.split(' ').skip(1).collect();
        assert!(!stderr(&site, &typed).contains("in use"), "{hint}");
    }
    let text = site.succeeds(&[&usual[..], &["--ports", "30000"]].concat());
    says(
        &text,
        &["hostfwd=tcp:127.0.0.1:30000-192.168.77.10:22", "127.0.0.1:32000-192.168.77.10:2379", "127.0.0.1:34000-192.168.77.10:6443"],
    );
    says(&site.fails(2, &["qemu", "control", "--ports", "30000"]), &["`--ports` needs `--net user`"]);
    for bad in ["80", "59537", "70000", "x"] {
        says(&site.fails(2, &[&usual[..], &["--ports", bad]].concat()), &["--ports"]);
    }
}

/// `kbake qemu` names the command for a kubeconfig to the forwarded API server; addresses that the certificate lacks are refused.
#[test]
fn a_kubeconfig_leads_to_where_the_api_server_is_reached() {
    let site = Site::new();
    one_node(&site, "[api]\nsans = [\"api.example.org\", \"203.0.113.7\"]", "");
    site.succeeds(&["pki", "init"]);
    let said = stderr(&site, &["qemu", "control", "--net", "user"]);
    let hint = said.split('`').find(|text| text.starts_with("kbake kubeconfig")).unwrap_or_else(|| panic!("{said}"));
    let typed: Vec<&str> = hint.split(' ').skip(1).collect();
    says(&site.succeeds(&typed), &["server: \"https://127.0.0.1:26000\""]);
    for server in ["https://api.example.org", "https://203.0.113.7:443", "https://control.lab.internal:6443"] {
        says(&site.succeeds(&["kubeconfig", "--server", server]), &[&format!("server: \"{server}\"")]);
    }
    let said = site.fails(1, &["kubeconfig", "--server", "https://other.example.org"]);
    says(&said, &["no API server certificate is valid for other.example.org", "`sans` in [api] of cluster.toml"]);
    says(&site.fails(2, &["kubeconfig", "--server", "127.0.0.1:26000"]), &["https://HOST:PORT"]);
    // The certificate has the names.
    let mut openssl = Command::new("openssl");
    openssl
        .args(["x509", "-noout", "-ext", "subjectAltName", "-in", "secrets/lab/nodes/control/apiserver.crt"])
        .current_dir(site.dir.path());
    let shown = openssl.output().unwrap_or_else(|e| panic!("openssl is missing: run tests/setup.sh ({e})"));
    says(&String::from_utf8_lossy(&shown.stdout), &["DNS:api.example.org", "IP Address:203.0.113.7", "IP Address:127.0.0.1"]);
    // A name added later is reported, with the command.
    site.write("cluster.toml", &site.read("cluster.toml").replace("\"203.0.113.7\"", "\"203.0.113.8\""));
    says(&site.fails(1, &["seed", "--all"]), &["lacks the address `203.0.113.8`", "hint: kbake pki renew control/apiserver"]);
}

#[test]
fn a_network_of_somebody_else_s_gets_no_dhcp_server() {
    let site = Site::new();
    one_node(&site, "mode = \"bridge\"\nbridge = \"br0\"\ngateway = \"192.168.77.254\"", "address = \"192.168.77.20\"");
    says(&site.fails(1, &["dnsmasq"]), &["the network of bridge br0 has its own DHCP and DNS", "kbake hosts"]);
    says(&stderr(&site, &["net-xml"]), &["no machine needs this network"]);
    says(&site.succeeds(&["net-xml"]), &["<forward mode='bridge'/>", "<bridge name='br0'/>"]);
    says(&site.succeeds(&["domain-xml", "control"]), &["<interface type='bridge'>", "<source bridge='br0'/>"]);
    says(&site.succeeds(&["qemu", "control"]), &["bridge,id=net,br=br0"]);
    says(&site.succeeds(&["cluster"]), &["192.168.77.0/24, gateway 192.168.77.254", "br0, which the host has already"]);
    says(&site.succeeds(&["hosts"]), &["192.168.77.20 control.lab.internal control"]);
}
