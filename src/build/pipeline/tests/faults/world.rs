//! A small world: a project with three roles and all of its inputs, on one server.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::path::Path;

use crate::build::testing;
use crate::common::error::Result;
use crate::common::testing::shared::server::{Answer, Request, Server};
use crate::common::tree::{Content, Meta, Tree};
use crate::common::value::{ArtifactName, Digest, Hasher512, Sha256, TreePath};
use crate::formats::archive::Sink;
use crate::formats::disk::grub;
use crate::spec::lock::{Lock, Request as Asked, SetName};
use crate::spec::recipe::{Recipe, Sources, Subject};

/// The only channel.
pub(crate) const CHANNEL: &str = "test";
/// The roles. They share packages, artifacts and images.
pub(crate) const ROLES: [&str; 3] = ["alpha", "beta", "gamma"];

/// The rest of the sources file after [`testing::SOURCES_HEAD`].
const SOURCES: &str = r#"
[versions]
tool = "1.2.3"
archive = "4.5.6"

[artifact.tool]
version = "tool"
url = "https://faults.test/tool-{version}"
install = "/usr/local/bin/tool"

[artifact.archive]
version = "archive"
url = "https://faults.test/archive-{version}.tar.gz"
unpack = { strip = 1, members = ["server", "ctl"], into = "/usr/local/bin" }

[artifact.own]
path = "files/own"
install = "/usr/local/bin/own"

[image.built]
version = "archive"
reference = "registry.test/built:{version}"
from = "archive"
files = ["server"]
command = ["/usr/local/bin/server"]

[image.pulled]
reference = "registry.test/pulled:v1"
"#;

const PART: &str = r#"description = "a part"
artifacts = ["archive"]
images = ["built"]

[[user]]
name = "served"
id = 950
home = "/var/lib/served"
"#;

const RECIPES: [(&str, &str); 3] = [
    (
        "alpha",
        r#"description = "everything"
parts = ["served"]
artifacts = ["own", "tool"]
images = ["pulled"]

[[file]]
path = "/etc/served.conf"
owner = "served"
content = "x"

[units]
enable = ["a.service", "b.service"]
"#,
    ),
    ("beta", "description = \"some\"\nparts = [\"served\"]\n[[dir]]\npath = \"/srv\"\n"),
    ("gamma", "description = \"others\"\nartifacts = [\"tool\"]\nimages = [\"pulled\"]\n"),
];

/// The project's files and the server's files.
pub(crate) struct World {
    /// The project's files: name and bytes.
    project: Vec<(String, Vec<u8>)>,
    /// The server's files, by the last part of the URL.
    things: BTreeMap<String, Vec<u8>>,
}

/// Incompressible bytes, the same in every run.
pub(crate) fn noise(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 32);
    while bytes.len() < len {
        let block = Sha256::of(format!("{name} {}", bytes.len())).to_string();
        bytes.extend((0..64).step_by(2).map(|n| u8::from_str_radix(&block[n..n + 2], 16).unwrap()));
    }
    bytes.truncate(len);
    bytes
}

impl World {
    /// The world in which the publisher serves these bytes at the tool's URL.
    pub(crate) fn of(edition: &str) -> World {
        // Large enough to have frames of its own.
        let tool = [noise(&format!("tool {edition}"), 70_000), vec![7; 1 << 20]].concat();
        let archive = archive(edition);
        let own = noise("own", 10_000);
        let layer = noise("layer", 40_000);
        let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["#.to_vec();
        let config = [config, format!("\"sha256:{}\"]}}}}", Sha256::of(&layer)).into_bytes()].concat();
        let entry = |kind: &str, bytes: &[u8]| {
            format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","size":{},"digest":"sha256:{}"}}"#, bytes.len(), Sha256::of(bytes))
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
            entry("config.v1+json", &config),
            entry("layer.v1.tar", &layer)
        )
        .into_bytes();
        let platform = entry("manifest.v1+json", &manifest).replace('}', r#","platform":{"architecture":"amd64","os":"linux"}}"#);
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{platform}]}}"#);
        let index = index.into_bytes();
        let packages = [("one", noise("package one", 30_000)), ("grub-pc-bin", grub_package()), ("mmdebstrap", noise("mmdebstrap", 5000))];

