//! What is fuzzed: every parser that reads bytes which kbake did not write itself. A target must survive any input; what
//! it accepts must also keep the promises that are asserted here.
//!
//! `tests/hostile.rs` runs the same functions over the seeds and over what fuzzing once found.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kbake::build::Description;
use kbake::cluster::model::Cluster;
use kbake::common::tree::pack::PackIndex;
use kbake::common::tree::{Kind, Layer, Tree};
use kbake::common::value::{Arch, Cancel, Digest, Reference, Sha256, TreePath};
use kbake::formats::archive::deb::{self, Control};
use kbake::formats::archive::{Duplicates, Limits, Memory, Parents, Policy, Verdict, ar, compress, tar};
use kbake::formats::inspect::Image;
use kbake::formats::inspect::contents::Content;
use kbake::formats::inspect::readback::{self, Depth};
use kbake::formats::oci;
use kbake::spec::compatibility::Table;
use kbake::spec::lock::Lock;
use kbake::spec::project::Expected;
use kbake::spec::recipe::{Recipe, Sources, Subject};
use kbake::spec::upstream::{self, List};
use kbake::storage::bundle::{self, Bytes, Outline, Part, Taken, Visitor};
use kbake::storage::store::{Access, Lookup, Owner, Store};

use super::seeds;

/// One parser, or a few that read the same.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: [Target; 19] = [
    Target { name: "tar", run: tar, seeds: seeds::tar },
    Target { name: "deb", run: deb, seeds: seeds::deb },
    Target { name: "control", run: control, seeds: seeds::control },
    Target { name: "compress", run: compress, seeds: seeds::compress },
    Target { name: "bundle", run: bundle, seeds: seeds::bundle },
    Target { name: "oci", run: oci, seeds: seeds::oci },
    Target { name: "elf", run: elf, seeds: seeds::elf },
    Target { name: "contents", run: contents, seeds: seeds::contents },
    Target { name: "registry", run: registry, seeds: seeds::registry },
    Target { name: "qcow2", run: qcow2, seeds: seeds::qcow2 },
    Target { name: "ext4", run: ext4, seeds: seeds::ext4 },
    Target { name: "lock", run: lock, seeds: seeds::lock },
    Target { name: "recipe", run: recipe, seeds: seeds::recipe },
    Target { name: "sources", run: sources, seeds: seeds::sources },
    Target { name: "cluster", run: cluster, seeds: seeds::cluster },
    Target { name: "checksums", run: checksums, seeds: seeds::checksums },
    Target { name: "tables", run: tables, seeds: seeds::tables },
    Target { name: "tree", run: tree, seeds: seeds::tree },
    Target { name: "store", run: store, seeds: seeds::store },
];

/// Small enough that a bomb cannot pass for a hang.
const LIMITS: Limits = Limits { total_bytes: 8 << 20, file_bytes: 1 << 40, entries: 5000, depth: 64, meta_bytes: 4 << 20 };

fn policy(pick: u8) -> Policy {
    let mut policy = match pick & 3 {
        0 => Policy::strict("t", Layer::Role),
        1 => Policy::package("t", Layer::Base),
        _ => Policy::system("t", Layer::Base),
    };
    policy.limits = LIMITS;
    if pick & 3 == 3 {
        (policy.privileged, policy.duplicates, policy.parents) = (Verdict::Allow, Duplicates::LastWins, Parents::Create);
    }
    policy
}

