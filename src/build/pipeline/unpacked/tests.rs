//! Container images in containerd's store, judged by containerd itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::Path;

use super::*;
use crate::build::pipeline::images;
use crate::common::report::Silent;
use crate::common::value::{Arch, Cancel, Digest};
use crate::spec::plan::{BuiltImage, Extract, PulledImage};
use crate::storage::fetch;
use crate::storage::store::{Access, Store};

#[allow(clippy::duplicate_mod, reason = "each of those who share this client has it to itself, as integration tests have")]
#[path = "../../../../tests/cri/mod.rs"]
mod cri;
#[allow(clippy::duplicate_mod, reason = "each of those who share this judge has it to itself, as integration tests have")]
#[path = "../../../../tests/containerd/mod.rs"]
mod daemon;

use cri::Cri;
use daemon::{Containerd, STATIC, program};

const PAUSE: &str = "registry.test/pause:3.10";
const TOOLS: &str = "registry.test/tools/busybox:v1";
const MORE: &str = "registry.test/tools/more:v2";
const LATER: &str = "registry.test/tools/later:v1";

/// A store with the inputs of images.
struct Site {
    folder: tempfile::TempDir,
    store: Store,
    cancel: Cancel,
}

/// The type of a layer's entry, beside a file: `=` before the target of a hard link, `>` before that of a symbolic one, `/`
/// for a folder.
type Entry<'a> = (&'a str, u32, &'a [u8]);

fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, mode, contents) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(*mode);
        header.set_mtime(1_600_000_000);
        header.set_uid(if *mode == 0o600 { 65_532 } else { 0 });
        header.set_size(0);
        match contents.split_first() {
            _ if name.ends_with('/') => {
                header.set_entry_type(tar::EntryType::Directory);
                builder.append_data(&mut header, name, &b""[..]).unwrap();
            }
            Some((b'=' | b'>', target)) => {
                header.set_entry_type(if contents[0] == b'=' { tar::EntryType::Link } else { tar::EntryType::Symlink });
                builder.append_link(&mut header, name, std::str::from_utf8(target).unwrap()).unwrap();
            }
            _ => {
                header.set_size(contents.len() as u64);
                builder.append_data(&mut header, name, *contents).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn busybox() -> Vec<u8> {
    fs::read(program(STATIC, "busybox")).unwrap()
}

/// The lowest layer, shared by two images.
fn ground(busybox: &[u8]) -> Vec<u8> {
    layer(&[
        ("bin/", 0o755, b""),
        ("bin/busybox", 0o755, busybox),
        ("bin/sh", 0o755, b"=bin/busybox"),
        ("bin/cat", 0o777, b">busybox"),
        ("etc/gone", 0o644, b"below"),
        ("etc/motd", 0o600, b"below"),
        ("opt/", 0o711, b""),
        ("opt/below", 0o644, b"below"),
        ("hidden/", 0o755, b""),
        ("hidden/below", 0o644, b"below"),
    ])
}

fn upper(text: &[u8]) -> Vec<u8> {
    layer(&[
        ("etc/.wh.gone", 0o644, b""),
        ("etc/motd", 0o600, text),
        ("opt/above", 0o644, text),
        ("hidden/", 0o755, b""),
        ("hidden/above", 0o644, text),
        ("hidden/.wh..wh..opq", 0o644, b""),
    ])
}

fn descriptor(kind: &str, bytes: &[u8]) -> String {
    let digest = Sha256::of(bytes);
    format!(r#""mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{digest}","size":{}"#, bytes.len())
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let store = Store::open(&folder.path().join("store"), Access::Shared, &cancel, &|| {}).unwrap();
        Site { folder, store, cancel }
    }

    fn bake<T>(&self, work: impl FnOnce(&Bake) -> T) -> T {
        work(&Bake {
            store: &self.store,
            fetch: fetch::Options { offline: true, ..fetch::Options::default() },
            host_mirrors: &|_| Ok(Vec::new()),
            jobs: 1,
            report: &Silent,
            cancel: &self.cancel,
        })
    }

    /// An image as a registry serves it: an index with a second architecture, a manifest, gzipped layers.
    fn pulled(&self, name: &str, layers: &[&[u8]], diffs: &[Sha256]) -> PulledImage {
        let put = |bytes: &[u8]| self.store.insert(bytes).unwrap();
        let diffs: Vec<String> = diffs.iter().map(|diff| format!(r#""sha256:{diff}""#)).collect();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/bin/sh","-c","cat /etc/motd"],"Env":["PATH=/bin"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diffs.join(",")
        );
        let layers: Vec<String> = layers
            .iter()
            .map(|bytes| {
                let packed = gzipped(bytes);
                put(&packed);
                format!("{{{}}}", descriptor("layer.v1.tar+gzip", &packed))
            })
            .collect();
        put(config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{{}}},"layers":[{}]}}"#,
            descriptor("config.v1+json", config.as_bytes()),
            layers.join(",")
        );
        put(manifest.as_bytes());
        let platform = |arch: &str, bytes: &[u8]| {
            format!(r#"{{{},"platform":{{"architecture":"{arch}","os":"linux"}}}}"#, descriptor("manifest.v1+json", bytes))
        };
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}}"#,
            platform("s390x", b"not here"),
            platform("amd64", manifest.as_bytes())
        );
        put(index.as_bytes());
        PulledImage { reference: name.parse().unwrap(), index: Sha256::of(&index), arch: Arch::Amd64 }
    }

    fn image(&self, name: &str, layers: &[&[u8]]) -> PulledImage {
        let diffs: Vec<Sha256> = layers.iter().map(Sha256::of).collect();
        self.pulled(name, layers, &diffs)
    }

    fn unpacked(&self, path: &str, image: &PulledImage, made: images::Made) -> Unpacked {
        self.of(path, &image.reference, made)
    }

    fn of(&self, path: &str, reference: &Reference, made: images::Made) -> Unpacked {
        let tree = self.bake(|bake| bake.tree_of(&made.file)).unwrap();
        let pack = self.store.blob(&made.pack.unwrap().digest).unwrap().unwrap();
        let path = TreePath::fixed(&format!("usr/share/kbake/images/{path}"));
        Unpacked { path, reference: reference.clone(), tree, pack }
    }

    /// An image with one program that keeps running.
    fn pause(&self) -> Unpacked {
        let blob = self.store.insert(&fs::read(program(STATIC, "catatonit")).unwrap()).unwrap();
        let extract = Extract::Whole(Digest::Sha256(blob.digest));
        let path = TreePath::fixed("usr/local/bin/pause");
        let built = BuiltImage {
            reference: PAUSE.parse().unwrap(),
            arch: Arch::Amd64,
            epoch: epoch(),
            command: vec!["/usr/local/bin/pause".into(), "-P".into()],
            files: vec![(path, extract.clone())],
        };
        let made = self.bake(|bake| images::build(bake, &built, Form::Unpacked, &[(extract, blob)].into())).unwrap();
        self.of("pause.tar", &built.reference, made)
    }

    fn pull(&self, path: &str, image: &PulledImage) -> Unpacked {
        let made = self.bake(|bake| images::pull(bake, image, Form::Unpacked)).unwrap();
        self.unpacked(path, image, made)
    }

    /// Three images; two share a layer.
    fn images(&self) -> Vec<Unpacked> {
        let below = ground(&busybox());
        let tools = self.pull("busybox.tar", &self.image(TOOLS, &[&below, &upper(b"tools")]));
        let more = self.pull("more.tar", &self.image(MORE, &[&below, &upper(b"more"), &layer(&[("etc/more", 0o644, b"more")])]));
        vec![tools, more, self.pause()]
    }
}

fn epoch() -> Epoch {
    Epoch::from_seconds(1_767_225_600).unwrap()
}

fn laid(images: &[Unpacked]) -> Tree {
    lay(Tree::new(Meta::new(0o755, 0, 0, 0)), images, epoch()).unwrap()
}

