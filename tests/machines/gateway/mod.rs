//! The gateway of a cluster, with the files of its seed, before stand-ins for API servers with the certificates of
//! theirs: real haproxy passes TLS on unopened, to servers that are ready and prove their names.

use std::fs;
use std::path::Path;

use crate::seeded;
use crate::support::ROOT;

/// `$2` is the stand-ins' program. On control2 a server answers with control0's certificate.
const SCRIPT: &str = r#"
set -eu
cd "$1"
mount -t tmpfs tmpfs /run
ip link add bridge type bridge
ip address add 192.168.3.1/24 dev bridge
ip link set bridge up
for n in 0 1 2 3; do
  ip netns add "node$n"
  ip link add "port$n" type veth peer name eth0 netns "node$n"
  ip link set "port$n" master bridge up
  ip -n "node$n" link set lo up
  ip -n "node$n" address add "192.168.3.1$n/24" dev eth0
  ip -n "node$n" link set eth0 up
done
ip -n node0 address add 192.168.3.21/32 dev eth0
pki() { echo "$1/nodes/$2/etc/kubernetes/pki/apiserver"; }
serve() { exec ip netns exec "node$2" /usr/bin/python3 -I "$api" serve "$1" "192.168.3.1$2" 6443 "$3.crt" "$3.key" "$1.ready"; }
api=$2 vip=192.168.3.21:6443 ca=$1/secrets/kubenet/ca.crt
call() { /usr/bin/python3 -I "$api" "$@"; }
touch control0.ready control1.ready impostor.ready
serve control0 1 "$(pki "$1" 1)" &
serve control1 2 "$(pki "$1" 2)" &
control1=$!
serve impostor 3 "$(pki "$1" 1)" &
# Paths and limits of the host instead of the node's, and nobody to become in a namespace of one user.
sed -E -e "s,/etc/haproxy,$1/nodes/0/etc/haproxy," -e 's/maxconn .*/maxconn 500/' -e '/^ *(chroot|user|group) /d' nodes/0/etc/haproxy/haproxy.cfg >haproxy.cfg
ip netns exec node0 haproxy -db -f haproxy.cfg >log 2>&1 &
until_names() { for try in $(seq 60); do if [ "$(call names "$ca" "$vip" 12 2>last)" = "$1" ]; then return; fi; sleep 0.5; done; cat last >&2; return 1; }
until_names "control0 control1"
echo "both answer"
echo "statistics on loopback: $(ip netns exec node0 /usr/bin/python3 -I "$api" page http://127.0.0.1:9000/ control0)"
for address in 192.168.3.10 192.168.3.21; do
  if call page "http://$address:9000/" control0 2>last; then echo "STATISTICS FOR ALL"; fi
done
call watch "$ca" "$vip" control0 >watched &
watch=$!
until grep -q watching watched; do sleep 0.2; done
# Not ready, though it answers: who leaves loses its connections.
rm control0.ready
until_names control1
echo "one answers"
wait $watch
cat watched
# Dead, and the other one is back.
kill -KILL "$control1"
touch control0.ready
until_names control0
echo "the other answers"
"#;

#[test]
fn the_gateway_passes_connections_on_to_who_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    seeded::write_nodes(dir.path(), "kubenet", &["gateway", "control0", "control1", "control2"]);
    let api = Path::new(ROOT).join("tests/machines/gateway/api.py");
    let (stdout, stderr) = seeded::run(SCRIPT, dir.path(), &api);
    let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert!(!log.contains("exec of"), "haproxy is missing: run tests/setup.sh\n{log}");
    let expected = "both answer\nstatistics on loopback: yes\none answers\nwatching control0\nlost control0\nthe other answers\n";
    assert_eq!(stdout, expected, "{stderr}\n{log}");
    // Not because it did not answer.
    assert!(log.contains("control-planes/control2 is DOWN") && log.contains("SSL certificate different"), "{log}");
}
