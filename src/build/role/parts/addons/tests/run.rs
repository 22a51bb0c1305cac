//! The script, run by dash with a kubectl that records its calls.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::testing::{put, run};

/// It answers when `readyz` has counted down, accepts a file when `refuse-NAME` has, has created what `made-NAME` stands for,
/// and knows the nodes in `nodes`.
const KUBECTL: &str = r#"#!/bin/sh
here=${0%/bin/kubectl}
[ "$1 $3" = "--kubeconfig --request-timeout=60s" ] || { echo "bad arguments: $*" >&2; exit 9; }
shift 3
echo "$*" | sed "s|$here||g" >>"$here/log"
count_down() {
    left=$(cat "$1" 2>/dev/null || echo 0)
    [ "$left" = 0 ] && return 0
    echo $((left - 1)) >"$1"
    return 1
}
case "$1 $2" in
    "get --raw") count_down "$here/readyz" ;;
    "get nodes") cat "$here/nodes" ;;
    "apply --server-side")
        for file; do :; done
        count_down "$here/refuse-${file##*/}" || { echo "first line"; echo "no matches for kind"; exit 1; } >&2
        ;;
    "create -f")
        [ -e "$here/made-${3##*/}" ] || { : >"$here/made-${3##*/}"; exit 0; }
        echo 'Error from server (AlreadyExists): error when creating "x": clusterrolebindings "x" already exists' >&2
        exit 1
        ;;
    "label --overwrite") count_down "$here/refuse-label" ;;
    *) echo "what is $*?" >&2; exit 9 ;;
esac
"#;

/// A node's root, and a listener in the place of the API server.
struct Root(tempfile::TempDir, TcpListener);

impl Root {
    fn new(addons_env: &str) -> Self {
        let root = Root(tempfile::tempdir().unwrap(), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        root.put("bin/kubectl", KUBECTL, 0o755);
        root.put("usr/lib/kbake/addons", include_str!("../addons.sh"), 0o755);
        root.put("etc/kubernetes/addons.env", addons_env, 0o644);
        root.put("etc/kubernetes/cluster.env", &root.settings("10.32.0.10"), 0o644);
        root.put("run/kbake-images/done", "", 0o644);
        root.put("usr/share/kbake/addons/rbac/once/admins.yaml", "all rights\n", 0o644);
        root.put("usr/share/kbake/addons/rbac/rbac.yaml", "rights\n", 0o644);
        root.put("usr/share/kbake/addons/coredns/coredns.yaml", "at @CLUSTER_DNS@, again @CLUSTER_DNS@\n", 0o644);
        root.put("usr/share/kbake/addons/metallb.yaml", "the publisher's, with @LOAD_BALANCER_POOL@\n", 0o644);
        root.put("usr/share/kbake/addons/metallb/metallb.yaml", "pool @LOAD_BALANCER_POOL@\n", 0o644);
        root.put("nodes", "node/control0\nnode/worker0\nnode/worker10\n", 0o644);
        root
    }

    fn settings(&self, dns: &str) -> String {
        format!("API_PORT={}\nCLUSTER_DNS={dns}\n", self.1.local_addr().unwrap().port())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, path: &str, text: &str, mode: u32) {
        put(self.path(), path, text, mode);
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).unwrap_or_default()
    }

    /// The script as systemd runs it, with the settings in the environment.
    fn command(&self) -> Command {
        let mut command = Command::new("dash");
        command.arg(self.path().join("usr/lib/kbake/addons")).env_clear();
        command.env("KBAKE_ROOT", self.path()).env("KBAKE_PAUSES", "0.02");
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path().join("bin").display()));
        for (key, value) in self.read("etc/kubernetes/addons.env").lines().filter_map(|line| line.split_once('=')) {
            command.env(key, value);
        }
        command
    }

    fn run(&self) -> Output {
        run(&mut self.command())
    }

    /// The calls of kubectl since the last time, without the polling.
    fn asked(&self) -> Vec<String> {
        let log = self.read("log");
        let _ = std::fs::remove_file(self.path().join("log"));
        let short = |line: &str| line.replace("apply --server-side --force-conflicts --field-manager=kbake -f ", "apply ");
        log.lines().map(|line| short(line).replace("create -f ", "create ")).collect()
    }

    fn applied(&self) -> Vec<String> {
        self.asked().into_iter().filter(|line| line.starts_with("apply") || line.starts_with("create")).collect()
    }

    fn stamped(&self) -> bool {
        self.path().join("var/lib/kbake/addons.stamp").exists()
    }
}

