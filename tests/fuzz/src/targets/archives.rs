//! Archives, packages and compressed streams.

use std::io::Read;

use kbake::archive::deb::{self, Control};
use kbake::archive::{Duplicates, Limits, Memory, Parents, Policy, Verdict, ar, compress, tar};
use kbake::tree::{Content, Kind, Layer, Tree};
use kbake::value::TreePath;

use super::short;

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
pub fn fix_checksums(bytes: &mut [u8]) {
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
            Kind::File(Content::Blob { digest, size }) => {
                assert_eq!(sink.blobs[digest].len() as u64, *size, "{path}");
            }
            Kind::HardLink(target) => assert!(matches!(tree.get(target).expect("it is there").kind, Kind::File(_)), "{path}"),
            _ => {}
        }
    }
    let text = tree.to_text();
    assert_eq!(Tree::parse_text(&text, "t").expect("a tree's own text").to_text(), text);
}

/// First byte: the policy, and flags that correct the checksums and the end.
pub fn tar(bytes: &[u8]) {
    let Some((pick, rest)) = bytes.split_first() else { return };
    let policy = policy(*pick);
    let mut archive = rest.to_vec();
    if pick & 4 == 0 {
        fix_checksums(&mut archive);
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
pub fn deb(bytes: &[u8]) {
    let [pick, high, low, rest @ ..] = bytes else { return };
    let package = if pick & 1 == 0 {
        rest.to_vec()
    } else {
        let at = (usize::from(*high) << 8 | usize::from(*low)).min(rest.len());
        let tar = |part: &[u8]| {
            let mut part = part.to_vec();
            fix_checksums(&mut part);
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

pub fn control(bytes: &[u8]) {
    if let Ok(control) = Control::parse(bytes) {
        assert!(!control.package().is_empty() && !control.version().is_empty() && !control.architecture().is_empty());
    }
}

pub fn compress(bytes: &[u8]) {
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