/// The sums that libFuzzer cannot guess: of every block that looks like a header.
fn mend(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" || (block[156].is_ascii_graphic() && block[257..265] == [0; 8] && block[0] != 0) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

/// Whatever is accepted is a sound tree of the bytes that were stored, and has one text.
fn check_tree(tree: &Tree, sink: &Memory, policy: &Policy) {
    assert!(tree.len() as u64 <= policy.limits.entries);
    for (path, node) in tree.iter() {
        assert!(path.components().all(|part| part != b".." && part != b"." && !part.contains(&0) && part.len() <= 255), "{path}");
        assert!(node.meta.mode <= 0o7777);
        if policy.privileged == Verdict::Refuse && matches!(node.kind, Kind::File(_)) {
            assert!(node.meta.mode & 0o6000 == 0 && !node.meta.xattrs.contains_key(&b"security.capability"[..]), "{path}");
        }
        match &node.kind {
            Kind::CharDev { .. } | Kind::BlockDev { .. } | Kind::Fifo | Kind::Socket => {
                assert_eq!(policy.devices, Verdict::Allow, "{path}")
            }
            Kind::File(kbake::common::tree::Content::Blob { digest, size }) => {
                assert_eq!(sink.blobs[digest].len() as u64, *size, "{path}");
            }
            Kind::HardLink(target) => assert!(matches!(tree.get(target).expect("it is there").kind, Kind::File(_)), "{path}"),
            _ => {}
        }
    }
    let text = tree.to_text();
    assert_eq!(Tree::parse_text(&text, "t").expect("a tree's own text").to_text(), text);
}

fn short(error: &kbake::Error) {
    let text = error.to_string();
    assert!(text.len() < 20_000, "a message of {} bytes: {}", text.len(), &text.chars().take(300).collect::<String>());
    assert!(!text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "control characters in a message: {text:?}");
}

/// First byte: the policy, and whether sums are mended.
fn tar(bytes: &[u8]) {
    let Some((pick, rest)) = bytes.split_first() else { return };
    let policy = policy(*pick);
    let mut archive = rest.to_vec();
    if pick & 4 == 0 {
        mend(&mut archive);
    }
    if pick & 8 == 0 {
        archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    }
    let mut sink = Memory::default();
    match tar::read(&*archive, &policy, &mut sink) {
        Ok(tree) => check_tree(&tree, &sink, &policy),
        Err(error) => short(&error),
    }
}

fn member(name: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 1, 0, 0, "100644", bytes.len());
    [head.as_bytes(), bytes, if bytes.len() % 2 == 1 { b"\n" } else { b"" }].concat()
}

/// First byte: whether it is an archive as it stands, or the tars of a package, split at the next two bytes.
fn deb(bytes: &[u8]) {
    let [pick, high, low, rest @ ..] = bytes else { return };
    let package = if pick & 1 == 0 {
        rest.to_vec()
    } else {
        let at = (usize::from(*high) << 8 | usize::from(*low)).min(rest.len());
        let tar = |part: &[u8]| {
            let mut part = part.to_vec();
            mend(&mut part);
            part.resize(part.len().next_multiple_of(512) + 1024, 0);
            part
        };
        let parts = [member("debian-binary", b"2.0\n"), member("control.tar", &tar(&rest[..at])), member("data.tar", &tar(&rest[at..]))];
        [b"!<arch>\n".as_slice(), &parts.concat()].concat()
    };
    let policy = policy(1);
    let mut sink = Memory::default();
    match deb::data(&*package, &policy, &mut sink) {
        Ok(tree) => check_tree(&tree, &sink, &policy),
        Err(error) => short(&error),
    }
    let _ = deb::control(&*package, "t").inspect_err(short);
    let _ = deb::members(&*package, &[TreePath::fixed("usr/a")], 1000, &policy).inspect_err(short);
    let Ok(mut archive) = ar::Archive::new(&*package, "t") else { return };
    while let Ok(Some(member)) = archive.next_member() {
        assert!(!member.name.is_empty() && !member.name.contains('/'));
    }
}

fn control(bytes: &[u8]) {
    if let Ok(control) = Control::parse(bytes) {
        assert!(!control.package().is_empty() && !control.version().is_empty() && !control.architecture().is_empty());
    }
}

fn compress(bytes: &[u8]) {
    const MOST: u64 = 4 << 20;
    let Ok((_, mut decoded)) = compress::open(bytes, "t", MOST) else { return };
    let mut buffer = vec![0; 64 << 10];
    let mut sum = 0;
    loop {
        match decoded.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => sum += count as u64,
            Err(_) => {
                assert!(decoded.read(&mut buffer).is_err(), "failed once, failed for ever");
                break;
            }
        }
    }
    assert!(sum <= MOST);
}

