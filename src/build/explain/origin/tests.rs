use super::*;
use crate::build::bill;
use crate::build::pipeline::{accounts, overlay, resolve, units};
use crate::common::tree::{Content, ContentSource, Meta, Node};
use crate::common::value::{Arch, Digest, RoleName, Sha256};
use crate::spec::lock::{ArtifactSource, Entry, Lock, LockedArtifact, LockedImage, Request, SetName};
use crate::spec::plan::PlannedNode;
use crate::spec::project::{Channel, Project};
use crate::spec::recipe::{Recipe, Sources, Subject};

const SOURCES: &str = r#"
channel = "test"
kind = "debian-packages"
suite = "bookworm"
components = ["main"]
arch = "amd64"
keyring = "/k.gpg"
keys = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
epoch = 2026-07-11T10:16:37Z
tools = ["grub-pc-bin", "mmdebstrap"]

[versions]
etcd = "3.6.8"
pause = "3.10.2"

[artifact.etcd]
version = "etcd"
url = "https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz"
checksum = "{url}.sha256"
unpack = { strip = 1, members = ["etcd"], into = "/usr/local/bin" }

[artifact.unused]
version = "etcd"
url = "https://a.test/unused"
checksum = "{url}.sha256"

[artifact.pause]
package = "catatonit"
member = "usr/bin/catatonit"

[image.coredns]
reference = "registry.k8s.io/coredns/coredns:v1"

[image.etcd]
version = "etcd"
reference = "registry.k8s.io/etcd:{version}-0"
from = "etcd"
files = ["etcd"]
command = ["/usr/local/bin/etcd"]

[image.pause]
version = "pause"
reference = "registry.k8s.io/pause:{version}"
from = "pause"
command = ["/usr/local/bin/catatonit"]
"#;

const BASE: &str = r#"description = "base"
packages = ["one"]
[units]
mask = ["a.service"]
"#;

const PART: &str = r#"description = "a part"
artifacts = ["etcd", "unused"]
images = ["coredns", "etcd", "pause"]

[[user]]
name = "etcd"
id = 950
home = "/var/lib/etcd"
"#;

const ROLE: &str = r#"description = "a role"
parts = ["etcd"]

[[dir]]
path = "/srv"

[[file]]
path = "/opt/new/folder/file"
content = "x"

[[file]]
path = "/etc/etcd/etcd.conf"
content = "instead"

[[remove]]
path = "/usr/share/doc"

[units]
enable = [
  "a.service",
  "etcd.service",
]
"#;

/// The digest and the length of the locked bytes under a name.
pub(crate) type Bytes<'a> = &'a dyn Fn(&str) -> (Sha256, u64);

fn locked(name: &str, set: SetName, bytes: Bytes) -> Entry {
    let (sha256, size) = bytes(name);
    Entry {
        name: name.parse().unwrap(),
        version: "1.5-2".parse().unwrap(),
        arch: "amd64".parse().unwrap(),
        source: format!("pool/main/x/{name}/{name}_1_amd64.deb").parse().unwrap(),
        size,
        sha256,
        verified: format!("openpgp:{}", "A".repeat(40)).parse().unwrap(),
        sets: [set].into(),
    }
}

fn resolved() -> Resolved {
    resolved_of(&|name| (Sha256::of(name), 1))
}