const ALL: &str = "ADDONS=rbac,coredns,metallb\nCONTROL_PLANES=control0\nLOAD_BALANCER_POOL=10.0.0.1-10.0.0.9\nNFS_PATH=\nNFS_SERVER=\nWORKERS=worker0,worker10\n";
const ADMINS: &str = "create /usr/share/kbake/addons/rbac/once/admins.yaml";
const RBAC: &str = "apply /var/lib/kbake/addons/rbac";
const COREDNS: &str = "apply /var/lib/kbake/addons/coredns";
const METALLB: &str = "apply /usr/share/kbake/addons/metallb.yaml";
const POOL: &str = "apply /var/lib/kbake/addons/metallb";

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Seeds of earlier versions lack the number of nodes for DNS.
#[test]
fn a_seed_that_does_not_say_where_dns_has_to_be_is_taken() {
    for (seed, expected) in [(ALL.to_owned(), "on 1 nodes\n"), (format!("{ALL}DNS_NODES=2\n"), "on 2 nodes\n")] {
        let root = Root::new(&seed);
        root.put("usr/share/kbake/addons/coredns/coredns.yaml", "on @DNS_NODES@ nodes\n", 0o644);
        let out = root.run();
        assert!(out.status.success(), "{}", said(&out));
        assert_eq!(root.read("var/lib/kbake/addons/coredns/coredns.yaml"), expected);
    }
}

#[test]
fn add_ons_are_applied_in_order_and_once() {
    let root = Root::new(ALL);
    root.put("readyz", "3", 0o644);
    let out = root.run();
    assert!(out.status.success(), "{}", said(&out));
    let asked = root.asked();
    assert!(asked[..4].iter().all(|line| line == "get --raw /readyz"), "{asked:?}");
    let applied: Vec<&String> = asked.iter().filter(|line| line.starts_with("apply") || line.starts_with("create")).collect();
    assert_eq!(applied, [ADMINS, RBAC, COREDNS, METALLB, POOL]);
    let labelled: Vec<&String> = asked.iter().filter(|line| line.starts_with("label")).collect();
    let label = |node: &str, role: &str| format!("label --overwrite node {node} node-role.kubernetes.io/{role}=");
    assert_eq!(labelled, [&label("control0", "control-plane"), &label("worker0", "worker"), &label("worker10", "worker")]);
    assert_eq!(root.read("var/lib/kbake/addons/coredns/coredns.yaml"), "at 10.32.0.10, again 10.32.0.10\n");
    assert_eq!(root.read("var/lib/kbake/addons/metallb/metallb.yaml"), "pool 10.0.0.1-10.0.0.9\n");

    let out = root.run();
    assert!(out.status.success() && said(&out).contains("nothing has changed"), "{}", said(&out));
    assert_eq!(root.asked(), [""; 0]);
}

#[test]
fn what_changes_is_applied_again() {
    let root = Root::new(ALL);
    let changes: [(&str, &str); 3] = [
        ("usr/share/kbake/addons/rbac/rbac.yaml", "more rights\n"),
        ("usr/share/kbake/addons/metallb.yaml", "a newer one\n"),
        ("etc/kubernetes/cluster.env", &root.settings("10.32.0.11")),
    ];
    assert!(root.run().status.success());
    for (path, text) in changes {
        root.asked();
        root.put(path, text, 0o644);
        assert!(root.run().status.success(), "{path}");
        assert_eq!(root.applied(), [ADMINS, RBAC, COREDNS, METALLB, POOL], "{path}");
    }
}