/// Hashes what comes, and counts it.
#[derive(Default)]
struct Counter {
    listed: usize,
    came: usize,
}

impl Visitor for Counter {
    fn outline(&mut self, outline: &Outline) -> kbake::Result<()> {
        self.listed = outline.entries().len();
        for content in outline.contents() {
            if let Err(error) = Description::of(content) {
                short(&error);
            }
        }
        assert!(!outline.is_empty() && outline.contents().iter().all(|content| content.parts.iter().all(|part| !part.title.is_empty())));
        Ok(())
    }

    fn blob(&mut self, part: &Part, bytes: &mut Bytes<'_>) -> kbake::Result<Taken> {
        self.came += 1;
        assert!(!part.left_out);
        bytes.hash(&mut |_| Ok(()))
    }
}

/// First byte: whether it is a bundle as it stands but for its sums, or the three documents of one.
fn bundle(bytes: &[u8]) {
    let Some((pick, rest)) = bytes.split_first() else { return };
    let whole = if pick & 1 == 0 {
        let mut whole = rest.to_vec();
        mend(&mut whole);
        whole
    } else {
        let mut parts = rest.splitn(3, |&byte| byte == b'\n');
        let mut part = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let (index, manifest, config) = (part(), part(), part());
        seeds::bundle_of(&index, &manifest, &config)
    };
    let mut counter = Counter::default();
    match bundle::read(&mut &*whole, &mut counter) {
        Ok(digest) => {
            assert_eq!(counter.came, counter.listed);
            let (outline, again) = bundle::documents(&mut &*whole).expect("it was just read");
            assert_eq!((outline.len(), again, outline.digest()), (whole.len() as u64, digest, digest), "every byte is accounted for");
        }
        Err(error) => short(&error),
    }
}

fn reference() -> Reference {
    "registry.k8s.io/pause:3.10.2".parse().expect("a literal")
}

/// A document; or manifest and configuration, split at a line feed, where the digest in the manifest is put right.
fn oci(bytes: &[u8]) {
    let at = reference();
    match oci::document(bytes, &at) {
        Ok(oci::Document::Index(index)) => {
            for arch in Arch::ALL {
                match index.platform(arch, &at) {
                    Ok(found) => assert!(found.media_type.role() == oci::Role::Manifest && (1..=oci::DOCUMENT_MAX).contains(&found.size)),
                    Err(error) => short(&error),
                }
            }
        }
        Ok(oci::Document::Manifest(found)) => {
            assert_eq!(found.descriptor.digest, Sha256::of(bytes));
            assert!((1..=oci::LAYERS_MAX).contains(&found.layers.len()));
            assert!(
                found.layers.iter().all(|layer| layer.media_type.role() == oci::Role::Layer && (1..=oci::LAYER_MAX).contains(&layer.size))
            );
        }
        Err(error) => short(&error),
    }
    if let Err(error) = oci::config_platform(bytes, &at) {
        short(&error);
    }
    let Some(cut) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (manifest, config) = (&bytes[..cut], &bytes[cut + 1..]);
    let named =
        String::from_utf8_lossy(manifest).replace("@DIGEST@", &Sha256::of(config).to_string()).replace("@SIZE@", &config.len().to_string());
    match oci::Image::pulled(at, Arch::Amd64, named.as_bytes(), config) {
        Ok(image) => assert_eq!(image.manifest().digest, Sha256::of(named.as_bytes())),
        Err(error) => short(&error),
    }
}

fn elf(bytes: &[u8]) {
    for arch in Arch::ALL {
        let _ = oci::elf_is_static(&bytes[..bytes.len().min(oci::ELF_HEAD)], arch);
    }
}

