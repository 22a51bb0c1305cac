use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use super::*;
use crate::common::error::Class;
use crate::formats::disk::testing::{self, noise};

const MIB: usize = 1 << 20;

/// A folder `images` with a role image, as `kbake build` leaves it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.build(&noise(1, 3 * MIB));
        place
    }

    fn image(&self) -> PathBuf {
        self.0.path().join("worker.qcow2")
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("disks")
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.folder().join("lab").join(name)
    }

    /// Replaces the image by one with these bytes on its disk.
    fn build(&self, bytes: &[u8]) {
        let (raw, new) = (self.0.path().join("raw"), self.0.path().join("new"));
        fs::write(&raw, bytes).unwrap();
        testing::run("qemu-img", &[&"convert", &"-f", &"raw", &"-O", &"qcow2", &raw, &new]);
        fs::remove_file(raw).unwrap();
        fs::rename(new, self.image()).unwrap();
    }

    fn keep(&self) -> Result<BackingImage> {
        keep_backing(&self.image(), &"worker".parse().unwrap(), &self.folder(), &Cancel::new())
    }

    /// The names of the backing images.
    fn kept(&self) -> Vec<String> {
        let names = fsx::list(&self.folder()).unwrap_or_default();
        names.into_iter().map(|name| name.into_string().unwrap()).filter(|name| name != "lab").collect()
    }
}

/// A disk's bytes as QEMU reads them.
fn read(path: &Path) -> Vec<u8> {
    let raw = tempfile::NamedTempFile::new().unwrap();
    testing::run("qemu-img", &[&"check", &"-q", &"-f", &"qcow2", &path]);
    testing::run("qemu-img", &[&"convert", &"-f", &"qcow2", &"-O", &"raw", &path, &raw.path()]);
    fs::read(raw.path()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_disk_outlives_the_image_that_it_was_made_from() {
    let place = Place::new();
    let (old, new) = (noise(1, 3 * MIB), noise(2, 2 * MIB));
    let first = place.keep().unwrap();
    assert_eq!(create_disk(&place.disk("a.qcow2"), &first, Size(3 << 20)).unwrap(), Persisted::Done);
    place.build(&new);
    let second = place.keep().unwrap();
    assert_ne!(first, second);
    assert_eq!(create_disk(&place.disk("b.qcow2"), &second, Size(2 << 20)).unwrap(), Persisted::Done);
    fs::remove_file(place.image()).unwrap();
    assert!(read(&place.disk("a.qcow2")) == old && read(&place.disk("b.qcow2")) == new);
    assert_eq!(place.kept().len(), 2);
    // The machine's writes go to the disk, not to the backing image.
    testing::run("qemu-io", &[&"-f", &"qcow2", &"-c", &"write -P 7 65536 65536", &place.disk("a.qcow2")]);
    assert!(read(&place.disk("a.qcow2"))[65536..131072] == [7; 65536]);
    assert!(read(&place.folder().join(&first.name)) == old);
    // The whole tree can be moved.
    let elsewhere = place.0.path().join("elsewhere");
    fs::rename(place.folder(), &elsewhere).unwrap();
    assert!(read(&elsewhere.join("lab/b.qcow2")) == new);
}

#[test]
fn a_copy_is_named_by_its_contents_and_read_only() {
    let place = Place::new();
    let base = place.keep().unwrap();
    let digest = Sha256::of(fs::read(place.image()).unwrap()).to_string();
    assert_eq!(base.name, format!("worker-{}.qcow2", &digest[..12]));
    let kept = place.folder().join(&base.name);
    assert_eq!((mode(&kept), mode(&place.folder())), (0o444, 0o711));
    assert_ne!(fs::metadata(&kept).unwrap().ino(), fs::metadata(place.image()).unwrap().ino());
    // A second time changes nothing.
    let before = fs::metadata(&kept).unwrap().ino();
    assert_eq!(place.keep().unwrap(), base);
    assert_eq!((fs::metadata(&kept).unwrap().ino(), place.kept().len()), (before, 1));
    // Writing into the image itself leaves the copy alone, even if both share extents.
    fs::write(place.image(), "gone").unwrap();
    assert_eq!(Sha256::of(fs::read(&kept).unwrap()).to_string(), digest);
}

#[test]
fn a_disk_that_is_there_is_never_touched() {
    let place = Place::new();
    let base = place.keep().unwrap();
    let path = place.disk("a.qcow2");
    assert_eq!(create_disk(&path, &base, Size(20 << 30)).unwrap(), Persisted::Done);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o711));
    let info: serde_json::Value = serde_json::from_str(&testing::run("qemu-img", &[&"info", &"--output=json", &path])).unwrap();
    assert_eq!(info["virtual-size"], 20u64 << 30);
    assert_eq!((&info["backing-filename-format"], &info["backing-filename"]), (&"qcow2".into(), &format!("../{}", base.name).into()));
    fs::write(&path, "a machine's work").unwrap();
    assert_eq!(create_disk(&path, &base, Size(20 << 30)).unwrap(), Persisted::WasThere);
    assert_eq!(fs::read(&path).unwrap(), b"a machine's work");
    // Less than the backing image's size is not possible.
    create_disk(&place.disk("small.qcow2"), &base, Size(512)).unwrap();
    assert_eq!(read(&place.disk("small.qcow2")).len(), 3 * MIB);
}