/// An administrator's changes in the cluster stay when a node joins.
#[test]
fn a_node_more_is_labelled_and_changes_nothing_else() {
    let root = Root::new(ALL);
    assert!(root.run().status.success());
    root.asked();
    root.put("etc/kubernetes/addons.env", &ALL.replace("WORKERS=worker0", "WORKERS=worker10,worker0"), 0o644);
    assert!(root.run().status.success());
    let asked = root.asked();
    assert_eq!(asked.iter().filter(|line| line.starts_with("label")).count(), 4, "{asked:?}");
    assert!(!asked.iter().any(|line| line.starts_with("apply")), "{asked:?}");
}

#[test]
fn a_label_that_is_refused_is_put_on_again() {
    let root = Root::new(ALL);
    root.put("refuse-label", "2", 0o644);
    let out = root.run();
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(root.asked().iter().filter(|line| line.starts_with("label")).count(), 5, "three, and two of them twice");
    assert_eq!(said(&out).matches("is labelled").count(), 3, "{}", said(&out));
}

/// Revoked rights stay revoked when an image has newer manifests: an empty binding counts as existing.
#[test]
fn what_is_made_once_is_never_changed() {
    let root = Root::new(ALL);
    assert!(root.run().status.success());
    root.asked();
    root.put("usr/share/kbake/addons/rbac/once/admins.yaml", "other rights\n", 0o644);
    let out = root.run();
    assert!(out.status.success() && said(&out).contains("admins.yaml is there, and stays as it is"), "{}", said(&out));
    assert_eq!(root.applied().iter().filter(|line| *line == ADMINS).count(), 1, "asked once, and never applied");
}

/// Each call of kubectl costs a slow machine a second or two of its processor, while the API server starts on it.
#[test]
fn the_api_is_asked_more_and_more_seldom() {
    let root = Root::new(ALL);
    root.put("bin/sleep", "#!/bin/sh\necho \"$1\" >>\"${0%/bin/sleep}/slept\"\n", 0o755);
    root.put("readyz", "8", 0o644);
    assert!(root.command().env_remove("KBAKE_PAUSES").output().unwrap().status.success());
    assert_eq!(root.read("slept"), "2\n4\n8\n15\n30\n60\n60\n60\n");
    assert_eq!(root.asked().iter().filter(|line| line.contains("/readyz")).count(), 9);
}

/// The other tests have a listener, and the real bash.
#[test]
fn kubectl_starts_only_when_the_api_server_listens() {
    let root = Root::new(ALL);
    let bash = "#!/bin/sh\nhere=${0%/bin/bash}\necho \"$*\" >>\"$here/log\"\n[ \"$(wc -l <\"$here/log\")\" -ge 4 ]\n";
    root.put("bin/bash", bash, 0o755);
    assert!(root.run().status.success());
    let asked = root.asked();
    let port = root.1.local_addr().unwrap().port();
    assert!(asked[..4].iter().all(|line| *line == format!("-c : </dev/tcp/127.0.0.1/{port}")), "{asked:?}");
    assert_eq!(asked[4], "get --raw /readyz");
}

/// The running script. It and its kubectl end with the test, also with one that fails.
struct Script(Child);

