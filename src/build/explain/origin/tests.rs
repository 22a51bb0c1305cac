use super::*;
use crate::build::pipeline::{accounts, overlay, resolve, units};
use crate::build::{bill, testing};
use crate::common::testing::Blobs;
use crate::common::tree::{Content, Meta, Node};
use crate::common::value::{Arch, ArtifactName, Digest, RoleName, Sha256};
use crate::spec::lock::{Request, SetName};
use crate::spec::plan::PlannedNode;
use crate::spec::project::{Channel, Project};
use crate::spec::recipe::{Recipe, Sources, Subject};

/// The rest of the sources file after [`testing::SOURCES_HEAD`].
const SOURCES: &str = r#"
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

fn resolved() -> Resolved {
    resolved_of(&|name| (Sha256::of(name), 1))
}

/// The role of these tests, with these bytes: packages, the artifacts `etcd` and `unused`, the image `coredns`.
pub(crate) fn resolved_of(bytes: Bytes) -> Resolved {
    let role: RoleName = "node".parse().unwrap();
    let sources = Sources::parse("recipes/sources/test.toml", &[testing::SOURCES_HEAD, SOURCES].concat(), None).unwrap();
    let recipes = vec![
        Recipe::parse("recipes/base.toml", testing::BASE_RECIPE, Subject::Base).unwrap(),
        Recipe::parse("recipes/parts/etcd.toml", PART, Subject::Part("etcd".parse().unwrap())).unwrap(),
        Recipe::parse("recipes/roles/node.toml", ROLE, Subject::Role(role.clone())).unwrap(),
    ];
    let request = Request::of(&sources, &recipes).unwrap();
    let mut packages = vec![testing::package("one", SetName::Base, bytes("one"))];
    packages.extend(["catatonit", "grub-pc-bin", "mmdebstrap"].map(|name| testing::package(name, SetName::Tool, bytes(name))));
    let artifact = |name: &ArtifactName, arch: Arch| (Digest::Sha256(bytes(&format!("{name} {arch}")).0), None);
    let lock = testing::lock(&request, packages, artifact, |name| bytes(name.as_str()).0);
    let channel = Channel { recipes, sources, lock: Some(lock) };
    resolve::resolve(&Project::Shipped, &channel, &role, &crate::common::value::Cancel::new()).unwrap()
}

fn base() -> Tree {
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
    let files = [
        ("etc/hosts", "of the base"),
        ("etc/motd", ""),
        ("srv/.keep", ""),
        ("usr/lib/systemd/system/a.service", "[Install]\nWantedBy=multi-user.target\nAlias=b.service\n"),
        ("usr/share/doc/one/copyright", ""),
        (
            "var/lib/dpkg/info/one.list",
            "/.\n/etc\n/etc/hosts\n/srv\n/srv/.keep\n/usr\n/lib\n/usr/lib/systemd/system/a.service\n/usr/share/doc/one\n",
        ),
        ("var/lib/dpkg/info/two.list", "/.\n/etc\n"),
    ];
    for (path, text) in testing::ACCOUNTS.into_iter().chain(files) {
        testing::add(&mut tree, &TreePath::fixed(path), Content::Inline(text.as_bytes().into()));
    }
    let kind = Kind::HardLink(TreePath::fixed("usr/share/doc/one/copyright"));
    let node = Node { meta: Meta::new(0o644, 0, 0, 0), kind, layer: Layer::Base };
    tree.insert(TreePath::fixed("usr/share/heir"), node).unwrap();
    tree
}

/// The tree that a build makes, without the bytes of files from artifacts.
fn finished(resolved: &Resolved) -> Tree {
    let plan = &resolved.plan;
    let tree = accounts::add(base(), plan.users(), &Blobs::default()).unwrap();
    let accounts = overlay::Accounts::of(&tree, &Blobs::default()).unwrap();
    let plain = |node: &PlannedNode| match &node.kind {
        PlannedKind::Extraction(extraction) => {
            PlannedNode { kind: PlannedKind::Named { digest: extraction.key(), size: 1 }, ..node.clone() }
        }
        _ => node.clone(),
    };
    let files = plan.files().iter().map(|(path, node)| (path.clone(), plain(node))).collect();
    let tree = overlay::overlay(tree, &files, &accounts, plan.epoch()).unwrap();
    units::apply(tree, plan.presets(), &Blobs::default(), plan.epoch()).unwrap()
}

#[test]
fn every_path_has_who_put_it_there() {
    let resolved = resolved();
    let (base, finished) = (base(), finished(&resolved));
    let owners = Owners::of(&base, &Blobs::default()).unwrap();
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