#[test]
fn a_kept_image_that_was_changed_is_reported_and_left_alone() {
    for damage in [&b"damaged"[..], b""] {
        let place = Place::new();
        let kept = place.folder().join(place.keep().unwrap().name);
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&kept, damage).unwrap();
        let error = place.keep().unwrap_err();
        assert_eq!(error.class(), Class::Integrity);
        let text = error.to_string();
        assert!(
            text.contains("does not match the digest in its name") && text.contains("expected sha256:") && text.contains("hint: disks may"),
            "{text}"
        );
        assert_eq!(fs::read(&kept).unwrap(), damage);
    }
    // The same size with one bit changed: only the digest differs.
    let place = Place::new();
    let kept = place.folder().join(place.keep().unwrap().name);
    let mut bytes = fs::read(&kept).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&kept, bytes).unwrap();
    assert_eq!(place.keep().unwrap_err().class(), Class::Integrity);
    fs::remove_file(&kept).unwrap();
    std::os::unix::fs::symlink("nowhere", &kept).unwrap();
    assert!(place.keep().unwrap_err().to_string().contains("a link to nothing"));
}

#[test]
fn what_is_no_image_is_not_kept() {
    let place = Place::new();
    let copy = place.0.path().join("copy.qcow2");
    fs::copy(place.image(), &copy).unwrap();
    let over: &[&dyn AsRef<std::ffi::OsStr>] = &[&"create", &"-q", &"-f", &"qcow2", &"-F", &"qcow2", &"-b", &"copy.qcow2"];
    testing::run("qemu-img", &[over, &[&place.image()]].concat());
    assert!(place.keep().unwrap_err().to_string().contains("backing file"), "its own backing file would be looked for beside the copy");
    for bytes in [&b""[..], b"no image", &[0; 4096]] {
        fs::write(place.image(), bytes).unwrap();
        assert!(place.keep().unwrap_err().message().contains("worker.qcow2"));
    }
    fs::remove_file(place.image()).unwrap();
    assert!(place.keep().unwrap_err().message().contains("worker.qcow2"));
    assert!(!place.folder().exists());
}

/// The disk would name a file that does not exist.
#[test]
fn a_folder_that_leads_elsewhere_is_refused() {
    let (place, other) = (Place::new(), tempfile::tempdir().unwrap());
    let base = place.keep().unwrap();
    fs::create_dir(other.path().join("lab")).unwrap();
    std::os::unix::fs::symlink(other.path().join("lab"), place.folder().join("lab")).unwrap();
    let error = create_disk(&place.disk("a.qcow2"), &base, Size(3 << 20)).unwrap_err();
    assert!(error.to_string().contains("is a link to a folder") && error.to_string().contains("hint: "), "{error}");
    assert!(!place.disk("a.qcow2").exists());
}

#[test]
fn two_at_once_keep_one_file() {
    let place = Place::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| place.keep().unwrap())).collect();
        let bases: Vec<BackingImage> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(bases.windows(2).all(|pair| pair[0] == pair[1]));
    });
    assert_eq!(place.kept().len(), 1, "no leftovers: {:?}", place.kept());
}