/// Writes a tree to the disk, as the kernel would show it on a node.
fn write(tree: &Tree, images: &[Unpacked], to: &Path) {
    let contents = |digest: &Sha256, size: u64| {
        let at = images.iter().find_map(|image| Some((&image.pack, image.index().unwrap().get(digest)?.0))).unwrap();
        let mut bytes = Vec::new();
        at.0.range(at.1, size, *digest).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let place = |path: &TreePath| to.join(std::str::from_utf8(path.as_bytes()).unwrap());
    let (links, others): (Vec<_>, Vec<_>) = tree.iter().partition(|(_, node)| matches!(node.kind, Kind::HardLink(_)));
    for (path, node) in others.iter().filter(|(path, _)| !path.is_root()) {
        let at = place(path);
        match &node.kind {
            Kind::Dir => fs::create_dir(&at).unwrap(),
            Kind::File(Content::Inline(bytes)) => fs::write(&at, bytes).unwrap(),
            Kind::File(Content::Blob { digest, size }) => fs::write(&at, contents(digest, *size)).unwrap(),
            Kind::Symlink(target) => symlink(std::str::from_utf8(target).unwrap(), &at).unwrap(),
            Kind::CharDev { .. } => {
                let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty());
                rustix::fs::mknodat(rustix::fs::CWD, &at, kind, mode, rustix::fs::makedev(0, 0)).unwrap();
            }
            kind => panic!("{kind:?}"),
        }
        lchown(&at, Some(node.meta.uid), Some(node.meta.gid)).unwrap();
        for (name, value) in &node.meta.xattrs {
            rustix::fs::lsetxattr(&at, name.as_slice(), value, rustix::fs::XattrFlags::empty()).unwrap();
        }
        if !matches!(node.kind, Kind::Symlink(_) | Kind::CharDev { .. }) {
            fs::set_permissions(&at, fs::Permissions::from_mode(node.meta.mode.into())).unwrap();
        }
    }
    for (path, node) in links {
        let Kind::HardLink(target) = &node.kind else { unreachable!() };
        fs::hard_link(place(target), place(path)).unwrap();
    }
}

/// containerd over a folder with these images, with its CRI plugin.
fn start(images: &[Unpacked]) -> Containerd {
    let tree = laid(images);
    Containerd::start_over(&config(), &|root: &Path| {
        let whole = root.parent().unwrap().join("node");
        fs::create_dir(&whole).unwrap();
        write(&tree, images, &whole);
        fs::rename(whole.join(containerd::ROOT), root).unwrap();
    })
}

/// The CRI plugin with the settings of either version, each in its own table.
fn config() -> String {
    format!(
        "oom_score = 0\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{PAUSE}\"\nrestrict_oom_score_adj = true\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"/nowhere\"\n"
    )
}

/// Checks containerd with these images, also after a restart.
fn has_all(containerd: &Containerd, images: &[Unpacked]) {
    let listed = containerd.images();
    let cri = Cri::connect(&containerd.socket()).unwrap();
    for image in images {
        let stored = image.image(&image.index().unwrap()).unwrap().unwrap();
        let (target, chain) = (format!("sha256:{}", stored.target().digest), stored.chain().unwrap());
        let (name, id) = (image.reference.to_string(), format!("sha256:{}", chain.config.digest));
        let by_digest = format!("{}@{target}", name.rsplit_once(':').unwrap().0);
        for reference in [&name, &id, &by_digest] {
            assert_eq!(listed.iter().find(|listed| listed.name == *reference).map(|listed| &listed.digest), Some(&target), "{reference}");
            let found = cri.image(reference).unwrap_or_else(|| panic!("the CRI plugin does not know {reference}\n{}", containerd.log()));
            assert_eq!(
                (found.id.as_str(), found.repo_tags.as_slice(), found.repo_digests.as_slice()),
                (id.as_str(), &[name.clone()][..], &[by_digest.clone()][..])
            );
            assert!(found.pinned || !containerd.knows_pins(), "{reference} is not pinned");
        }
        let checked = containerd.ctr(&["images", "check", &format!("name=={name}")]);
        assert!(checked.lines().last().unwrap().trim_end().ends_with("true"), "{checked}");
    }
    let log = containerd.log();
    for word in ["not unpacked", "is not ok", "Failed to check", "Failed to update reference"] {
        assert!(!log.contains(word), "{log}");
    }
}