impl Script {
    fn start(command: &mut Command) -> Self {
        Script(command.process_group(0).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Ends the script, and waits for its kubectl, which would write its countdown later: the pipe ends with its last writer.
    fn kill(&mut self) {
        rustix::process::kill_process_group(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::KILL).unwrap();
        std::io::copy(self.0.stderr.as_mut().unwrap(), &mut std::io::sink()).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if self.runs() {
            self.kill();
        }
    }
}

/// A pod that starts before its preloaded image would pull it from a registry. Rights need no image.
#[test]
fn add_ons_with_pods_wait_for_the_preloaded_images() {
    let root = Root::new(ALL);
    std::fs::remove_file(root.path().join("run/kbake-images/done")).unwrap();
    let mut child = Script::start(root.command().env("KBAKE_PAUSES", "0.1"));
    wait_for(|| root.read("log").contains("/rbac\n"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!root.read("log").contains("coredns") && child.runs());
    root.put("run/kbake-images/done", "", 0o644);
    assert!(child.0.wait().unwrap().success());
    assert_eq!(root.applied(), [ADMINS, RBAC, COREDNS, METALLB, POOL]);

    // They do not wait forever.
    let root = Root::new(ALL);
    std::fs::remove_file(root.path().join("run/kbake-images/done")).unwrap();
    assert!(root.command().env("KBAKE_PAUSES", "0").output().unwrap().status.success());
    assert_eq!(root.applied(), [ADMINS, RBAC, COREDNS, METALLB, POOL]);
}

/// An unknown kind does not delay other add-ons.
#[test]
fn what_is_refused_is_tried_again() {
    let root = Root::new(&ALL.replace("rbac,coredns,metallb", "metallb,coredns"));
    root.put("refuse-metallb", "2", 0o644);
    let out = root.run();
    assert!(out.status.success() && root.stamped(), "{}", said(&out));
    assert_eq!(root.applied(), [METALLB, POOL, COREDNS, POOL, POOL]);
    assert!(said(&out).contains("/addons/metallb is not taken yet: no matches for kind"), "{}", said(&out));
}

#[test]
fn late_nodes_are_labelled_when_they_come() {
    let root = Root::new(ALL);
    // One name is the beginning of the other.
    root.put("nodes", "node/control0\nnode/worker10\n", 0o644);
    let mut child = Script::start(&mut root.command());
    let labelled = || root.read("log").lines().filter(|line| line.starts_with("label")).count();
    wait_for(|| labelled() == 2);
    std::thread::sleep(Duration::from_millis(100));
    let all = || root.path().join("var/lib/kbake/labels.stamp").exists();
    assert!(labelled() == 2 && !all() && child.runs());
    root.put("nodes", "node/control0\nnode/worker10\nnode/worker0\n", 0o644);
    assert!(child.0.wait().unwrap().success());
    assert_eq!(labelled(), 3, "each once: {}", root.read("log"));
    assert!(all() && root.stamped());
}

/// The machine goes off while the API does not answer, and while an add-on is refused.
#[test]
fn it_starts_over_where_it_was_ended() {
    let root = Root::new(ALL);
    for (file, seen) in [("readyz", "get --raw"), ("refuse-coredns", "apply")] {
        root.put(file, "1000000", 0o644);
        let mut child = Script::start(&mut root.command());
        wait_for(|| root.read("log").matches(seen).count() > 4);
        child.kill();
        assert!(!root.stamped());
        std::fs::remove_file(root.path().join(file)).unwrap();
        root.asked();
    }
    assert!(root.run().status.success() && root.stamped());
}

fn wait_for(done: impl Fn() -> bool) {
    for _ in 0..15_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not come to that in five minutes");
}

/// The other add-ons are applied, and the unit is not started again for a problem that needs a person.
#[test]
fn what_is_missing_is_said_and_the_rest_is_done() {
    for (settings, complaint, applied) in [
        (ALL.replace("rbac,", "nfs,rbac,"), "this image has no add-on `nfs`", vec![ADMINS, RBAC, COREDNS, METALLB, POOL]),
        (
            ALL.replace("=10.0.0.1-10.0.0.9", "="),
            "no value for @LOAD_BALANCER_POOL@ , which the add-on `metallb`",
            vec![ADMINS, RBAC, COREDNS],
        ),
        (ALL.replace("=10.0.0.1-10.0.0.9", "=$(reboot)|e"), "no value for @LOAD_BALANCER_POOL@", vec![ADMINS, RBAC, COREDNS]),
    ] {
        let root = Root::new(&settings);
        let out = root.run();
        assert_eq!(out.status.code(), Some(3), "{}", said(&out));
        assert!(said(&out).contains(complaint), "{}", said(&out));
        assert_eq!(root.applied(), applied);
        assert!(!root.stamped());
        assert!(root.read("var/lib/kbake/addons/values").contains("CLUSTER_DNS"));
    }
}

#[test]
fn a_cluster_without_workers_and_add_ons_is_one_too() {
    let root = Root::new("ADDONS=\nCONTROL_PLANES=control0\nWORKERS=\n");
    let out = root.run();
    assert!(out.status.success() && root.stamped(), "{}", said(&out));
    assert_eq!(root.applied(), [""; 0]);
}
