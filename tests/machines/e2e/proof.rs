//! Proofs of the real image: a clean rebuild gives the same; a wrong image in the store is exposed; damaged bytes are repaired.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::*;

/// A folder with a store of its own that has what [`BUILT`]'s had.
fn copy_of_store(name: &str) -> PathBuf {
    let folder = fresh_folder(name);
    copy_store(&BUILT.folder.join("pristine"), &folder.join("store"));
    folder
}

fn open(store: &Path) -> Store {
    Store::open(store, Access::Shared, &Cancel::new(), &|| ()).unwrap()
}

fn etcd() -> Resolved {
    let project = Project::find(Some(program::project()), program::project()).unwrap();
    let channel = project.channel("debian").unwrap();
    kbake::resolve(&project, &channel, &project.role("etcd").unwrap(), &Cancel::new()).unwrap()
}

/// Gives a stored file other bytes, as a failing disk would, in this store alone.
fn damage(store: &Path, digest: &Sha256) {
    let path = store.join("blobs/sha256").join(digest.to_string());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}

#[test]
fn from_scratch_comes_what_the_store_has() {
    let folder = copy_of_store("e2e-check");
    let output = ok(kbake(&folder, &["build", "etcd", "--check", "--offline"]).output().unwrap());
    let said = text(&output.stderr);
    assert!(said.contains("installing ") && said.contains("gave the same image") && said.contains(&BUILT.digest), "{said}");
    assert_eq!(digest_of(&output), BUILT.digest);
    assert!(!folder.join("images/etcd.check.qcow2").exists());
    let left: Vec<_> = fs::read_dir(folder.join("store/tmp")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with("work-check-")), "{left:?}");
    fs::remove_dir_all(&folder).unwrap();
}

/// The same disk but for one byte of one file, as qemu-img writes it.
fn with_another_byte(folder: &Path) -> PathBuf {
    const CHANGED: &str = "/usr/lib/os-release";
    let (disk, image) = (folder.join("disk.raw"), folder.join("wrong.qcow2"));
    judge("qemu-img", &["convert", "-O", "raw", path(&BUILT.image()), path(&disk)]);
    let listed = judge("debugfs", &["-R", &format!("blocks {CHANGED}"), &format!("{}?offset={}", path(&disk), kbake::ROOT_START)]);
    let block: u64 = listed.lines().next().and_then(|line| line.split_whitespace().next()).unwrap().parse().unwrap();
    let file = File::options().read(true).write(true).open(&disk).unwrap();
    let (at, mut found) = (kbake::ROOT_START + block * 4096, [0; 20]);
    file.read_exact_at(&mut found, at).unwrap();
    assert_eq!(&found, b"PRETTY_NAME=\"Debian ", "the file begins there");
    file.write_all_at(b"D", at + 14).unwrap();
    judge("qemu-img", &["convert", "-c", "-O", "qcow2", path(&disk), path(&image)]);
    fs::remove_file(&disk).unwrap();
    image
}

