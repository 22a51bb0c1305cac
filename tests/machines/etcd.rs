//! Three members of etcd, each with the files of its seed only, form a cluster that requires certificates.

use std::fs;
use std::path::Path;

use crate::seeded::{self, JUDGES};

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
    assert!(Path::new(JUDGES).join("etcd").exists(), "etcd is missing: run tests/setup.sh");
    let dir = tempfile::tempdir().unwrap();
    seeded::write_nodes(dir.path(), "etcd", &["etcd0", "etcd1", "etcd2"]);
    let (stdout, stderr) = seeded::run(SCRIPT, dir.path(), Path::new(JUDGES));
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