/// Headers of a registry's or mirror's answer.
/// First byte: as which file.
fn contents(bytes: &[u8]) {
    const PATHS: [&str; 5] = ["usr/bin/p", "a.dist-info/METADATA", "var/lib/dpkg/status", "lib/apk/db/installed", "etc/os-release"];
    let Some((pick, bytes)) = bytes.split_first() else { return };
    let path = TreePath::fixed(PATHS[usize::from(*pick) % PATHS.len()]);
    match kbake::formats::inspect::contents::content(&path, bytes).expect("memory can be read") {
        Some(Content::Go(Ok(program))) => {
            let mut modules = program.main.iter().chain(&program.modules);
            assert!(!program.go.is_empty() && modules.all(|module| !module.path.is_empty()));
        }
        Some(Content::Go(Err(why))) => assert!(why.len() < 200, "{why}"),
        Some(Content::Installed(all)) => assert!(all.iter().all(|one| !one.name.is_empty() && !one.version.is_empty())),
        Some(Content::Python(found)) => assert!(!found.name.is_empty() && !found.version.is_empty()),
        Some(Content::System(_)) | None => {}
    }
}

fn registry(bytes: &[u8]) {
    let Some((&[high, low], rest)) = bytes.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    kbake::storage::fetch::fuzz_headers(u16::from_be_bytes([high, low]) % 600, text);
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().expect("its own text"), reference);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
}