#[test]
fn a_wrong_image_in_the_store_is_exposed() {
    let folder = copy_of_store("e2e-poison");
    let (store, key) = (open(&folder.join("store")), etcd().plan.key());
    let Lookup::Hit(right) = store.action("image", &key) else { panic!("the image is in the store") };
    let mut writer = store.writer(None, None).unwrap();
    std::io::copy(&mut File::open(with_another_byte(&folder)).unwrap(), &mut writer).unwrap();
    let wrong = writer.commit().unwrap();
    let mut lie = right.clone();
    lie.outputs.insert("image".to_owned(), wrong);
    let poison = || store.put_action("image", &key, &lie).unwrap();
    let run = |args: &[&str]| {
        let output = kbake(&folder, args).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };

    // A digest recorded for this plan exposes the wrong image at once; without one it takes more.
    poison();
    let (code, _, said) = run(&["build", "etcd", "--offline"]);
    assert!(code == Some(4) && said.contains("differs from the one in images/expected.toml"), "{said}");
    let (code, _, said) = run(&["build", "etcd", "--offline", "--accept-new-digest"]);
    assert!(code == Some(0) && said.contains("taken from the store"), "a right check sum is believed: {said}");

    // Its image is not what the plan gives over the base.
    let (code, out, said) = run(&["verify", "--offline"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(out.contains(&format!("damaged   entry actions/image-{key}.json: its image sha256:{}", wrong.digest)), "{out}");
    assert!(out.contains("needed by the image of etcd (channel debian"), "{out}");
    assert_eq!(run(&["verify", "--offline"]).0, Some(0));
    poison();
    let (code, out, said) = run(&["verify", "--repair", "--offline"]);
    assert!(code == Some(0) && out.contains("repaired  entry actions/image-") && out.contains("rebuilt"), "{out}{said}");
    assert_eq!(store.action("image", &key), Lookup::Hit(right.clone()));

    // A clean rebuild: both images are kept, and the first difference is named by partition, file and field.
    poison();
    let (code, out, said) = run(&["build", "etcd", "--check", "--offline", "--accept-new-digest"]);
    assert_eq!((code, out.as_str()), (Some(4), ""), "{said}");
    let first = said.lines().find(|line| line.contains("first difference")).unwrap_or_else(|| panic!("{said}"));
    println!("{said}");
    assert!(first.contains("partition ") && first.contains("/usr/lib/os-release: content"), "{first}");
    for words in [
        "error: `etcd` does not reproduce",
        &format!("in the store     sha256:{}  images/etcd.qcow2", wrong.digest),
        &format!("clean rebuild    sha256:{}  images/etcd.check.qcow2", BUILT.digest),
        &format!("wrong entry      actions/image-{key}.json names image sha256:{}", wrong.digest),
        "`kbake diff images/etcd.qcow2 images/etcd.check.qcow2", // with the options of the call behind it
        "` compares them in full",
    ] {
        assert!(said.contains(words), "{words} is not in:\n{said}");
    }
    for (name, digest) in [("etcd", wrong.digest.to_string()), ("etcd.check", BUILT.digest.clone())] {
        assert!(judge("sha256sum", &[path(&folder.join(format!("images/{name}.qcow2")))]).starts_with(&digest), "{name}");
    }
    let (_, out, _) = run(&["diff", "images/etcd.qcow2", "images/etcd.check.qcow2"]);
    assert!(out.contains("/usr/lib/os-release: content"), "{out}");
    // The wrong entry is gone.
    let (code, out, said) = run(&["build", "etcd", "--offline"]);
    assert!(code == Some(0) && said.contains("etcd: built") && out.contains(&BUILT.digest), "{said}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_damaged_image_comes_back_with_its_digest() {
    let folder = copy_of_store("e2e-damage");
    let (store, key) = (open(&folder.join("store")), etcd().plan.key());
    let Lookup::Hit(action) = store.action("image", &key) else { panic!("the image is in the store") };
    let run = |args: &[&str]| {
        let output = kbake(&folder, args).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    ok(kbake(&folder, &["build", "etcd", "--offline"]).output().unwrap());
    let image = action.outputs["image"].digest;
    let Lookup::Hit(composed) = store.action("composed", &image) else { panic!("the image is composed") };
    assert_eq!(composed.outputs.len(), 3, "frames of the base, what is the image's own, the list: {composed:?}");
    for part in composed.outputs.values().chain([&action.outputs["tree"]]) {
        damage(store.root(), &part.digest);
        let (code, out, said) = run(&["verify"]);
        assert!(code == Some(4) && out.matches("damaged   blob").count() == 1 && said.contains("1 problem"), "{out}{said}");
        assert!(out.contains("the image of etcd (channel debian"), "{out}");
        let (code, out, said) = run(&["verify", "--repair", "--offline"]);
        assert!(code == Some(0) && out.matches("repaired  blob").count() == 1 && out.contains("rebuilt"), "{out}{said}");
        assert_eq!(store.action("image", &key), Lookup::Hit(action.clone()));
        assert_eq!(store.action("composed", &image), Lookup::Hit(composed.clone()));
        assert_eq!(run(&["verify"]).0, Some(0));
    }
    assert_eq!(action.outputs["image"].digest.to_string(), BUILT.digest);
    fs::remove_dir_all(&folder).unwrap();
}
