//! Seeds: small sound inputs of every form that a parser knows, made here, so that nothing binary is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::Path;

use kbake::bundle::{self, Outline, Part};
use kbake::disk::ext4::{self, Params, Size};
use kbake::disk::{ContentSource, Data};
use kbake::store::{Access, Action, Generation, History, ImageClaim, Owner, Root, Store};
use kbake::tree::{Content, Kind, Layer, Meta, Node, Segment, Tree};
use kbake::value::{Cancel, Epoch, Sha256, TreePath};

#[path = "../../../src/formats/archive/tar/tests/build.rs"]
pub mod build;

use build::{END, entry, file, folder, header, long, pax, record, with};

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).expect("to memory");
    writer.finish().expect("to memory")
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).expect("a preset");
    writer.write_all(bytes).expect("to memory");
    writer.finish().expect("to memory")
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut writer = zstd::Encoder::new(Vec::new(), 3).expect("a level");
    writer.include_checksum(true).expect("an option");
    writer.write_all(bytes).expect("to memory");
    writer.finish().expect("to memory")
}

/// One archive for every form of entry.
fn tars() -> Vec<Vec<u8>> {
    let field = |n: u64| format!("{n:011o}\0").into_bytes();
    let map = [field(512), field(512), field(4096), field(0)].concat();
    let old = with(header(b"old", b'S', 512), &[(386, &map), (483, &field(8192))]);
    let form01 = [record("GNU.sparse.size", b"8192"), record("GNU.sparse.numblocks", b"1"), record("GNU.sparse.map", b"512,512")];
    let form10 = [("major", "1"), ("minor", "0"), ("name", "one"), ("realsize", "8192")]
        .map(|(key, value)| record(&format!("GNU.sparse.{key}"), value.as_bytes()));
    let mut with_map = b"1\n512\n512\n".to_vec();
    with_map.resize(1024, 0);
    let extended = [
        record("path", "ü=x".as_bytes()),
        record("uid", b"3000000000"),
        record("mtime", b"-3.25"),
        record("size", b"5"),
        record("SCHILY.xattr.user.a", b"\x01\n\0"),
        record("comment", b"c"),
    ];
    let wide = with(header(b"w", b'0', 0), &[(108, b"\x80\0\0\0\x80\0\0\0"), (136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb")]);
    let prefixed = with(header(b"name", b'0', 0), &[(257, b"ustar\x0000"), (345, b"pre/fix")]);
    let v7 = with(header(b"v7", b'0', 0), &[(257, &[0; 8])]);
    vec![
        [folder(b"./"), folder(b"./d/"), file(b"./d/f", b"hello"), entry(b"./h", b'1', b"./d/f", b""), entry(b"./l", b'2', b"d", b"")]
            .concat(),
        [with(header(b"n", b'3', 0), &[(329, b"0000001\0")]).to_vec(), entry(b"p", b'6', b"", b"")].concat(),
        [long(b'L', b"long/name\0"), file(b"x", b"y")].concat(),
        [long(b'K', b"target\0"), entry(b"s", b'2', b"x", b"")].concat(),
        [pax(&extended), file(b"x", b"hello")].concat(),
        [&old[..], &[1; 512]].concat(),
        [pax(&form01), file(b"s", &[1; 512])].concat(),
        [pax(&form10), file(b"s", &with_map)].concat(),
        [entry(b"g", b'g', b"", &record("comment", b"0123")), file(b"a", b"")].concat(),
        [wide.to_vec(), prefixed.to_vec(), v7.to_vec()].concat(),
        [file(b"a", b"1"), file(b"a", b"2"), with(header(b"su", b'0', 0), &[(100, b"0004755\0")]).to_vec()].concat(),
    ]
}

pub fn tar() -> Vec<Vec<u8>> {
    let plain = tars().into_iter().flat_map(|tar| [vec![3], vec![0], vec![2]].map(|pick| [pick, tar.clone()].concat()));
    let whole = [tars()[0].clone(), END.to_vec()].concat();
    plain.chain([gzip(&whole), xz(&whole), zstd(&whole)].map(|packed| [vec![15], packed].concat())).collect()
}

pub fn ar_member(name: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 1_700_000_000, 0, 0, "100644", bytes.len());
    [head.as_bytes(), bytes, if bytes.len() % 2 == 1 { b"\n" } else { b"" }].concat()
}

pub const CONTROL: &[u8] = b"Package: sample\nVersion: 1:2.0-3\nArchitecture: amd64\nDescription: x\n y\n";

pub fn deb() -> Vec<Vec<u8>> {
    let control = [folder(b"./"), file(b"./control", CONTROL)].concat();
    let data = [folder(b"./"), folder(b"./usr/"), file(b"./usr/a", b"hello")].concat();
    let at = (control.len() as u16).to_be_bytes();
    let parts = [&[1][..], &at, &control, &data].concat();
    let (control, data) = ([&control[..], &END].concat(), [&data[..], &END].concat());
    let version = ar_member("debian-binary", b"2.0\n");
    let whole = |members: &[Vec<u8>]| [b"\0\0\0!<arch>\n".as_slice(), &members.concat()].concat();
    vec![
        parts,
        whole(&[version.clone(), ar_member("control.tar", &control), ar_member("data.tar", &data)]),
        whole(&[version, ar_member("_x", b"odd"), ar_member("control.tar.gz", &gzip(&control)), ar_member("data.tar.xz", &xz(&data))]),
    ]
}

pub fn control() -> Vec<Vec<u8>> {
    vec![CONTROL.to_vec(), b"Package: a\nVersion:1\nArchitecture: all\n.\n\t b\n".to_vec()]
}

pub fn compress() -> Vec<Vec<u8>> {
    let text: Vec<u8> = (0..400_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 20).to_string().into_bytes()).collect();
    let mut all: Vec<_> =
        [gzip, xz, zstd].iter().flat_map(|pack| [pack(&text), pack(b""), [pack(b"one"), pack(b"two")].concat()]).collect();
    all.push([b"\x50\x2a\x4d\x18\x02\0\0\0xy".as_slice(), &zstd(b"z")].concat());
    all.push(text);
    all
}

pub fn manifest(config_digest: &str, config_size: &str, layer: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{config_size},"digest":"sha256:{config_digest}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":1000,"digest":"{layer}"}}]}}"#
    )
}

