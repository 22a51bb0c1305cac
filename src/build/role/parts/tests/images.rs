//! `/usr/lib/kbake/images`, run with the programs that it calls: Debian's containerd and skopeo.

use std::fs;
use std::path::Path;

use super::*;
use crate::common::testing::containerd::{Containerd, PROGRAMS};

/// An OCI archive with one image, as `oci` writes them.
fn archive(path: &Path, name: &str, content: &[u8]) -> String {
    let layer = tar(&[("pause", content)]);
    let digest = |bytes: &[u8]| format!("sha256:{}", Sha256::of(bytes));
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/pause"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let descriptor = |kind: &str, bytes: &[u8]| {
        let media = format!("application/vnd.oci.image.{kind}");
        serde_json::json!({ "mediaType": media, "digest": digest(bytes), "size": bytes.len() })
    };
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config), "layers": [descriptor("layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut named = descriptor("manifest.v1+json", &manifest);
    named["annotations"] = serde_json::json!({ "io.containerd.image.name": name });
    named["platform"] = serde_json::json!({ "architecture": "amd64", "os": "linux" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [named] }).to_string().into_bytes();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Sha256::of(bytes));
    let layout: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";
    let (a, b, c) = (blob(&layer), blob(&config), blob(&manifest));
    let all = [(&*a, &*layer), (&*b, &*config), (&*c, &*manifest), ("index.json", &*index), ("oci-layout", layout)];
    fs::write(path, tar(&all)).unwrap();
    digest(&manifest)
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, bytes)| put(dir.path(), name, bytes, 0o755));
    let mut command = Command::new("tar");
    command.args(["-c", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--sort=name"]);
    let out = command.args(files.iter().map(|(name, _)| *name)).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success());
    out.stdout
}

/// A node's folders.
struct Node {
    dir: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Node {
    fn new(part: Part, facts: &Facts) -> Self {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "script", content(&entries(&[part], facts), "usr/lib/kbake/images").as_bytes(), 0o755);
        fs::create_dir(dir.path().join("images")).unwrap();
        let shown = dir.path().display();
        let path = format!("{PROGRAMS}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        let own = [("IMAGES", "images"), ("MANIFESTS", "manifests"), ("BROUGHT", "brought"), ("BOOT", "boot")];
        let own = own.map(|(key, file)| (key, format!("{shown}/{file}")));
        let [images, manifests, brought, boot] = own.map(|(_, path)| path);
        let environment = vec![
            ("PATH", path),
            ("KBAKE_IMAGES", images),
            ("KBAKE_MANIFESTS", manifests),
            ("KBAKE_BROUGHT", brought),
            ("KBAKE_BOOT", boot),
        ];
        Node { dir, environment }
    }

    fn archive(&self, file: &str, name: &str, content: &[u8]) -> String {
        archive(&self.dir.path().join("images").join(file), name, content)
    }

    /// Removes the state of the last boot.
    fn reboot(&self) {
        fs::remove_dir_all(self.dir.path().join("boot")).unwrap();
    }

    fn is_done(&self) -> bool {
        self.dir.path().join("boot/done").exists()
    }

    fn run(&self) -> Result<String, String> {
        self.run_with(&[])
    }

    fn run_with(&self, arguments: &[&str]) -> Result<String, String> {
        let environment = self.environment.iter().map(|(key, value)| (*key, value.as_str()));
        let mut command = Command::new("dash");
        let out = command.arg(self.dir.path().join("script")).args(arguments).envs(environment).output();
        let out = out.unwrap_or_else(|e| panic!("dash is missing: run tests/setup.sh ({e})"));
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        if out.status.success() { Ok(said) } else { Err(said) }
    }
}

const PAUSE: &str = "registry.k8s.io/pause:3.10.2";
const DNS: &str = "registry.k8s.io/coredns/coredns:v1.14.2";

/// A node's life: first boot, reboot, a power cut, a person who removes an image, an image that replaces another, and files
/// that are not images. `digest` asks the runtime.
fn brings_images(node: &Node, digest: &dyn Fn(&str) -> String, remove: &dyn Fn(&str)) {
    assert_eq!(node.run().unwrap(), "", "nothing to bring is no failure");
    let pause = node.archive("pause.tar", PAUSE, b"one");
    let dns = node.archive("coredns.tar", DNS, b"two");
    let said = node.run().unwrap();
    assert!(said.contains(&format!("{PAUSE} ({pause})\n")) && said.contains(&format!("{DNS} ({dns})\n")), "{said}");
    assert_eq!((digest(PAUSE), digest(DNS)), (pause.clone(), dns.clone()));
    assert_eq!(node.run().unwrap(), "", "a second boot costs nothing");

    // The power failed before the images were on disk.
    node.reboot();
    fs::remove_file(node.dir.path().join("brought")).unwrap();
    assert!(node.run().unwrap().contains(&format!("{PAUSE} may have been brought by halves: once more\n")));
    assert_eq!(digest(PAUSE), pause);
    assert_eq!(node.run().unwrap(), "");

    node.reboot();
    assert_eq!(node.run().unwrap(), "");

    remove(DNS);
    let said = node.run().unwrap();
    assert!(said.contains(DNS) && !said.contains(PAUSE), "{said}");
    assert_eq!(digest(DNS), dns);

    let newer = node.archive("pause.tar", PAUSE, b"another");
    assert!(newer != pause && node.run().unwrap().contains(&newer));
    assert_eq!(digest(PAUSE), newer);
    assert_eq!(node.run().unwrap(), "");

    by_need(node, digest, remove);

    // A broken one delays no other, and costs no other anything when it is tried again.
    fs::write(node.dir.path().join("images/x.tar"), b"no archive").unwrap();
    node.reboot();
    remove(DNS);
    let said = node.run().unwrap_err();
    assert!(said.contains("x.tar is no OCI archive") && said.contains(DNS) && !node.is_done(), "{said}");
    let again = node.run().unwrap_err();
    assert!(!again.contains(DNS) && !again.contains(PAUSE), "{again}");
    fs::write(node.dir.path().join("images/x.tar"), tar(&[("index.json", b"{\"manifests\":[]}")])).unwrap();
    assert!(node.run().unwrap_err().contains("x.tar does not say which image it has"));
    let text = format!("{{\"digest\":\"sha256:00\",\"io.containerd.image.name\":\"{PAUSE}x\"}}");
    fs::write(node.dir.path().join("images/x.tar"), tar(&[("index.json", text.as_bytes())])).unwrap();
    assert!(node.run().unwrap_err().contains(&format!("cannot bring {PAUSE}x")));
}

/// The names of the script's own lines `NAME (DIGEST)`. The runtime says more.
fn brought(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.split_once(" (")).map(|(name, _)| name).filter(|name| !name.contains(' ')).collect()
}