/// A container's output.
fn run(containerd: &Containerd, image: &str, name: &str, command: &[&str]) -> String {
    // runc keeps the names of all containers in one folder of the host.
    let name = format!("{name}-{}", containerd.root().parent().unwrap().file_name().unwrap().to_str().unwrap().trim_start_matches('.'));
    let args = ["run", "--rm", "--cgroup", "", "--snapshotter", "overlayfs", image, &name];
    containerd.ctr(&[&args[..], command].concat())
}

#[test]
fn containerd_has_the_images_without_an_import() {
    let site = Site::new();
    let images = site.images();
    let mut containerd = start(&images);
    has_all(&containerd, &images);
    assert_eq!(containerd.images().len(), 3 * images.len(), "three names each, and the CRI plugin adds none");
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1 + 5, "a layer that two images have is there once");
    let usage = containerd.ctr(&["snapshots", "usage"]);
    assert_eq!(usage.lines().count(), 1 + 5, "{usage}");

    assert_eq!(run(&containerd, TOOLS, "one", &["/bin/sh", "-c", "cat /etc/motd; stat -c %u:%a /etc/motd"]), "tools65532:600\n");
    let shown = run(&containerd, MORE, "two", &["/bin/sh", "-c", "busybox ls /etc /hidden /opt; busybox stat -c %a /opt; cat /etc/more"]);
    assert_eq!(shown, "/etc:\nmore\nmotd\n\n/hidden:\nabove\n\n/opt:\nabove\nbelow\n711\nmore");

    // An image that shares a layer with a present one, in an archive with all its layers.
    let later = site.image(LATER, &[&ground(&busybox()), &layer(&[("etc/later", 0o644, b"later")])]);
    let archive = site.bake(|bake| images::pull(bake, &later, Form::Archive)).unwrap().file;
    let file = site.folder.path().join("later.tar");
    site.store.export(&archive.digest, &file, 0o644).unwrap();
    containerd.ctr(&["images", "import", file.to_str().unwrap()]);
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1 + 6);
    assert_eq!(run(&containerd, LATER, "three", &["/bin/sh", "-c", "cat /etc/later"]), "later");
    containerd.ctr(&["images", "remove", "--sync", LATER]);

    // Garbage collection, at a removal and at a start, keeps everything of the node's.
    containerd.restart();
    has_all(&containerd, &images);
    assert_eq!(run(&containerd, TOOLS, "four", &["/bin/sh", "-c", "cat /opt/below /opt/above"]), "belowtools");
}

#[test]
fn a_removed_name_comes_back_without_layers() {
    let site = Site::new();
    let images = site.images();
    let containerd = start(&images);
    for listed in containerd.images() {
        containerd.ctr(&["images", "remove", "--sync", &listed.name]);
    }
    assert_eq!(containerd.images(), []);
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1 + 5, "a label keeps them");
    for image in &images {
        let bytes = archive_of(image);
        assert!(bytes.len() < 20_000, "{} has {} bytes", image.path, bytes.len());
        let file = site.folder.path().join("one.tar");
        fs::write(&file, bytes).unwrap();
        containerd.ctr(&["images", "import", "--no-unpack", file.to_str().unwrap()]);
    }
    assert_eq!(run(&containerd, TOOLS, "one", &["/bin/sh", "-c", "cat /etc/motd"]), "tools");
}

