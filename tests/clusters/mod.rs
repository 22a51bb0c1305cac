//! What a person does with a cluster file: certificates, seeds, texts for the host.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::site::{Site, says};
use super::{KBAKE, ROOT};

/// A site with the shipped cluster of three etcd members, and its keys.
fn site_with_keys() -> Site {
    let site = Site::new();
    let text = fs::read_to_string(Path::new(ROOT).join("recipes/clusters/etcd.toml")).unwrap();
    site.write("cluster.toml", &text);
    let cluster = kbake::cluster::Cluster::read("cluster.toml", &text).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    kbake::pki::Pki::new(&site.path("secrets"), &cluster).init(now as i64).unwrap();
    site
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn seeds_are_private_and_the_same_every_time() {
    let site = site_with_keys();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$@\"", "sh", KBAKE, "seed", "--all"]).current_dir(site.dir.path());
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stdout, "images/seeds/etcd-lab/etcd0.iso\nimages/seeds/etcd-lab/etcd1.iso\nimages/seeds/etcd-lab/etcd2.iso\n", "{stderr}");
    says(&stderr, &["they are private (mode 0600)"]);
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

    // Nor is a folder taken in which others could exchange what is written.
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

    // What no longer fits is said, with the command that mends it, by every command that would use it.
    site.write("cluster.toml", &site.read("cluster.toml").replace("192.168.40.", "192.168.41."));
    for command in [&["pki", "init"][..], &["seed", "--all"], &["kubeconfig", "admin"]] {
        says(&site.fails(1, command), &["control/apiserver", "192.168.41.10", "hint: kbake pki renew "]);
    }
    // The table comes all the same, and the exit code tells a script.
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
    says(&show(&[]), &["1 of these are missing", "hint: kbake pki init"]);
    // A hint can be pasted, also where the file is not the usual one.
    fs::rename(site.path("cluster.toml"), site.path("lab.toml")).unwrap();
    let options = ["--cluster", "lab.toml", "--secrets", "secrets"];
    says(&show(&options), &["hint: kbake pki init --cluster lab.toml --secrets secrets"]);
    fs::rename(site.path("lab.toml"), site.path("cluster.toml")).unwrap();
    site.succeeds(&["pki", "init"]);

    // A foreign reader of the kubeconfig.
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
    says(&site.fails(1, &["pki", "import", "ca", "own.key", "own.crt"]), &["the key for `ca`", "hint: openssl"]);
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
        says(&site.fails(1, &[command]), &["there is no cluster file cluster.toml", "kbake init"]);
    }
    let images = site.path("images");
    for command in [&["domain-xml", "worker0"][..], &["qemu", "worker0"]] {
        let text = site.succeeds(&[command, &["--cluster", "lab.toml"]].concat());
        assert!(text.contains(images.join("disks/kubenet/worker0.qcow2").to_str().unwrap()), "{text}");
        assert!(text.contains(images.join("seeds/kubenet/worker0.iso").to_str().unwrap()), "{text}");
        says(&site.fails(1, &[command[0], "worker9", "--cluster", "lab.toml"]), &["no node `worker9`", "did you mean"]);
    }
}
