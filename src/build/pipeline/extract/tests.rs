//! Members of archives: accepted and refused ones.

use std::io::Write as _;

use super::*;
use crate::common::value::Cancel;
use crate::storage::store::Access;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).unwrap();
    (dir, store)
}

/// A gzipped tar of files and links: `=` before the target marks a hard link, `>` a symbolic one.
fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        if let Some(target) = text.strip_prefix('=').or_else(|| text.strip_prefix('>')) {
            header.set_entry_type(if text.starts_with('=') { tar::EntryType::Link } else { tar::EntryType::Symlink });
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
        } else {
            header.set_size(text.len() as u64);
            // `append_data` would clean a hostile name.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn taken(bytes: &[u8], strip: u32, members: &[&str]) -> Result<BTreeMap<String, String>> {
    let (_dir, store) = store();
    let blob = store.insert(bytes)?;
    let members = members.iter().map(|&name| name.to_owned()).collect();
    let found = members_of(&store, &blob, strip, members, "etcd")?;
    let read = |blob: &Blob| std::io::read_to_string(store.reader(&blob.digest).unwrap().unwrap()).unwrap();
    Ok(found.iter().map(|(name, blob)| (name.clone(), read(blob))).collect())
}

#[test]
fn members_are_taken_whole_and_by_their_stripped_names() {
    let bytes =
        archive(&[("etcd-v3/etcd", "server"), ("etcd-v3/README", "r"), ("etcd-v3/doc/etcd", "text"), ("etcd-v3/same", "=etcd-v3/etcd")]);
    let expected = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<BTreeMap<_, _>>();
    assert_eq!(taken(&bytes, 1, &["etcd"]).unwrap(), expected(&[("etcd", "server")]));
    assert_eq!(taken(&bytes, 1, &["etcd", "doc/etcd"]).unwrap(), expected(&[("doc/etcd", "text"), ("etcd", "server")]));
    assert_eq!(
        taken(&bytes, 1, &["same"]).err().map(|e| e.to_string().contains("`same` does not exist in it")),
        Some(true),
        "its file was let go by"
    );
    assert_eq!(taken(&bytes, 1, &["etcd", "same"]).unwrap(), expected(&[("etcd", "server"), ("same", "server")]));
    assert_eq!(taken(&archive(&[("./bridge", "b")]), 0, &["bridge"]).unwrap(), expected(&[("bridge", "b")]));
}

#[test]
fn an_archive_without_the_locked_member_is_refused_with_what_it_has() {
    let error = taken(&archive(&[("etcd-v3/etcd", "server"), ("etcd-v3/link", ">etcd")]), 1, &["etcdctl", "link"]).unwrap_err().to_string();
    for words in [
        "etcd lacks files that the role needs",
        "`etcdctl` does not exist in it",
        "`link` does not exist in it",
        "it has: etcd",
        "correct `members`",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn hostile_archives_are_refused() {
    for (entries, words) in [
        (&[("../etc/passwd", "x"), ("a/etcd", "y")][..], "etcd"),
        (&[("a/etcd", "x"), ("b/etcd", "y")], "occurs twice"),
        (&[("a/etcd", "x"), ("a/etcd", "y")], "etcd"),
    ] {
        let error = taken(&archive(entries), 1, &["etcd"]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let whole = archive(&[("a/etcd", "x")]);
    for bad in [&whole[..whole.len() - 9], b"<html>", b"", &[&whole[..], b"more"].concat()] {
        assert!(taken(bad, 1, &["etcd"]).is_err());
    }
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    bomb.write_all(&[1; 4096]).unwrap();
    assert!(taken(&bomb.finish().unwrap(), 1, &["etcd"]).unwrap_err().to_string().contains("not a tar archive"));
}

#[test]
fn a_packages_member_is_taken_too() {
    let deb = crate::formats::archive::deb::tests::sound();
    assert_eq!(taken(&deb, 0, &["usr/a"]).unwrap()["usr/a"], "hello");
    assert!(taken(&deb, 0, &["usr/b"]).unwrap_err().to_string().contains("`usr/b` does not exist in it, or is not a regular file"));
}

#[test]
fn ones_own_file_is_taken_as_it_was_locked() {
    let (dir, store) = store();
    let path = dir.path().join("kubelet");
    let again = "run `kbake lock --set kubelet=PATH`".to_owned();
    let own = OwnFile { name: "kubelet".parse().unwrap(), path: path.clone(), again };
    let digest = Digest::Sha256(Sha256::of("mine"));
    let missing = take(&store, &digest, &own, &Cancel::new()).unwrap_err().to_string();
    assert!(
        missing.contains("`kubelet` is locked to ")
            && missing.contains("which does not exist")
            && missing.contains("kbake lock --set kubelet="),
        "{missing}"
    );
    std::fs::write(&path, "mine").unwrap();
    assert_eq!(take(&store, &digest, &own, &Cancel::new()).unwrap().size, 4);
    std::fs::write(&path, "other").unwrap();
    let other = Digest::Sha256(Sha256::of("third"));
    assert!(take(&store, &other, &own, &Cancel::new()).unwrap_err().to_string().contains("hash mismatch"));
}
