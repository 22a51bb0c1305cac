//! Mirrors in local folders.

use std::fs;
use std::path::PathBuf;

use super::*;

impl Case {
    /// The path of the file in a mirror of this case.
    fn file(&self, mirror: &str) -> PathBuf {
        let file = self.dir.path().join(mirror).join(POOL);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        file
    }

    fn folders(mut self, mirrors: &[&str]) -> Case {
        let address = |name: &&str| format!("file:{}/{name}/", self.dir.path().display());
        self.options.mirrors = mirrors.iter().map(|folder| address(folder).into()).collect();
        self
    }
}

#[test]
fn a_folder_is_a_mirror_like_any_other() {
    let bytes = payload(3_000_000);
    let case = Case::new().folders(&["empty", "a b%"]);
    fs::write(case.file("a b%"), &bytes).unwrap();
    // A space and a percent sign in the folder's name are escaped in the address.
    let mut case = case;
    case.options.mirrors[1].base = case.options.mirrors[1].base.replace("a b%", "a%20b%25");
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
}

#[test]
fn a_broken_off_download_goes_on_from_a_folder() {
    let bytes = payload(400_000);
    let want = want(&bytes);
    for (first, whole) in [(&bytes[..100_000], true), (&payload(400_001)[1..200_000], false)] {
        let case = Case::new().folders(&["m"]);
        fs::write(case.file("m"), &bytes).unwrap();
        match case.store.partial(&want.digest, want.size).unwrap() {
            crate::storage::store::Claim::Ours(mut partial) => partial.put(first).unwrap(),
            other => panic!("{other:?}"),
        }
        let told = case.fetch(std::slice::from_ref(&want)).unwrap();
        assert_eq!(told.lines()[0], format!("started etcd-server {}", first.len()), "right start: {whole}");
        assert!(case.has(&want));
    }
}

#[test]
fn a_local_mirror_is_verified_like_a_server() {
    let bytes = payload(1000);
    let want = want(&bytes);
    let case = Case::new().folders(&["m"]);
    let shown = case.fails(&want, Class::Network);
    assert!(shown.contains(&format!("{POOL}: does not exist")) && shown.contains("hint: no source has it any more"), "{shown}");
    let file = case.file("m");
    fs::create_dir(&file).unwrap();
    assert!(case.fails(&want, Class::Network).contains("is not a regular file"));
    fs::remove_dir(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert!(case.fails(&want, Class::Network).contains("is not a regular file"), "and nobody waits for a writer");
    fs::remove_file(&file).unwrap();
    fs::write(&file, &bytes[..999]).unwrap();
    assert!(case.fails(&want, Class::Network).contains("has the wrong size: expected 1000 bytes (1000 B), found 999"));
    let wrong = vec![7; 1000];
    fs::write(&file, &wrong).unwrap();
    let shown = case.fails(&want, Class::Integrity);
    assert!(shown.contains(&format!("found sha256:{}", Sha256::of(&wrong))), "{shown}");
    assert_eq!(case.tmp(), [""; 0]);
}
