//! Publishers' hosts on loopback: what they release, in their own ways of saying what its bytes are, with the troubles
//! that real ones make.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use kbake::value::{Sha256, Sha512};
use serde_json::{Value, json};

use crate::support::baked::{judge, path};
use crate::support::docker::{self, BLOB, DOCUMENT, INDEX, MANIFEST};
use crate::support::shared::server::{Answer, Request, Server};

/// Static programs, unpacked by tests/setup.sh.
const STATIC: &str = "/usr/local/lib/kbake-tests/static";
pub const ARCHES: [&str; 2] = ["amd64", "arm64"];

/// A file's bytes by its path, with the slash before it.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A host of releases and the one that it sends askers on to, as GitHub does.
pub struct Releases {
    pub host: Server,
    pub assets: Server,
    files: Files,
}

impl Releases {
    pub fn start(work: &Path) -> Releases {
        let files: Files = Arc::new(Mutex::new(published(work)));
        let behind = Arc::clone(&files);
        let assets = Server::start(move |request| file(&behind, request.path.split('?').next().unwrap(), request));
        let (before, elsewhere) = (Arc::clone(&files), assets.base());
        let downloads = Mutex::new(BTreeMap::<String, usize>::new());
        let host = Server::start(move |request| {
            // The address that it sends to has a signature of its own, good for a while.
            if let Some(rest) = request.path.strip_prefix("/github/") {
                return Answer { status: 302, ..Answer::to(format!("{elsewhere}/github/{rest}?sig=hidden&se=soon")) };
            }
            let nth = match request.method.as_str() {
                "GET" => std::mem::replace(downloads.lock().unwrap().entry(request.path.clone()).or_default(), 1),
                _ => 1,
            };
            match nth {
                0 if request.path.ends_with("/kubelet") => Answer::new(429, b"slow down").header("Retry-After: 1"),
                0 if request.path.ends_with("/kube-proxy") => file(&before, &request.path, request).cut(150_000),
                _ => file(&before, &request.path, request),
            }
        });
        Releases { host, assets, files }
    }

    /// The bytes that are there now.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        self.files.lock().unwrap()[path].clone()
    }

    /// Other bytes from now on; gives those before.
    pub fn change(&self, path: &str, bytes: Vec<u8>) -> Vec<u8> {
        self.files.lock().unwrap().insert(path.to_owned(), bytes).expect("it was there")
    }

    /// The number of requests to both servers so far.
    pub fn mark(&self) -> [usize; 2] {
        [self.host.requests().len(), self.assets.requests().len()]
    }

    /// The requests since then.
    pub fn asked_since(&self, mark: [usize; 2]) -> Vec<Request> {
        [self.host.requests().split_off(mark[0]), self.assets.requests().split_off(mark[1])].concat()
    }
}

fn file(files: &Files, path: &str, request: &Request) -> Answer {
    match files.lock().unwrap().get(path) {
        Some(bytes) => Answer::ranged(request, bytes),
        None => Answer::new(404, b"not here"),
    }
}

/// Stands in for a program: text that says what it is, as long as a download that can break off.
pub fn program(name: &str, arch: &str) -> Vec<u8> {
    let line = format!("# {name} for {arch}\n");
    format!("#!/bin/sh\n{}", line.repeat(300_000 / line.len())).into_bytes()
}

