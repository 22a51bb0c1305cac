//! The tree of unpacked images, and layers that cannot be unpacked or are damaged.

use super::*;

#[test]
fn paths_are_those_of_their_images() {
    let site = Site::new();
    let tree = laid(&site.images());
    let Kind::File(Content::Inline(list)) = &tree.get(&TreePath::fixed(containerd::LIST)).unwrap().kind else { panic!("a list") };
    let owners = containerd::snapshots_of(std::str::from_utf8(list).unwrap());
    let owners: Vec<(&str, &str)> = owners.into_iter().collect();
    assert_eq!(owners, [("1", "busybox.tar"), ("2", "busybox.tar"), ("3", "more.tar"), ("4", "more.tar"), ("5", "pause.tar")]);
    let motd = TreePath::fixed(&format!("{}/io.containerd.snapshotter.v1.overlayfs/snapshots/3/fs/etc/motd", containerd::ROOT));
    assert_eq!((tree.get(&motd).is_some(), containerd::snapshot_at(&motd)), (true, Some("3")));
    assert_eq!(containerd::snapshot_at(&TreePath::fixed(containerd::LIST)), None);
}

#[test]
fn the_same_images_give_the_same_bytes() {
    let text = || {
        let site = Site::new();
        laid(&site.images()).to_text()
    };
    assert_eq!(text(), text());
}

#[test]
fn a_layer_that_cannot_be_unpacked_leaves_the_whole_archive() {
    let site = Site::new();
    let odd = layer(&[("etc/.wh.motd", 0o644, b""), ("etc/motd", 0o644, b"both")]);
    let image = site.image(TOOLS, &[&odd]);
    let unpacked = site.pull("odd.tar", &image);
    let whole = site.bake(|bake| images::pull(bake, &image, Form::Archive)).unwrap().file;
    assert_eq!(unpacked.archive().unwrap(), PlannedKind::Named { digest: whole.digest, size: whole.size });
    assert_eq!(laid(&[unpacked]).len(), 1, "containerd's folder is left alone");
}

#[test]
fn a_layer_that_is_another_is_refused() {
    let site = Site::new();
    let image = site.pulled(TOOLS, &[&upper(b"x")], &[Sha256::of(b"another")]);
    let error = site.bake(|bake| images::pull(bake, &image, Form::Unpacked)).unwrap_err();
    assert!(error.class() == Class::User && error.to_string().contains("unpacks to sha256:"), "{error}");
}

#[test]
fn a_damaged_layer_is_an_alarm() {
    let site = Site::new();
    let image = site.image(TOOLS, &[&upper(b"x")]);
    let packed = gzipped(&upper(b"x"));
    let path = site.store.path(&Sha256::of(&packed));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = packed;
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = site.bake(|bake| images::pull(bake, &image, Form::Unpacked)).unwrap_err();
    assert_eq!(error.class(), Class::Integrity, "{error}");
}
