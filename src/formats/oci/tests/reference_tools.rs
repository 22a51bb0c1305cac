//! Reference tools that read our archives: containerd itself, and skopeo, whose storage podman and CRI-O share.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{archive, epoch, file, small};
use crate::common::testing::Blobs;
use crate::common::testing::containerd::{Containerd, Listed, STATIC, program};
use crate::common::value::{Arch, Cancel, Reference};
use crate::formats::oci::{Built, Image};

/// Runs skopeo, which must succeed, with its storage and temporary files in `dir`.
fn skopeo(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("skopeo");
    // Independent of the host's policy. Storage wants a user namespace of its own unless it is root.
    command.arg("--insecure-policy").args(args).env("TMPDIR", dir).env("HOME", dir).env("XDG_RUNTIME_DIR", dir).env("LC_ALL", "C");
    let output = command.output().unwrap_or_else(|e| panic!("skopeo is missing: run tests/setup.sh ({e})"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {args:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Copies an archive's image, unpacked, into the storage that CRI-O and podman use, under its name and digest.
fn store(dir: &Path, archive: &str, image: &Image) {
    let (shown, name) = (dir.display(), image.reference());
    let there = format!("containers-storage:[vfs@{shown}/storage+{shown}/run]{name}");
    skopeo(dir, &["copy", archive, &there]);
    let manifest = skopeo(dir, &["inspect", "--raw", &there]);
    assert_eq!(crate::common::value::Sha256::of(&manifest), image.manifest().digest);
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn long() -> String {
    format!("srv/{}/{}", "a".repeat(120), "b".repeat(255))
}

/// An image of busybox.
fn busybox(source: &mut Blobs) -> Built {
    let bytes = fs::read(program(STATIC, "busybox")).unwrap();
    let mut files = vec![file(source, "usr/local/bin/busybox", 0o755, &bytes), file(source, "etc/motd", 0o644, b"hello\n")];
    // Names that a plain header cannot store.
    files.push(file(source, &long(), 0o600, b"long"));
    files.push(file(source, "etc/größe", 0o444, b""));
    let command = vec!["/usr/local/bin/busybox".into(), "sh".into()];
    Built { reference: "registry.k8s.io/tools/busybox:v1.35.0".parse().unwrap(), arch: Arch::Amd64, epoch: epoch(), command, files }
}

fn save(image: &Image, source: &Blobs, path: &Path) {
    fs::write(path, archive(image, source).unwrap()).unwrap();
}

fn listed(image: &Image, platform: &str) -> Listed {
    Listed {
        name: image.reference().to_string(),
        media_type: image.manifest().media_type.to_string(),
        digest: format!("sha256:{}", image.manifest().digest),
        platforms: platform.into(),
    }
}

#[test]
fn containerd_imports_built_images() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("busybox.tar");
    let mut source = Blobs::default();
    let image = busybox(&mut source).image(&source, &Cancel::new()).unwrap();
    save(&image, &source, &path);
    let containerd = Containerd::start();
    containerd.import(&path);
    // Importing twice is harmless: the node may start again before it is done.
    containerd.import(&path);
    assert_eq!(containerd.images(), [listed(&image, "linux/amd64")]);
    let check = containerd.ctr(&["images", "check", "--snapshotter", "native"]);
    assert!(check.contains("complete (2/2)") && check.contains("true"), "{check}");
    // The program runs without anything else: no loader, no library, no shell.
    let root = containerd.newest_snapshot();
    assert_eq!(fs::read(root.join("etc/motd")).unwrap(), b"hello\n");
    assert_eq!((fs::read(root.join(long())).unwrap(), fs::read(root.join("etc/größe")).unwrap()), (b"long".to_vec(), vec![]));
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--root"]).arg(&root).args(["/usr/local/bin/busybox", "ls", "-ln", "/usr/local/bin"]);
    let output = command.output().unwrap_or_else(|e| panic!("unshare is missing: run tests/setup.sh ({e})"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("-rwxr-xr-x    1 0        0") && stdout.contains(" busybox"),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn containerd_refuses_a_changed_archive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("busybox.tar");
    let mut source = Blobs::default();
    let image = busybox(&mut source).image(&source, &Cancel::new()).unwrap();
    let mut bytes = archive(&image, &source).unwrap();
    let at = bytes.windows(6).position(|window| window == b"hello\n").unwrap();
    bytes[at] = b'H';
    fs::write(&path, bytes).unwrap();
    let containerd = Containerd::start();
    let complaint = containerd.try_ctr(&["images", "import", "--snapshotter", "native", path.to_str().unwrap()]).unwrap_err();
    assert!(complaint.contains("not found"), "{complaint}");
}

#[test]
fn skopeo_reads_built_images() {
    for (arch, variant) in [(Arch::Amd64, Value::Null), (Arch::Arm64, "v8".into())] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("small.tar");
        let mut source = Blobs::default();
        let image = small(arch, &mut source).image(&source, &Cancel::new()).unwrap();
        save(&image, &source, &path);
        // By the tag, and as the only image.
        for name in [format!("oci-archive:{}:3.10.2", path.display()), format!("oci-archive:{}", path.display())] {
            let found = json(&skopeo(dir.path(), &["--override-arch", &arch.to_string(), "inspect", &name]));
            assert_eq!(found["Digest"], format!("sha256:{}", image.manifest().digest));
            assert_eq!((&found["Architecture"], &found["Os"]), (&arch.to_string().into(), &"linux".into()));
            assert_eq!(found["Created"], "2025-01-01T00:00:00Z");
            assert_eq!(found["Layers"].as_array().unwrap().len(), 1);
            let config = json(&skopeo(dir.path(), &["--override-arch", &arch.to_string(), "inspect", "--config", &name]));
            assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/bin/pause", "--"]));
            assert_eq!(config["variant"], variant);
        }
        store(dir.path(), &format!("oci-archive:{}:3.10.2", path.display()), &image);
        let raw = skopeo(dir.path(), &["inspect", "--raw", &format!("oci-archive:{}:3.10.2", path.display())]);
        assert_eq!(crate::common::value::Sha256::of(&raw), image.manifest().digest);
    }
}

/// An image with Docker's media types and compressed layers, as from another program: pulled, archived, and read by
/// both tools. containerd identifies it by its publisher's digest.
#[test]
fn a_pulled_image_stays_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second, there) = (dir.path().join("first.tar"), dir.path().join("second.tar"), dir.path().join("there"));
    let mut source = Blobs::default();
    let built = busybox(&mut source);
    save(&built.image(&source, &Cancel::new()).unwrap(), &source, &first);
    let from = format!("oci-archive:{}", first.display());
    skopeo(dir.path(), &["copy", "--format", "v2s2", "--dest-compress", &from, &format!("dir:{}", there.display())]);
    let manifest = fs::read(there.join("manifest.json")).unwrap();
    let reference: Reference = "docker.io/library/busybox:1.35".parse().unwrap();
    let read = crate::formats::oci::manifest(&manifest, &reference).unwrap();
    assert_eq!(read.descriptor.media_type.as_str(), "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(read.layers[0].media_type.as_str(), "application/vnd.docker.image.rootfs.diff.tar.gzip");
    let mut published = Blobs::default();
    for layer in &read.layers {
        published.add(fs::read(there.join(layer.digest.to_string())).unwrap());
    }
    let config = fs::read(there.join(read.config.digest.to_string())).unwrap();
    let image = Image::pulled(reference, Arch::Amd64, &manifest, &config).unwrap();
    save(&image, &published, &second);

    let containerd = Containerd::start();
    containerd.import(&second);
    assert_eq!(containerd.images(), [listed(&image, "linux/amd64")]);
    assert_eq!(fs::read(containerd.newest_snapshot().join("etc/motd")).unwrap(), b"hello\n");
    // Without the tag: by name, skopeo 1.9 finds OCI's own manifests only.
    let from = format!("oci-archive:{}", second.display());
    assert_eq!(json(&skopeo(dir.path(), &["inspect", &from]))["Digest"], format!("sha256:{}", image.manifest().digest));
    store(dir.path(), &from, &image);
    // Another program reads and compares all blobs.
    let back = dir.path().join("back");
    skopeo(dir.path(), &["copy", "--preserve-digests", &from, &format!("dir:{}", back.display())]);
    assert_eq!(fs::read(back.join("manifest.json")).unwrap(), manifest);
}