/// The published files, with the checksum files beside them.
fn published(work: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let (mut etcd_sums, mut bsd_sums) = (String::new(), String::new());
    for arch in ARCHES {
        // Kubernetes: the bare hash, without an end of line.
        for name in ["kubelet", "kube-proxy"] {
            let (at, bytes) = (format!("/release/v1.36.2/bin/linux/{arch}/{name}"), program(name, arch));
            files.insert(format!("{at}.sha256"), Sha256::of(&bytes).to_string().into_bytes());
            files.insert(at, bytes);
        }
        // Only the longer hash, with the name behind it.
        let name = format!("crictl-v1.36.0-linux-{arch}.tar.gz");
        let bytes = archive(work, &[("crictl", &program("crictl", arch)), ("README", b"read me\n")]);
        files.insert(format!("/cri-tools/{name}.sha512"), format!("{}  {name}\n", Sha512::of(&bytes)).into_bytes());
        files.insert(format!("/cri-tools/{name}"), bytes);
        // All of a release in one file, GNU's way.
        let folder = format!("etcd-v3.6.8-linux-{arch}");
        let members = ["etcd", "etcdctl", "etcdutl"].map(|name| (format!("{folder}/{name}"), program(name, arch)));
        let bytes = archive(work, &members.each_ref().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        etcd_sums += &format!("{}  {folder}.tar.gz\n", Sha256::of(&bytes));
        files.insert(format!("/github/etcd/v3.6.8/{folder}.tar.gz"), bytes);
        // BSD's.
        let bytes = program("nerdctl", arch);
        bsd_sums += &format!("SHA256 (nerdctl-{arch}) = {}\n", Sha256::of(&bytes));
        files.insert(format!("/nerdctl/2.1.6/nerdctl-{arch}"), bytes);
        // Signed.
        let bytes = program("helm", arch);
        let sums = format!("{}  helm-linux-{arch}\n", Sha256::of(&bytes));
        files.insert(format!("/helm/v4.0.1/helm-linux-{arch}.sha256.asc"), clearsigned(&sums).into_bytes());
        files.insert(format!("/helm/v4.0.1/helm-linux-{arch}"), bytes);
        // A real program, of which an image is built.
        let bytes = fs::read(Path::new(STATIC).join("busybox")).expect("busybox is missing: run tests/setup.sh");
        files.insert(format!("/busybox/1.35.0/busybox-{arch}.sha256"), format!("{} *busybox-{arch}\n", Sha256::of(&bytes)).into_bytes());
        files.insert(format!("/busybox/1.35.0/busybox-{arch}"), bytes);
    }
    files.insert("/github/etcd/v3.6.8/SHA256SUMS".to_owned(), etcd_sums.into_bytes());
    files.insert("/nerdctl/2.1.6/CHECKSUMS".to_owned(), bsd_sums.into_bytes());
    files.insert("/addon/v0.16.1/native.yaml".to_owned(), b"kind: Namespace\n".to_vec());
    files
}

/// A gzipped tar of these files, as publishers' own tools make it.
pub fn archive(work: &Path, files: &[(&str, &[u8])]) -> Vec<u8> {
    gzipped(&tar(work, files))
}

fn tar(work: &Path, files: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir_in(work).unwrap();
    let mut args = vec!["-C", path(folder.path()), "--owner=runner:1001", "--group=docker:127", "-cf", "-"];
    for (name, bytes) in files {
        let at = folder.path().join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, bytes).unwrap();
        args.push(name);
    }
    let output = std::process::Command::new("tar").args(&args).output().expect("tar is missing: run tests/setup.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// The text, signed with a key of this moment.
fn clearsigned(text: &str) -> String {
    // The agent's socket must have a short path.
    let home = tempfile::tempdir().unwrap();
    let plain = home.path().join("sums");
    fs::write(&plain, text).unwrap();
    let gpg = |args: &[&str]| judge("gpg", &[&["--homedir", path(home.path()), "--batch", "--quiet", "--passphrase", ""], args].concat());
    gpg(&["--quick-generate-key", "publisher@kbake.test", "ed25519", "sign", "1d"]);
    gpg(&["--clearsign", path(&plain)]);
    judge("gpgconf", &["--homedir", path(home.path()), "--kill", "gpg-agent"]);
    let signed = fs::read_to_string(home.path().join("sums.asc")).unwrap();
    assert!(signed.starts_with("-----BEGIN PGP SIGNED MESSAGE-----\n"), "{signed}");
    signed
}

/// Puts `pause:3.10.2` for two machines into a registry, and `pause:3.10.99` for one of them. Gives the first's index and program.
pub fn pause(registry: &Path, work: &Path) -> (Sha256, Vec<u8>) {
    let program = fs::read(Path::new(STATIC).join("catatonit")).expect("catatonit is missing: run tests/setup.sh");
    let plain = tar(work, &[("pause", &program)]);
    let layer = gzipped(&plain);
    let manifest = |arch: &str| {
        let config = json!({"architecture": arch, "os": "linux", "config": {"Entrypoint": ["/pause"], "Env": ["PATH=/"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", Sha256::of(&plain))]}})
        .to_string();
        let put = |kind: &str, bytes: &[u8]| descriptor(kind, docker::put(registry, "k8s/pause", bytes, BLOB), bytes);
        let config = put("application/vnd.oci.image.config.v1+json", config.as_bytes());
        let layers = [put("application/vnd.oci.image.layer.v1.tar+gzip", &layer)];
        let text = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).to_string();
        let mut found = descriptor(MANIFEST, docker::put(registry, "k8s/pause", text.as_bytes(), DOCUMENT), text.as_bytes());
        found["platform"] = json!({"architecture": arch, "os": "linux"});
        found
    };
    let index = |tag: &str, arches: &[&str]| {
        let manifests: Vec<Value> = arches.iter().map(|arch| manifest(arch)).collect();
        let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
        docker::put_tagged(registry, "k8s/pause", tag, text.as_bytes())
    };
    index("3.10.99", &["arm64"]);
    (index("3.10.2", &ARCHES), program)
}

fn descriptor(kind: &str, digest: Sha256, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()})
}