fn memory_file() -> File {
    File::from(rustix::fs::memfd_create("kbake-fuzz", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory"))
}

/// A file in memory with these bytes, by path.
fn with_file(bytes: &[u8], look: impl FnOnce(&Path)) {
    thread_local!(static FILE: RefCell<Option<File>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|slot| {
        let file = slot.get_or_insert_with(memory_file);
        file.set_len(0).expect("emptied");
        file.write_all_at(bytes, 0).expect("written");
        look(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
    });
}

fn qcow2(bytes: &[u8]) {
    with_file(bytes, |path| {
        let mut image = match Image::open(path) {
            Ok(image) => image,
            Err(error) => return short(&error),
        };
        let size = image.size();
        let mut buffer = vec![0; 100_000];
        for at in [0, 511, size / 2, size.saturating_sub(700)] {
            let len = (size.saturating_sub(at)).min(buffer.len() as u64) as usize;
            if let Err(error) = image.read_at(at, &mut buffer[..len]) {
                short(&error);
            }
        }
        assert!(image.read_at(size, &mut [0]).is_err() && image.read_at(u64::MAX, &mut [0]).is_err());
        let mut at = 0;
        for _ in 0..20 {
            match image.next_allocated(at) {
                Ok(Some(found)) => {
                    assert!(found < size && found + (2 << 20) > at);
                    if image.read_at(found, &mut [0]).is_err() {
                        break;
                    }
                    at = found.max(at) + (2 << 20);
                    if at >= size {
                        break;
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
    });
}

/// Patches of four bytes (three of them the place) on a sound filesystem in a sound image, which must be told or survived.
fn ext4(bytes: &[u8]) {
    thread_local!(static BED: (seeds::Disk, Tree, File) = {
        let (disk, tree) = seeds::disk();
        let file = memory_file();
        file.write_all_at(&seeds::plain_qcow2(&disk.bytes), 0).expect("written");
        (disk, tree, file)
    });
    BED.with(|(disk, tree, file)| {
        let patches: Vec<(usize, u8)> = bytes
            .chunks_exact(4)
            .take(64)
            // Where there is something at all: the superblock, the tables, the folders.
            .map(|patch| {
                (disk.busy[(usize::from(patch[0]) << 16 | usize::from(patch[1]) << 8 | usize::from(patch[2])) % disk.busy.len()], patch[3])
            })
            .collect();
        let put = |at: usize, byte: u8| file.write_all_at(&[byte], seeds::PLAIN_AT + at as u64).expect("written");
        for &(at, byte) in &patches {
            put(at, byte);
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        match readback::verify_tree(&path, 0, tree, Depth::All, &Cancel::new()) {
            Ok(report) => assert!(report.count == 0 || report.into_result().is_err()),
            Err(error) => short(&error),
        }
        for &(at, _) in &patches {
            put(at, disk.bytes[at]);
        }
    });
}

fn text(bytes: &[u8], look: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        look(text);
    }
}

fn lock(bytes: &[u8]) {
    text(bytes, |text| {
        match Lock::parse(text, "t.lock") {
            Ok(lock) => {
                let again = lock.to_text();
                assert_eq!(Lock::parse(&again, "t.lock").expect("its own text"), lock);
            }
            Err(error) => short(&error),
        }
        if let Ok(lock) = Lock::parse_merged(text, "t.lock") {
            assert!(Lock::parse(&lock.to_text(), "t.lock").is_ok());
        }
    });
}

fn recipe(bytes: &[u8]) {
    text(bytes, |text| {
        for subject in [Subject::Role("node".parse().expect("a literal")), Subject::Base] {
            if let Err(error) = Recipe::parse("t.toml", text, subject) {
                short(&error);
            }
        }
    });
}

fn sources(bytes: &[u8]) {
    text(bytes, |text| {
        let _ = Sources::base_of("t.toml", text);
        match Sources::parse("t.toml", text, None) {
            Ok(base) => _ = Sources::parse("u.toml", text, Some(base)),
            Err(error) => short(&error),
        }
    });
}

fn cluster(bytes: &[u8]) {
    text(bytes, |text| {
        let _ = Cluster::channel_of("t.toml", text);
        if let Err(error) = Cluster::read("t.toml", text) {
            short(&error);
        }
    });
}

fn checksums(bytes: &[u8]) {
    text(bytes, |text| {
        if let Err(reason) = upstream::find(text, "https://dl.example/v1/bin/amd64/kubelet?x=1") {
            assert!(reason.len() < 4000, "a reason of {} bytes", reason.len());
        }
        match List::parse("checksums.yml", text) {
            Ok(list) => {
                _ = list.get(
                    &"kubelet".parse().expect("a literal"),
                    Arch::Amd64,
                    &"1.36.0".parse().expect("a literal"),
                    "https://a/kubelet",
                )
            }
            Err(error) => short(&error),
        }
    });
}

fn tables(bytes: &[u8]) {
    text(bytes, |text| {
        if let Err(error) = Table::parse("compatibility.toml", text) {
            short(&error);
        }
        let _ = Expected::parse("expected.toml", text);
    });
}

fn tree(bytes: &[u8]) {
    text(bytes, |text| match Tree::parse_text(text, "t") {
        Ok(tree) => {
            assert_eq!(tree.to_text(), text);
            let _ = PackIndex::of(&tree);
        }
        Err(error) => short(&error),
    });
}

/// An action entry, a root and a claim as they are found on the disk.
fn store(bytes: &[u8]) {
    thread_local!(static STORE: (tempfile::TempDir, Store) = {
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let store = Store::open(&folder.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).expect("a store");
        (folder, store)
    });
    STORE.with(|(_, store)| {
        let key = Sha256::of("key");
        std::fs::write(store.root().join("actions").join(format!("image-{key}.json")), bytes).expect("written");
        match store.action("image", &key) {
            Lookup::Hit(action) => assert!(action.outputs.values().all(|blob| store.holds(&blob.digest, Some(blob.size)).expect("looked"))),
            Lookup::Miss(miss) => assert!(miss.to_string().len() < 2000),
        }
        let owner = Owner { project: Some(PathBuf::from("/p")), channel: "debian".into(), role: "etcd".parse().expect("a literal") };
        let name = Sha256::of("/p\ndebian\netcd");
        std::fs::write(store.root().join("roots").join(format!("{name}.json")), bytes).expect("written");
        if let Some(root) = store.root_of(&owner).expect("read") {
            assert_eq!(root.owner, owner);
        }
        let _ = store.roots();
        std::fs::write(store.claim_path(&key), bytes).expect("written");
        match store.claim(&key) {
            Ok(claim) => assert!(claim.is_some_and(|claim| claim.plan == key)),
            Err(error) => short(&error),
        }
    });
}