/// The words of `/usr/lib/kbake/images` on a node with containerd, with `under` as the folder that a data disk hides.
fn script(site: &Site, images: &[Unpacked], containerd: &Containerd, under: Option<&Path>, arguments: &[&str]) -> String {
    use crate::build::role::{Entry, Facts, Runtime, part_entries};
    use crate::spec::recipe::Part;

    let folder = site.folder.path();
    let names = [("containerd".parse().unwrap(), "2.3.4".parse().unwrap())];
    let facts = Facts {
        artifacts: names.into(),
        images: [("pause".parse().unwrap(), PAUSE.parse().unwrap())].into(),
        runtime: Some(Runtime::Containerd),
    };
    let script = part_entries(Part::Containerd, &facts).unwrap().into_iter().find_map(|entry| match entry {
        Entry::File { path, bytes, .. } if path == TreePath::fixed("usr/lib/kbake/images") => Some(bytes),
        _ => None,
    });
    fs::write(folder.join("script"), script.unwrap()).unwrap();
    fs::create_dir_all(folder.join("images")).unwrap();
    for image in images {
        fs::write(folder.join("images").join(std::str::from_utf8(image.path.name()).unwrap()), archive_of(image)).unwrap();
    }
    let mut command = std::process::Command::new("dash");
    command.arg(folder.join("script")).args(arguments).env("CONTAINERD_ADDRESS", containerd.socket());
    command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", daemon::programs())).env("KBAKE_STORE", containerd.root());
    for (key, file) in [("IMAGES", "images"), ("MANIFESTS", "manifests"), ("BROUGHT", "brought"), ("BOOT", "boot")] {
        command.env(format!("KBAKE_{key}"), folder.join(file));
    }
    under.into_iter().for_each(|under| _ = command.env("KBAKE_UNDER", under));
    let out = command.output().unwrap_or_else(|e| panic!("dash is missing: run tests/setup.sh ({e})"));
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}\n{}", containerd.log());
    // ctr's own warnings, as of the host's cgroups.
    said.split_inclusive('\n').filter(|line| !line.starts_with("time=")).collect()
}

fn archive_of(image: &Unpacked) -> Vec<u8> {
    let PlannedKind::Named { digest, size } = image.archive().unwrap() else { panic!("an archive") };
    let mut bytes = Vec::new();
    let (at, _) = image.index().unwrap().get(&digest).unwrap();
    image.pack.range(at, size, digest).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_node_has_nothing_to_bring() {
    let site = Site::new();
    let images = site.images();
    let containerd = start(&images);
    let node = |arguments: &[&str]| script(&site, &images, &containerd, None, arguments);
    assert_eq!(node(&["first"]), "");
    assert_eq!(node(&[]), "");
    assert!(site.folder.path().join("boot/done").exists());
    assert!(!site.folder.path().join("brought").exists(), "nothing was brought, so the disk need not be waited for");

    for name in [TOOLS, PAUSE] {
        containerd.ctr(&["images", "remove", "--sync", name]);
    }
    assert_eq!(node(&["first"]), "", "who removed a name can wait for it");
    let said = node(&[]);
    assert!(said.contains(&format!("{TOOLS} (sha256:")) && said.contains(&format!("{PAUSE} (sha256:")) && !said.contains(MORE), "{said}");
    has_all(&containerd, &images);
    assert_eq!(node(&[]), "");
    assert_eq!(run(&containerd, TOOLS, "one", &["/bin/sh", "-c", "cat /etc/motd"]), "tools");
}

/// A data disk is mounted over containerd's folder: the machine image's contents are copied once.
#[test]
fn a_data_disk_gets_the_images_out_of_the_folder_that_it_hides() {
    let site = Site::new();
    let images = site.images();
    let laid = start(&images);
    let mut containerd = Containerd::start_over(&config(), &|root| fs::create_dir(root).unwrap());
    let node = |containerd: &Containerd, arguments: &[&str]| script(&site, &images, containerd, Some(&laid.root()), arguments);
    let said = node(&containerd, &["first"]);
    assert!(said.contains(&format!("{PAUSE} (sha256:")) && !said.contains(TOOLS), "{said}");
    let said = node(&containerd, &[]);
    assert!(said.contains(&format!("{TOOLS} (sha256:")) && said.contains(&format!("{MORE} (sha256:")) && !said.contains(PAUSE), "{said}");
    assert_eq!(node(&containerd, &[]), "", "once");
    let shown = run(&containerd, MORE, "two", &["/bin/sh", "-c", "busybox ls /etc /hidden /opt; busybox stat -c %a /opt; cat /etc/more"]);
    assert_eq!(shown, "/etc:\nmore\nmotd\n\n/hidden:\nabove\n\n/opt:\nabove\nbelow\n711\nmore");

    // After a power cut, incomplete images are removed with their layers, and come again.
    fs::remove_file(site.folder.path().join("brought")).unwrap();
    fs::remove_dir_all(site.folder.path().join("boot")).unwrap();
    containerd.restart();
    let said = node(&containerd, &[]);
    assert_eq!(said.matches("may have been brought by halves").count(), 3, "{said}");
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1 + 5);
    assert_eq!(run(&containerd, TOOLS, "three", &["/bin/sh", "-c", "cat /etc/motd"]), "tools");
    for name in [TOOLS, MORE, PAUSE] {
        containerd.ctr(&["images", "remove", "--sync", name]);
    }
    let left = containerd.images();
    left.iter().for_each(|image| _ = containerd.ctr(&["images", "remove", "--sync", &image.name]));
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1, "nothing else keeps them");
}