/// The role of these tests, with these bytes: packages, the artifacts `etcd` and `unused`, the image `coredns`.
pub(crate) fn resolved_of(bytes: Bytes) -> Resolved {
    let role: RoleName = "node".parse().unwrap();
    let sources = Sources::parse("recipes/sources/test.toml", SOURCES, None).unwrap();
    let recipes = vec![
        Recipe::parse("recipes/base.toml", BASE, Subject::Base).unwrap(),
        Recipe::parse("recipes/parts/etcd.toml", PART, Subject::Part("etcd".parse().unwrap())).unwrap(),
        Recipe::parse("recipes/roles/node.toml", ROLE, Subject::Role(role.clone())).unwrap(),
    ];
    let request = Request::of(&sources, &recipes).unwrap();
    let tools = ["catatonit", "grub-pc-bin", "mmdebstrap"].map(|name| locked(name, SetName::Tool, bytes));
    let mut lock = Lock::new(&request, [&[locked("one", SetName::Base, bytes)], &tools[..]].concat()).unwrap();
    for ((name, arch), wanted) in &request.artifacts {
        let artifact = LockedArtifact {
            name: name.clone(),
            arch: *arch,
            version: wanted.version.clone(),
            source: ArtifactSource::Url(wanted.source.to_string()),
            size: None,
            digest: Digest::Sha256(bytes(&format!("{name} {arch}")).0),
            verified: "local".parse().unwrap(),
        };
        lock.artifacts.insert((name.clone(), *arch), artifact);
    }
    for (name, reference) in &request.images {
        let image = LockedImage {
            name: name.clone(),
            reference: reference.clone(),
            path: None,
            digest: bytes(name.as_str()).0,
            verified: "registry".parse().unwrap(),
        };
        lock.images.insert(name.clone(), image);
    }
    let channel = Channel { recipes, sources, lock: Some(lock) };
    resolve::resolve(&Project::Shipped, &channel, &role, &crate::common::value::Cancel::new()).unwrap()
}

struct NoBlobs;
impl ContentSource for NoBlobs {
    fn open(&self, _: &Sha256, _: u64) -> std::io::Result<Box<dyn std::io::Read + Send + '_>> {
        Err(std::io::Error::other("all contents are inline"))
    }
}

fn base() -> Tree {
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
    for (path, text) in [
        ("etc/group", "root:x:0:\n"),
        ("etc/gshadow", "root:*::\n"),
        ("etc/hosts", "of the base"),
        ("etc/motd", ""),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("etc/shadow", "root:*:::::::\n"),
        ("srv/.keep", ""),
        ("usr/lib/systemd/system/a.service", "[Install]\nWantedBy=multi-user.target\nAlias=b.service\n"),
        ("usr/share/doc/one/copyright", ""),
        (
            "var/lib/dpkg/info/one.list",
            "/.\n/etc\n/etc/hosts\n/srv\n/srv/.keep\n/usr\n/lib\n/usr/lib/systemd/system/a.service\n/usr/share/doc/one\n",
        ),
        ("var/lib/dpkg/info/two.list", "/.\n/etc\n"),
    ] {
        let path = TreePath::fixed(path);
        let mut missing: Vec<TreePath> = std::iter::successors(path.parent(), TreePath::parent).collect();
        missing.retain(|folder| tree.get(folder).is_none());
        let node = |kind| Node { meta: Meta::new(0o755, 0, 0, 0), kind, layer: Layer::Base };
        for folder in missing.into_iter().rev() {
            tree.insert(folder, node(Kind::Dir)).unwrap();
        }
        tree.insert(path, node(Kind::File(Content::Inline(text.as_bytes().into())))).unwrap();
    }
    let kind = Kind::HardLink(TreePath::fixed("usr/share/doc/one/copyright"));
    let node = Node { meta: Meta::new(0o644, 0, 0, 0), kind, layer: Layer::Base };
    tree.insert(TreePath::fixed("usr/share/heir"), node).unwrap();
    tree
}

/// The tree that a build makes, without the bytes of files from artifacts.
fn finished(resolved: &Resolved) -> Tree {
    let plan = &resolved.plan;
    let tree = accounts::add(base(), plan.users(), &NoBlobs).unwrap();
    let accounts = overlay::Accounts::of(&tree, &NoBlobs).unwrap();
    let plain = |node: &PlannedNode| match &node.kind {
        PlannedKind::Made(made) => PlannedNode { kind: PlannedKind::Named { digest: made.key(), size: 1 }, ..node.clone() },
        _ => node.clone(),
    };
    let files = plan.files().iter().map(|(path, node)| (path.clone(), plain(node))).collect();
    let tree = overlay::overlay(tree, &files, &accounts, plan.epoch()).unwrap();
    units::apply(tree, plan.presets(), &NoBlobs, plan.epoch()).unwrap()
}

