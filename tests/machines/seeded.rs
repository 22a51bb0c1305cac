//! Nodes with what their seeds put on them, each in a network namespace with its own address, on a bridge as libvirt
//! would make it. This tests the agreement of names, addresses, certificates and settings, not images (`tests/machines/e2e` does). One
//! namespace for all would not do: a client must call from the address that its certificate names.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{ROOT, program};

/// The folder into which tests/setup.sh unpacks programs that must not be installed.
pub const JUDGES: &str = "/usr/local/lib/kbake-tests";

/// Makes the keys and seeds of a shipped cluster in `dir`, and lets cloud-init write the files of these nodes below
/// `nodes/0`, `nodes/1`, ….
pub fn write_nodes(dir: &Path, cluster: &str, nodes: &[&str]) {
    assert!(Path::new(JUDGES).join("cloud-init").exists(), "cloud-init is missing: run tests/setup.sh");
    let text = fs::read_to_string(Path::new(ROOT).join(format!("recipes/clusters/{cluster}.toml"))).unwrap();
    fs::write(dir.join("cluster.toml"), &text).unwrap();
    let cluster = kbake::Cluster::read("cluster.toml", &text).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    kbake::Pki::new(&dir.join("secrets"), &cluster).init(now as i64).unwrap();
    let mut command = program::kbake(dir);
    command.args(["seed", "--all", "--format", "dir", "--out", "seeds", "--project"]).arg(program::project());
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seed = |node: &&str| {
        let document = |name: &str| fs::read_to_string(dir.join("seeds").join(node).join(name)).unwrap();
        serde_json::json!({ "user-data": document("user-data"), "network-config": document("network-config"), "interfaces": {} })
    };
    let seeds: Vec<serde_json::Value> = nodes.iter().map(seed).collect();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-I", &format!("{ROOT}/tests/reference/cloud-init/judge.py"), &format!("{JUDGES}/cloud-init")]).arg(dir.join("nodes"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(&seeds).unwrap()).unwrap();
    assert!(child.wait().unwrap().success(), "if a Python package is missing: run tests/setup.sh");
}

/// Runs a script in namespaces of its own, which end all its processes with it. `$1` is `dir`, `$2` is `second`. Returns stdout and
/// stderr.
pub fn run(script: &str, dir: &Path, second: &Path) -> (String, String) {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "180", "unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "sh", "-c", script, "sh"]).arg(dir).arg(second);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("LC_ALL", "C").env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let out = command.output().unwrap_or_else(|e| panic!("timeout is missing: run tests/setup.sh ({e})"));
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(!stderr.contains("not found"), "unshare, ip, or what the script runs, is missing: run tests/setup.sh\n{stderr}");
    (stdout.into_owned(), stderr.into_owned())
}