#[test]
fn paths_are_those_of_their_images() {
    let site = Site::new();
    let tree = laid(&site.images());
    let Kind::File(Content::Inline(list)) = &tree.get(&TreePath::fixed(containerd::LIST)).unwrap().kind else { panic!("a list") };
    let owners = containerd::snapshots_of(std::str::from_utf8(list).unwrap());
    let owners: Vec<(&str, &str)> = owners.into_iter().collect();
    assert_eq!(owners, [("1", "busybox.tar"), ("2", "busybox.tar"), ("3", "more.tar"), ("4", "more.tar"), ("5", "pause.tar")]);
    let motd = TreePath::fixed(&format!("{}/io.containerd.snapshotter.v1.overlayfs/snapshots/3/fs/etc/motd", containerd::ROOT));
    assert_eq!((tree.get(&motd).is_some(), containerd::snapshot_at(&motd)), (true, Some("3")));
    assert_eq!(containerd::snapshot_at(&TreePath::fixed(containerd::LIST)), None);
}

#[test]
fn the_same_images_give_the_same_bytes() {
    let text = || {
        let site = Site::new();
        laid(&site.images()).to_text()
    };
    assert_eq!(text(), text());
}

#[test]
fn a_layer_that_cannot_be_unpacked_leaves_the_whole_archive() {
    let site = Site::new();
    let odd = layer(&[("etc/.wh.motd", 0o644, b""), ("etc/motd", 0o644, b"both")]);
    let image = site.image(TOOLS, &[&odd]);
    let unpacked = site.pull("odd.tar", &image);
    let whole = site.bake(|bake| images::pull(bake, &image, Form::Archive)).unwrap().file;
    assert_eq!(unpacked.archive().unwrap(), PlannedKind::Named { digest: whole.digest, size: whole.size });
    assert_eq!(laid(&[unpacked]).len(), 1, "containerd's folder is left alone");
}

#[test]
fn a_layer_that_is_another_is_refused() {
    let site = Site::new();
    let image = site.pulled(TOOLS, &[&upper(b"x")], &[Sha256::of(b"another")]);
    let error = site.bake(|bake| images::pull(bake, &image, Form::Unpacked)).unwrap_err();
    assert!(error.class() == Class::User && error.to_string().contains("unpacks to sha256:"), "{error}");
}

#[test]
fn a_damaged_layer_is_an_alarm() {
    let site = Site::new();
    let image = site.image(TOOLS, &[&upper(b"x")]);
    let packed = gzipped(&upper(b"x"));
    let path = site.store.path(&Sha256::of(&packed));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = packed;
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = site.bake(|bake| images::pull(bake, &image, Form::Unpacked)).unwrap_err();
    assert_eq!(error.class(), Class::Integrity, "{error}");
}