#[test]
fn every_path_has_who_put_it_there() {
    let resolved = resolved();
    let (base, finished) = (base(), finished(&resolved));
    let owners = Owners::of(&base, &NoBlobs).unwrap();
    let origins = assemble(&resolved, &base, &owners, &finished);
    assert!(finished.iter().map(|(path, _)| path).eq(origins.keys()), "each path, and nothing else");
    let shown = |path: &str| origins[&TreePath::parse(path.as_bytes(), false).unwrap()].to_string();
    for (path, expected) in [
        ("", "several packages"),
        ("etc", "several packages"),
        ("etc/hosts", "kbake"),
        ("etc/fstab", "kbake"),
        ("boot", "kbake"),
        ("etc/motd", "made at installation"),
        ("etc/passwd", "made at installation, recipes/parts/etcd.toml:6"),
        ("etc/gshadow", "made at installation, recipes/parts/etcd.toml:6"),
        ("etc/etcd", "kbake's part etcd"),
        ("etc/etcd/etcd.conf", "recipes/roles/node.toml:12"),
        ("etc/systemd/system/etcd.service", "kbake's part etcd"),
        ("etc/systemd/system/b.service", "recipes/roles/node.toml:20"),
        ("etc/systemd/system/multi-user.target.wants/a.service", "recipes/roles/node.toml:20"),
        ("etc/systemd/system/multi-user.target.wants/etcd.service", "recipes/roles/node.toml:21"),
        ("opt", "recipes/roles/node.toml:8"),
        ("opt/new/folder", "recipes/roles/node.toml:8"),
        ("opt/new/folder/file", "recipes/roles/node.toml:8"),
        ("srv", "recipes/roles/node.toml:5"),
        ("srv/.keep", "package one 1.5-2"),
        ("usr/lib/systemd/system/a.service", "package one 1.5-2"),
        ("usr/share/heir", "made at installation"),
        ("usr/local/bin/etcd", "artifact etcd 3.6.8, recipes/parts/etcd.toml:2"),
        ("usr/share/kbake/images/coredns.tar", "image registry.k8s.io/coredns/coredns:v1, recipes/parts/etcd.toml:3"),
        ("usr/share/kbake/images/etcd.tar", "image registry.k8s.io/etcd:3.6.8-0 built of etcd, recipes/parts/etcd.toml:3"),
        ("usr/share/kbake/images/pause.tar", "image registry.k8s.io/pause:3.10.2 built of pause, recipes/parts/etcd.toml:3"),
    ] {
        assert_eq!(shown(path), expected, "{path}");
    }
}

#[test]
fn a_bill_has_what_the_plan_has() {
    let bill = bill(&resolved());
    let of = |item: &crate::build::sbom::Item| {
        let made_of = item.made_of.iter().flatten().map(|of| format!(" <- {of}")).collect::<String>();
        let places = item.places.iter().map(|place| format!(" @ {place}")).collect::<String>();
        format!("{}{made_of}{places}", item.id)
    };
    let items: Vec<String> = bill.items.iter().map(of).collect();
    let expected = [
        "artifact:etcd @ /usr/local/bin/etcd @ /usr/share/kbake/images/etcd.tar:/usr/local/bin/etcd",
        "container:registry.k8s.io/coredns/coredns:v1 @ /usr/share/kbake/images/coredns.tar",
        "container:registry.k8s.io/etcd:3.6.8-0 <- artifact:etcd @ /usr/share/kbake/images/etcd.tar",
        "container:registry.k8s.io/pause:3.10.2 <- deb:catatonit:amd64 @ /usr/share/kbake/images/pause.tar",
        "deb:catatonit:amd64 @ /usr/share/kbake/images/pause.tar:/usr/local/bin/catatonit",
        "deb:grub-pc-bin:amd64",
        "deb:one:amd64",
        "file:/etc/etcd/etcd.conf @ /etc/etcd/etcd.conf",
        "file:/opt/new/folder/file @ /opt/new/folder/file",
    ];
    assert_eq!(items, expected, "what is locked and not put anywhere, and the installer, are not in the image");
    assert_eq!(bill.tools.iter().map(of).collect::<Vec<_>>(), ["deb:mmdebstrap:amd64", "program:kbake"]);
    let etcd = &bill.items[0];
    assert_eq!(etcd.purl.as_deref(), Some("pkg:github/etcd-io/etcd@v3.6.8"));
    assert_eq!(etcd.digest, Some(Digest::Sha256(Sha256::of(format!("etcd {}", Arch::Amd64)))), "of the image's machine");
}