pub fn config() -> String {
    let id = format!("sha256:{}", Sha256::of("layer"));
    format!(r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{id}"]}}}}"#)
}

pub fn index(digest: &str) -> String {
    let entry = |arch: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":526,"digest":"{digest}","platform":{{"architecture":"{arch}","os":"linux"}}}}"#
        )
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}}"#,
        entry("arm64"),
        entry("amd64")
    )
}

pub fn oci() -> Vec<Vec<u8>> {
    let layer = format!("sha256:{}", Sha256::of("layer"));
    let docker = index(&layer).replace("oci.image.index.v1", "docker.distribution.manifest.list.v2");
    let pair = format!("{}\n{}", manifest("@DIGEST@", "@SIZE@", &layer), config());
    vec![index(&layer).into(), docker.into(), manifest(&layer[7..], "300", &layer).into(), config().into(), pair.into()]
}

/// A file of a bundle.
pub fn bundle_file(name: &str, bytes: &[u8]) -> Vec<u8> {
    [&bundle_header(name, b'0', 0o644, bytes.len() as u64)[..], &build::padded(bytes)].concat()
}

/// A header as bundles have them: ustar, of time 0.
pub fn bundle_header(name: &str, flag: u8, mode: u16, size: u64) -> [u8; 512] {
    let texts = [format!("{mode:07o}\0"), format!("{size:011o}\0{:011o}\0", 0)];
    let parts: [(usize, &[u8]); 5] =
        [(100, texts[0].as_bytes()), (124, texts[1].as_bytes()), (257, b"ustar\x0000"), (329, b"0000000\0"), (337, b"0000000\0")];
    with(header(name.as_bytes(), flag, size), &parts)
}