/// The images that the kubelet waits for: the sandbox image of every pod, and those of its static pods, in any notation.
fn by_need(node: &Node, digest: &dyn Fn(&str) -> String, remove: &dyn Fn(&str)) {
    let (agent, server) = ("docker.io/library/agent:1", "registry.k8s.io/kube-apiserver:v1.36.2");
    let archives = [("agent.tar", agent), ("kube-apiserver.tar", server)].map(|(file, name)| node.archive(file, name, file.as_bytes()));
    [PAUSE, DNS].iter().for_each(|name| remove(name));
    node.reboot();
    put(node.dir.path(), "manifests/kube-apiserver.yaml", format!("spec:\n  containers:\n  - image: \"{server}\"\n").as_bytes(), 0o600);
    put(node.dir.path(), "manifests/agent.json", br#"{"spec":{"containers":[{"image":"agent:1"}]}}"#, 0o600);
    let said = node.run_with(&["first"]).unwrap();
    assert_eq!(brought(&said), [PAUSE, agent, server], "the sandbox's first, and what no static pod names not at all");
    assert_eq!([digest(agent), digest(server)], archives);
    assert!(!node.is_done());
    assert_eq!(node.run_with(&["first"]).unwrap(), "");

    // The kubelet starts meanwhile, and pods use existing images. So no existing image is touched, even if it is in no record.
    fs::write(node.dir.path().join("brought"), "").unwrap();
    let said = node.run().unwrap();
    assert_eq!(brought(&said), [DNS], "{said}");
    assert!(!said.contains("by halves") && node.is_done(), "{said}");
    let book = fs::read_to_string(node.dir.path().join("brought")).unwrap();
    assert_eq!(book.lines().count(), 4, "{book}");
    node.reboot();
    assert_eq!((node.run_with(&["first"]).unwrap(), node.run().unwrap()), (String::new(), String::new()));
}

#[test]
fn containerd_gets_images_once() {
    let daemon = Containerd::start();
    let mut node = Node::new(Part::Containerd, &debian());
    node.environment.push(("CONTAINERD_ADDRESS", daemon.socket().to_str().unwrap().to_owned()));
    // overlayfs does not work on every filesystem that tests run on.
    node.environment.push(("CONTAINERD_SNAPSHOTTER", "native".to_owned()));
    let digest = |name: &str| daemon.images().into_iter().find(|image| image.name == name).unwrap().digest;
    brings_images(&node, &digest, &|name| drop(daemon.ctr(&["images", "remove", "--sync", name])));
    let labelled = daemon.ctr(&["images", "list", &format!("name=={PAUSE}")]);
    assert!(labelled.contains("io.cri-containerd.pinned=pinned"), "{labelled}");
}

#[test]
fn crios_storage_gets_images_once() {
    let mut node = Node::new(Part::Crio, &crio());
    let shown = node.dir.path().display().to_string();
    // The image's own storage.conf, except for the driver, which does not work on every filesystem that tests run on.
    let storage = content(&entries(&[Part::Crio], &crio()), "etc/containers/storage.conf").replace("\"overlay\"", "\"vfs\"");
    let storage = storage.replace("/var/lib/containers", &format!("{shown}/lib")).replace("/run/containers", &format!("{shown}/run"));
    put(node.dir.path(), "storage.conf", storage.as_bytes(), 0o644);
    let policy = content(&entries(&[Part::Crio], &crio()), "etc/crio/policy.json");
    put(node.dir.path(), "policy.json", policy.as_bytes(), 0o644);
    let own = [("CONTAINERS_STORAGE_CONF", "storage.conf"), ("KBAKE_POLICY", "policy.json"), ("HOME", ""), ("TMPDIR", "")];
    node.environment.extend(own.map(|(key, file)| (key, format!("{shown}/{file}"))));
    let skopeo = |args: &[&str]| {
        let environment = node.environment.iter().map(|(key, value)| (*key, value.as_str()));
        let out = Command::new("skopeo").args(args).envs(environment).output();
        let out = out.unwrap_or_else(|e| panic!("skopeo is missing: run tests/setup.sh ({e})"));
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let there = |name: &str| format!("containers-storage:{name}");
    let digest = |name: &str| skopeo(&["inspect", "--format", "{{.Digest}}", &there(name)]);
    brings_images(&node, &digest, &|name| drop(skopeo(&["delete", &there(name)])));
}
