//! Three members of etcd, each with nothing but what its seed has put on it, form a cluster that needs certificates.
//!
//! They run on this host, each in a network namespace with the node's address, on a bridge as libvirt would make it. So
//! this is no test of the image (`tests/e2e.rs` is), but of names, addresses, certificates and settings in agreement.
//! A peer must call from the very address that its certificate names, so one namespace for all would not do.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const KBAKE: &str = env!("CARGO_BIN_EXE_kbake");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Where tests/setup.sh unpacks what must not be installed.
const JUDGES: &str = "/usr/local/lib/kbake-tests";

/// Runs in namespaces of its own, with which all that it starts ends. `$1` is the folder of all, `$2` the folder with
/// etcd's program.
const SCRIPT: &str = r#"
set -eu
cd "$1"
mount -t tmpfs tmpfs /run
ip link add bridge type bridge
ip address add 192.168.30.1/24 dev bridge
ip link set bridge up
for n in 0 1 2; do
  ip netns add "node$n"
  ip link add "port$n" type veth peer name eth0 netns "node$n"
  ip link set "port$n" master bridge up
  ip -n "node$n" link set lo up
  ip -n "node$n" address add "192.168.30.1$n/24" dev eth0
  ip -n "node$n" link set eth0 up
  # Paths of the host instead of the node's.
  sed -e "s,=/etc/,=$1/nodes/$n/etc/," -e "s,=/var/lib/etcd,=$1/data$n," "nodes/$n/etc/etcd/etcd.env" >"env$n"
  (set -a; . "./env$n"; exec ip netns exec "node$n" "$2/etcd" >"log$n" 2>&1) &
  eval "member$n=$!"
done
pki=$1/secrets/etcd-lab
export ETCDCTL_API=3
ctl() { etcdctl --command-timeout=10s --dial-timeout=5s --cacert="$pki/etcd-ca.crt" "$@"; }
admin() { ctl --cert="$pki/etcd-admin.crt" --key="$pki/etcd-admin.key" "$@"; }
first=https://192.168.30.10:2379 second=https://192.168.30.11:2379 third=https://192.168.30.12:2379
# An election, of the first leader or the next, takes as long as the host is busy.
patiently() { for try in $(seq 60); do if "$@" >answer 2>&1; then return; fi; sleep 1; done; cat answer >&2; return 1; }
patiently admin --endpoints="$first,$second,$third" endpoint health
mv answer health
cat health
patiently admin --endpoints="$first" put key value
cat answer
admin --endpoints="$third" get key
inside() { ip netns exec node1 etcdctl --cacert="$1/nodes/1/etc/etcd/pki/ca.crt" --cert="$1/nodes/1/etc/etcd/pki/server.crt" \
  --key="$1/nodes/1/etc/etcd/pki/server.key" --endpoints=https://127.0.0.1:2379 get key --print-value-only; }
echo "by loopback: $(inside "$1")"
if ctl --endpoints="$first" get key >none 2>&1; then echo "ANSWERED WITHOUT CERTIFICATE"; fi
if etcdctl --dial-timeout=3s --command-timeout=3s --endpoints=http://192.168.30.10:2379 get key >plain 2>&1; then
  echo "ANSWERED IN PLAIN HTTP"
fi
# A third less is still a majority.
kill -KILL "$member2"
patiently admin --endpoints="$first,$second" put key again
echo "with two of three: $(cat answer)"
"#;

#[test]
fn three_members_form_a_cluster_that_needs_certificates() {
    for judge in ["cloud-init", "etcd"] {
        assert!(Path::new(JUDGES).join(judge).exists(), "{judge} is missing: run tests/setup.sh");
    }
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(ROOT).join("recipes/clusters/etcd.toml")).unwrap();
    fs::write(dir.path().join("cluster.toml"), &text).unwrap();
    let cluster = kbake::cluster::Cluster::read("cluster.toml", &text).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    kbake::pki::Pki::new(&dir.path().join("secrets"), &cluster).init(now as i64).unwrap();
    let mut command = Command::new(KBAKE);
    command.args(["seed", "--all", "--format", "dir", "--out", "seeds", "--project", ROOT]).current_dir(dir.path());
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    write_files(dir.path());

    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "180", "unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "sh", "-c", SCRIPT, "sh"]).arg(dir.path()).arg(JUDGES);
    let out = command.env("LC_ALL", "C").output().unwrap_or_else(|e| panic!("timeout is missing: run tests/setup.sh ({e})"));
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(!stderr.contains("not found"), "unshare, ip or etcdctl is missing: run tests/setup.sh\n{stderr}");
    let logs: String = (0..3).map(|n| fs::read_to_string(dir.path().join(format!("log{n}"))).unwrap_or_default()).collect();
    for expected in [
        "https://192.168.30.10:2379 is healthy",
        "https://192.168.30.11:2379 is healthy",
        "https://192.168.30.12:2379 is healthy",
        "\nOK\nkey\nvalue\n",
        "by loopback: value\n",
        "with two of three: OK\n",
    ] {
        assert!(stdout.contains(expected), "{expected:?} is not in\n{stdout}\n{stderr}\n{logs}");
    }
    assert!(!stdout.contains("ANSWERED"), "{stdout}");
    assert!(logs.contains("client didn't provide a certificate"), "etcd itself refuses who has no certificate:\n{logs}");
}

/// Lets cloud-init write each node's files, below `nodes/N`.
fn write_files(dir: &Path) {
    let seeds: Vec<serde_json::Value> = ["etcd0", "etcd1", "etcd2"]
        .iter()
        .map(|node| {
            let document = |name: &str| fs::read_to_string(dir.join("seeds").join(node).join(name)).unwrap();
            serde_json::json!({ "user-data": document("user-data"), "network-config": document("network-config"), "interfaces": {} })
        })
        .collect();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-I", &format!("{ROOT}/tests/cloud-init/judge.py"), &format!("{JUDGES}/cloud-init")]).arg(dir.join("nodes"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(&seeds).unwrap()).unwrap();
    assert!(child.wait().unwrap().success(), "if a Python package is missing: run tests/setup.sh");
}