        let mut longer = Hasher512::new();
        longer.update(&archive);
        let locked = [
            ("archive", Digest::Sha512(longer.finish()), None),
            ("own", Digest::Sha256(Sha256::of(&own)), Some(own.len() as u64)),
            ("tool", Digest::Sha256(Sha256::of(&tool)), Some(tool.len() as u64)),
        ];
        let lock = lock(&packages, &locked, Sha256::of(&index)).to_text();
        let mut project: Vec<(String, Vec<u8>)> = recipes().into_iter().map(|(name, text)| (name, text.into())).collect();
        project.push((format!("lockfiles/{CHANNEL}.lock"), lock.into()));
        project.push(("recipes/files/own".into(), own));

        let mut things: BTreeMap<String, Vec<u8>> = [("tool-1.2.3".into(), tool), ("archive-4.5.6.tar.gz".into(), archive)].into();
        things.extend(packages.map(|(name, bytes)| (format!("{name}_1_amd64.deb"), bytes)));
        things.extend([layer, config, manifest, index].map(|bytes| (format!("sha256:{}", Sha256::of(&bytes)), bytes)));
        World { project, things }
    }

    /// Writes the project into `folder`.
    pub(crate) fn settle(&self, folder: &Path) {
        for (name, bytes) in &self.project {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// A server that has all files.
    pub(crate) fn serve(&self) -> Server {
        let things = self.things.clone();
        Server::start(move |request: &Request| match request.path.rsplit('/').next().and_then(|name| things.get(name)) {
            Some(bytes) => Answer::ranged(request, bytes),
            None => Answer::new(404, b""),
        })
    }

    /// The server's bytes under a name.
    pub(crate) fn thing(&self, name: &str) -> &[u8] {
        &self.things[name]
    }
}

fn recipes() -> Vec<(String, String)> {
    let mut files = vec![
        (format!("recipes/sources/{CHANNEL}.toml"), [testing::SOURCES_HEAD, SOURCES].concat()),
        ("recipes/base.toml".to_owned(), testing::BASE_RECIPE.to_owned()),
        ("recipes/parts/served.toml".to_owned(), PART.to_owned()),
    ];
    files.extend(RECIPES.map(|(role, text)| (format!("recipes/roles/{role}.toml"), text.to_owned())));
    files
}

fn lock(packages: &[(&str, Vec<u8>)], artifacts: &[(&str, Digest, Option<u64>)], index: Sha256) -> Lock {
    let files = recipes();
    let text = |n: usize| (files[n].0.as_str(), files[n].1.as_str());
    let parse = |n: usize, subject| Recipe::parse(text(n).0, text(n).1, subject).unwrap();
    let sources = Sources::parse(text(0).0, text(0).1, None).unwrap();
    let mut all = vec![parse(1, Subject::Base), parse(2, Subject::Part("served".parse().unwrap()))];
    all.extend(ROLES.iter().enumerate().map(|(n, role)| parse(3 + n, Subject::Role(role.parse().unwrap()))));
    let asked = Asked::of(&sources, &all).unwrap();
    let entry = |(name, bytes): &(&str, Vec<u8>)| {
        testing::package(name, if *name == "one" { SetName::Base } else { SetName::Tool }, (Sha256::of(bytes), bytes.len() as u64))
    };
    let artifact = |name: &ArtifactName, _| {
        let (_, digest, size) = artifacts.iter().find(|(known, ..)| *known == name.as_str()).unwrap();
        (*digest, *size)
    };
    testing::lock(&asked, packages.iter().map(entry).collect(), artifact, |_| index)
}

fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_entry_type(if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// A tar.gz of a folder with two programs.
pub(crate) fn archive(edition: &str) -> Vec<u8> {
    let (server, ctl) = ([program(), noise(&format!("server {edition}"), 90_000)].concat(), noise("ctl", 20_000));
    tar(&[("served-4/server", &server), ("served-4/ctl", &ctl), ("served-4/README", b"read me")])
}

/// The head of a static program: one segment to load.
fn program() -> Vec<u8> {
    let mut head = vec![0; 120];
    head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value) in [(16, 2u8), (18, 62), (24, 1), (32, 64), (54, 56), (56, 1), (64, 1)] {
        head[at] = value;
    }
    head
}

/// A package with files that the disk writer accepts as GRUB's.
fn grub_package() -> Vec<u8> {
    let put = |bytes: &mut [u8], at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let code = noise("kernel", 300);
    let mut kernel = vec![0; 84];
    put(&mut kernel, 0, b"\x7fELF\x01\x01\x01");
    for (at, value) in [(16, 2u16), (18, 3), (42, 32), (44, 1)] {
        put(&mut kernel, at, &value.to_le_bytes());
    }
    let len = code.len() as u32;
    for (at, value) in [(24, 0x9000u32), (28, 52), (52, 1), (56, 84), (60, 0x9000), (68, len), (72, len)] {
        put(&mut kernel, at, &value.to_le_bytes());
    }
    kernel.extend(&code);
    let needs: String = grub::MODULES.iter().map(|name| format!("{name}:\n")).collect();
    let mut files = vec![
        ("boot.img".to_owned(), noise("boot", 512)),
        ("diskboot.img".to_owned(), noise("diskboot", 512)),
        ("lzma_decompress.img".to_owned(), noise("lzma", 64)),
        ("kernel.img".to_owned(), kernel),
        ("moddep.lst".to_owned(), needs.into_bytes()),
    ];
    files.extend(grub::MODULES.iter().map(|name| (format!("{name}.mod"), noise(name, 50))));
    let named: Vec<(String, &[u8])> = files.iter().map(|(name, bytes)| (format!("{}/{name}", grub::FILES_DIR), &bytes[..])).collect();
    let mut entries: Vec<(&str, &[u8])> =
        ["usr/", "usr/lib/", "usr/lib/grub/", "usr/lib/grub/i386-pc/"].map(|name| (name, &b""[..])).into();
    entries.extend(named.iter().map(|(name, bytes)| (name.as_str(), *bytes)));
    let control = b"Package: grub-pc-bin\nVersion: 1.5-2\nArchitecture: amd64\nMaintainer: N <n@example.org>\nDescription: x\n y\n";
    let mut deb = b"!<arch>\n".to_vec();
    for (name, bytes) in
        [("debian-binary", b"2.0\n".to_vec()), ("control.tar.gz", tar(&[("./control", control)])), ("data.tar.gz", tar(&entries))]
    {
        writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 1_700_000_000, 0, 0, "100644", bytes.len()).unwrap();
        deb.extend(&bytes);
        deb.extend(vec![b'\n'; bytes.len() % 2]);
    }
    deb
}

/// A replacement for the installation of packages: returns a base tree, and puts its larger contents into `sink`.
pub(crate) fn base(sink: &mut dyn Sink) -> Result<Tree> {
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
    let unit = "[Install]\nWantedBy=multi-user.target\n";
    let units = [("usr/lib/systemd/system/a.service", unit), ("usr/lib/systemd/system/b.service", unit)];
    let mut files: Vec<(&str, Vec<u8>)> = testing::ACCOUNTS.into_iter().chain(units).map(|(name, text)| (name, text.into())).collect();
    files.push(("usr/bin/program", noise("program", 150_000)));
    files.push(("usr/bin/other", noise("other program", 66_000)));
    for (name, bytes) in files {
        let path = TreePath::fixed(name);
        let content = match bytes.len() {
            ..1000 => Content::Inline(bytes.into()),
            len => sink.put(&path, len as u64, &mut Cursor::new(bytes))?,
        };
        testing::add(&mut tree, &path, content);
    }
    Ok(tree)
}