/// The blob of the bundles here.
pub const BLOB: &[u8] = b"blob";

/// A bundle around these documents, in which `@M@`, `@C@` and `@B@` stand for the digests of the manifest, the
/// configuration and the blob, `@MS@` and so on for their sizes.
pub fn bundle_of(index: &str, manifest: &str, config: &str) -> Vec<u8> {
    let named = |text: &str, mark: &str, bytes: &[u8]| {
        text.replace(&format!("@{mark}@"), &Sha256::of(bytes).to_string()).replace(&format!("@{mark}S@"), &bytes.len().to_string())
    };
    let manifest = named(&named(manifest, "C", config.as_bytes()), "B", BLOB);
    let index = named(index, "M", manifest.as_bytes());
    let blob = |bytes: &[u8]| bundle_file(&format!("blobs/sha256/{}", Sha256::of(bytes)), bytes);
    [
        bundle_file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        bundle_file("index.json", index.as_bytes()),
        bundle_header("blobs/", b'5', 0o755, 0).to_vec(),
        bundle_header("blobs/sha256/", b'5', 0o755, 0).to_vec(),
        blob(manifest.as_bytes()),
        blob(config.as_bytes()),
        blob(BLOB),
        END.to_vec(),
    ]
    .concat()
}

pub const BUNDLE_INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:@M@","size":@MS@,"annotations":{"org.opencontainers.image.ref.name":"etcd"},"artifactType":"application/vnd.kbake.role.v1"}],"annotations":{"vnd.kbake.bundle.format":"1"}}"#;
pub const BUNDLE_MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.kbake.role.v1","config":{"mediaType":"application/vnd.kbake.role.config.v1+json","digest":"sha256:@C@","size":@CS@},"layers":[{"mediaType":"application/vnd.kbake.plan.v1","digest":"sha256:@B@","size":@BS@,"annotations":{"org.opencontainers.image.title":"plan"}}]}"#;
pub const BUNDLE_CONFIG: &str = "{}";

/// A bundle's configuration for a role, whose plan is the blob.
pub fn described() -> String {
    let zeros = "0".repeat(64);
    let plan = Sha256::of(BLOB);
    format!(r#"{{"format":1,"role":"etcd","channel":"debian","arch":"amd64","plan":"{plan}","tree":"{zeros}","image":"{zeros}"}}"#)
}

pub fn bundle() -> Vec<Vec<u8>> {
    let part = Part { kind: bundle::Kind::Plan, title: "plan".into(), digest: Sha256::of(BLOB), size: 4, sha512: None, left_out: false };
    let content = bundle::Content { name: "etcd".parse().expect("a literal"), config: BUNDLE_CONFIG.into(), parts: vec![part] };
    let outline = Outline::new(vec![content], BTreeSet::new()).expect("sound");
    let mut whole = Vec::new();
    let blobs = Blobs([(Sha256::of(BLOB), BLOB.to_vec())].into());
    bundle::write(&outline, &blobs, &mut whole, &Cancel::new(), &|_| {}).expect("to memory");
    assert!(bundle_of(BUNDLE_INDEX, BUNDLE_MANIFEST, BUNDLE_CONFIG) == whole, "what kbake writes, and what is made here");
    let texts = [BUNDLE_INDEX, BUNDLE_MANIFEST, BUNDLE_CONFIG].join("\n");
    let since = texts.replacen(r#""1"}}"#, &format!(r#""1","vnd.kbake.bundle.since":"sha256:{}"}}}}"#, Sha256::of("old")), 1);
    let left_out = since.replacen(r#""plan"}"#, r#""plan","vnd.kbake.bundle.left-out":"true"}"#, 1);
    let described = [BUNDLE_INDEX, BUNDLE_MANIFEST, &described()].join("\n");
    [texts, since, left_out, described]
        .map(|text| [b"\x01", text.as_bytes()].concat())
        .into_iter()
        .chain([[&[0], &whole[..]].concat()])
        .collect()
}

/// A static program's headers, and a dynamic one's.
pub fn elf() -> Vec<Vec<u8>> {
    [(1_u32, 62_u16), (3, 183)]
        .map(|(kind, machine)| {
            let mut bytes = vec![0; 200];
            bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            bytes[16..18].copy_from_slice(&2_u16.to_le_bytes());
            bytes[18..20].copy_from_slice(&machine.to_le_bytes());
            bytes[24..32].copy_from_slice(&0x40_0000_u64.to_le_bytes());
            bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
            bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
            bytes[56..58].copy_from_slice(&1_u16.to_le_bytes());
            bytes[64..68].copy_from_slice(&kind.to_le_bytes());
            bytes
        })
        .to_vec()
}

pub fn contents() -> Vec<Vec<u8>> {
    let strings = ["go1.26.8", "mmmmmmmmmmmmmmmmpath\tp\nmod\ta.test/a\tv1\th1:a\ndep\tb\tv2\n=>\t./b\t(devel)\t\nmmmmmmmmmmmmmmmm"];
    let mut program = vec![0; 129];
    program[1..8].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value) in [(33, 64_u64), (65, 6 << 32 | 1), (73, 128), (81, 128), (97, 200)] {
        program[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    (program[55], program[57]) = (56, 1);
    program.extend(b"\xff Go buildinf:\x08\x02");
    program.extend([0; 16]);
    for text in strings {
        program.push(text.len() as u8);
        program.extend(text.as_bytes());
    }
    let texts = [
        "\x01Name: a\nVersion: 1\n\n",
        "\x02Package: a\nStatus: install ok installed\nArchitecture: all\nSource: b (1)\nVersion: 1\n",
        "\x03P:a\nV:1\nA:x86_64\no:b\n",
        "\x04ID=debian\nVERSION_ID=\"12\"\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain([program]).collect()
}

pub fn registry() -> Vec<Vec<u8>> {
    [
        (401_u16, r#"Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull""#),
        (401, r#"Negotiate, Basic realm=x, Bearer realm="a \"b\"""#),
        (206, "bytes 5-9/10"),
        (206, "bytes 5-9/*"),
        (200, "text/html; charset=utf-8"),
        (429, "120"),
        (200, "<!doctype html><html>"),
        (0, "registry.k8s.io:5000/a/b-c/pause:3.10.2"),
        (0, "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ]
    .iter()
    .map(|(status, text)| [&status.to_be_bytes()[..], text.as_bytes()].concat())
    .collect()
}

/// The header of an image of version 3: L1 table at cluster 1.
pub fn qcow2_header(cluster_bits: u32, size: u64, l1_entries: u32, zstd: bool) -> Vec<u8> {
    let mut head = vec![0; 112];
    head[..4].copy_from_slice(b"QFI\xfb");
    head[4..8].copy_from_slice(&3_u32.to_be_bytes());
    head[20..24].copy_from_slice(&cluster_bits.to_be_bytes());
    head[24..32].copy_from_slice(&size.to_be_bytes());
    head[36..40].copy_from_slice(&l1_entries.to_be_bytes());
    head[40..48].copy_from_slice(&(1_u64 << cluster_bits).to_be_bytes());
    head[96..100].copy_from_slice(&4_u32.to_be_bytes());
    head[100..104].copy_from_slice(&112_u32.to_be_bytes());
    if zstd {
        head[72..80].copy_from_slice(&8_u64.to_be_bytes());
        head[104] = 1;
    }
    head
}

/// Small clusters: one plain, one of zeros, one compressed, one hole.
fn small_qcow2(zstd: bool) -> Vec<u8> {
    let cluster = vec![7; 512];
    let packed = match zstd {
        true => ::zstd::bulk::compress(&cluster, 3).expect("to memory"),
        false => {
            let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
            writer.write_all(&cluster).expect("to memory");
            writer.finish().expect("to memory")
        }
    };
    let mut image = qcow2_header(9, 64 * 512, 1, zstd);
    image.resize(5 * 512, 0);
    image[512..520].copy_from_slice(&(1 << 63 | 1024_u64).to_be_bytes());
    for (at, entry) in [(0, 1 << 63 | 1536), (1, 1), (2, 1 << 62 | 2048), (5, 1 << 63 | 1536), (63, 1 << 62 | 2048)] as [(usize, u64); 5] {
        image[1024 + at * 8..][..8].copy_from_slice(&entry.to_be_bytes());
    }
    image[1536..2048].fill(9);
    image[2048..2048 + packed.len()].copy_from_slice(&packed);
    image
}

pub fn qcow2() -> Vec<Vec<u8>> {
    let mut old = small_qcow2(false);
    old[7] = 2;
    let mut large = qcow2_header(16, 3 << 16, 1, false);
    large.resize(3 << 16, 0);
    vec![small_qcow2(false), small_qcow2(true), old, large]
}

/// The offset of the disk of [`plain_qcow2`] in its file, in bytes.
pub const PLAIN_AT: u64 = 3 << 16;

/// A disk, uncompressed and in order, as an image.
pub fn plain_qcow2(disk: &[u8]) -> Vec<u8> {
    let clusters = disk.len().div_ceil(1 << 16);
    assert!(clusters <= 8192, "one L2 table is enough for these");
    let mut image = qcow2_header(16, disk.len() as u64, 1, false);
    image.resize(1 << 16, 0);
    image.extend((1 << 63 | 2_u64 << 16).to_be_bytes());
    image.resize(2 << 16, 0);
    image.extend((0..clusters as u64).flat_map(|at| (1 << 63 | (PLAIN_AT + (at << 16))).to_be_bytes()));
    image.resize(PLAIN_AT as usize, 0);
    image.extend_from_slice(disk);
    image
}

/// A disk, and its blocks that are not empty.
pub struct Disk {
    pub bytes: Vec<u8>,
    pub busy: Vec<usize>,
}

struct Blobs(BTreeMap<Sha256, Vec<u8>>);

impl ContentSource for Blobs {
    fn open(&self, digest: &Sha256, _: u64) -> std::io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(&self.0[digest][..]))
    }
}

/// A filesystem with a file of every form.
pub fn disk() -> (Disk, Tree) {
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 1_700_000_000));
    let mut blobs = Blobs(BTreeMap::new());
    let mut blob = |bytes: Vec<u8>| {
        let digest = Sha256::of(&bytes);
        let size = bytes.len() as u64;
        blobs.0.insert(digest, bytes);
        (digest, size)
    };
    let mut put = |path: &str, kind: Kind| {
        let node = Node { meta: Meta::new(0o644, 0, 0, 1_700_000_000), kind, layer: Layer::Role };
        tree.insert(TreePath::fixed(path), node).expect("a sound tree");
    };
    put("d", Kind::Dir);
    for n in 0..100 {
        put(&format!("d/{n}-{}", "n".repeat(60)), Kind::File(Content::Inline(vec![n; usize::from(n) % 7].into())));
    }
    let (digest, size) = blob((0..20_000_u32).flat_map(u32::to_le_bytes).collect());
    put("file", Kind::File(Content::Blob { digest, size }));
    let (digest, size) = blob(vec![5; 5000]);
    put("hole", Kind::File(Content::Sparse { size: 1 << 20, segments: vec![Segment { offset: 8192, digest, size }] }));
    put("long", Kind::Symlink(vec![b'x'; 200]));
    put("short", Kind::Symlink(b"file".to_vec()));
    put("twin", Kind::HardLink(TreePath::fixed("file")));
    put("pipe", Kind::Fifo);
    let params = Params {
        uuid: *b"kbake fuzzing...",
        label: "root".into(),
        hash_seed: *b"seed of the hash",
        epoch: Epoch::from_seconds(1_700_000_000).expect("a time"),
        size: Size::Fit { slack: 0, room: 1 << 30 },
        journal_blocks: 1024,
    };
    let pieces = ext4::layout(&tree, &tree, &params).expect("it fits");
    let mut bytes = vec![0; pieces.len() as usize];
    for piece in pieces.iter() {
        let part = match &piece.data {
            Data::Bytes(bytes) => bytes.clone(),
            Data::Blob { digest, offset, len, .. } => blobs.0[digest][*offset as usize..][..*len as usize].to_vec(),
        };
        bytes[piece.at as usize..][..part.len()].copy_from_slice(&part);
    }
    let busy = (0..bytes.len()).step_by(128).filter(|&at| bytes[at..(at + 128).min(bytes.len())].iter().any(|&byte| byte != 0));
    let busy = busy.flat_map(|at| at..at + 128).collect();
    (Disk { bytes, busy }, tree)
}

pub fn ext4() -> Vec<Vec<u8>> {
    vec![vec![0; 4], (0..=255).collect()]
}

fn shared(folder: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    // This file is compiled into the fuzzer and into kbake's own tests, whose folders differ.
    let top = if top.ends_with("fuzz") { top.join("../..") } else { top.to_owned() };
    names.iter().map(|name| std::fs::read(top.join(folder).join(name)).expect("a file of the project")).collect()
}

pub fn lock() -> Vec<Vec<u8>> {
    let zeros = "0".repeat(64);
    let package = format!(
        "format = 2\nchannel = \"debian\"\narch = \"amd64\"\n\n[[suite]]\nname = \"bookworm\"\narchive = \"debian\"\ncomponents = [\"main\"]\nreleased = \"2026-07-11T10:16:37Z\"\n\n[request]\nbase = [\n  \"aa\",\n]\netcd = [\n]\n\
         \n[[package]]\nname = \"aa\"\nversion = \"1:2.0~rc1-3+b1\"\narch = \"all\"\narchive = \"debian\"\nsource = \"pool/main/a/aa_1_all.deb\"\nsize = 1\nsha256 = \"{zeros}\"\nverified = \"openpgp:{}\"\nsets = [\"base\"]\n",
        "A".repeat(40)
    );
    let rest = format!(
        "\n[[artifact]]\nname = \"etcd\"\nversion = \"3.6.8\"\narch = \"amd64\"\nsource = \"https://h.example/etcd.tar.gz\"\nsize = 10\nsha256 = \"{zeros}\"\nverified = \"publisher\"\n\
         \n[[image]]\nname = \"pause\"\nreference = \"registry.k8s.io/pause:3.10\"\ndigest = \"sha256:{zeros}\"\nverified = \"publisher\"\n"
    );
    vec![package.clone().into(), (package + &rest).into()]
}

pub fn recipe() -> Vec<Vec<u8>> {
    [shared("recipes", &["base.toml"]), shared("recipes/roles", &["etcd.toml", "worker.toml", "control-plane.toml"])].concat()
}

pub fn sources() -> Vec<Vec<u8>> {
    shared("recipes/sources", &["debian.toml", "upstream.toml", "upstream-1.35.toml"])
}

pub fn cluster() -> Vec<Vec<u8>> {
    shared(
        "recipes/clusters",
        &["etcd.toml", "external-etcd.toml", "hard-way.toml", "lab.toml", "one-node.toml", "two-node.toml", "cilium.toml"],
    )
}

pub fn checksums() -> Vec<Vec<u8>> {
    let (a, b) = (Sha256::of("a"), Sha256::of("b"));
    [
        format!("{a}\n"),
        format!("{a}  kubelet\n{b} *kubectl\n"),
        format!("SHA256 (amd64/kubelet) = {a}\n# x\n"),
        format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{a}  kubelet\n- --- a rule\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
        ),
        format!("---\nkubelet_checksums:\n  amd64:\n    1.36.0: sha256:{a} # new\n    'v1.35.1': {b}\nother: value\n"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// A zip archive with the stored file `a.json`, an empty list.
fn zip() -> Vec<u8> {
    let common = [&[0; 6][..], &[0; 4], &0x0d4c_bb29u32.to_le_bytes(), &2u32.to_le_bytes(), &2u32.to_le_bytes(), &[6, 0, 0, 0]].concat();
    let local = [b"PK\x03\x04", &common[..], b"a.json[]"].concat();
    let entry = [b"PK\x01\x02\x14\0", &common[..], &[0; 14], b"a.json"].concat();
    let sizes = [entry.len() as u32, local.len() as u32].map(u32::to_le_bytes).concat();
    [&local[..], &entry, b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &sizes, &[0; 2]].concat()
}

pub fn advisories() -> Vec<Vec<u8>> {
    let tracker = r#"{"one": {"CVE-2026-1": {"releases": {"trixie": {"status": "resolved", "fixed_version": "1:1.0-1", "urgency": "low",
        "nodsa": "x", "nodsa_reason": "postponed", "repositories": {"trixie": "1:1.0-1", "trixie-security": "1:1.0-2"}}}}}}"#;
    let records = r#"[{"id": "GO-1", "aliases": ["CVE-2026-1"], "severity": [{"score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:L/A:N"}],
        "affected": [{"package": {"ecosystem": "Go", "name": "a.test/two"}, "versions": ["v1.2.3"], "ranges": [{"type": "SEMVER",
        "events": [{"introduced": "0"}, {"fixed": "1.2.4-rc.1"}, {"last_affected": "2.0.0"}]}]}]}]"#;
    let pins = format!("format = 1\n\n[[advisories]]\nname = \"go\"\nsize = 1\nsha256 = \"{}\"\n", "0".repeat(64));
    let vex = "[[statement]]\nvulnerability = \"CVE-2026-1\"\nproducts = [\"two\"]\nstatus = \"not_affected\"\njustification = \"component_not_present\"\n";
    [
        shared("recipes", &["advisories.toml"]),
        vec![tracker.into(), records.into(), pins.into_bytes(), vex.into(), zip(), gzip(&[file(b"a.json", b"[]"), END.to_vec()].concat())],
    ]
    .concat()
}

pub fn tables() -> Vec<Vec<u8>> {
    [shared("recipes", &["compatibility.toml"]), shared("images", &["expected.toml"])].concat()
}

pub fn tree() -> Vec<Vec<u8>> {
    let (_, tree) = disk();
    let d = Sha256::of("d");
    let more = format!(
        "dir / 0755 0 0 1700000000 - - base\nchar /c 0666 0 0 1 - 1:3 base\nfile /f 4755 0 7 -1 12 sha256:{d} base user.note=a\\x20b\n\
         sparse /s 0600 0 0 1 8192 0+512=sha256:{d},4096+10=sha256:{d} role\nsocket /t 0600 0 0 1 - - role\n"
    );
    vec![tree.to_text().lines().take(12).map(|line| format!("{line}\n")).collect::<String>().into(), more.into()]
}

pub fn store() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).expect("a store");
    let mut writer = store.writer(None, None).expect("a writer");
    writer.write_all(b"blob").expect("written");
    let blob = writer.commit().expect("kept");
    let key = Sha256::of("key");
    store.put_action("image", &key, &Action { outputs: [("image".to_owned(), blob)].into() }).expect("kept");
    let owner = Owner { project: Some("/p".into()), channel: "debian".into(), role: "etcd".parse().expect("a literal") };
    let current = Generation {
        history: History { plan: blob, causes: Some(blob) },
        actions: [("image".to_owned(), key)].into(),
        inputs: [key].into(),
    };
    store.put_root(&Root { owner, current, previous: None, outputs: ["/o".into()].into() }).expect("kept");
    store.put_claim(&ImageClaim { plan: key, tree: key, image: key }).expect("kept");
    let read = |name: &str| {
        let folder = store.root().join(name);
        let mut files: Vec<_> = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("listed").path()).collect();
        files.sort();
        files.iter().map(|path| std::fs::read(path).expect("read")).collect::<Vec<_>>()
    };
    [read("actions"), read("roots"), read("claims")].concat()
}
