//! containerd over a folder with the images: it has them without an import, runs them, and keeps them.

use std::os::unix::fs::{lchown, symlink};
use std::path::Path;

use super::*;
use crate::common::testing::containerd::{Containerd, programs};
use crate::common::testing::shared::cri::Cri;

/// Writes a tree to the disk, as the kernel would show it on a node.
fn write(tree: &Tree, images: &[Unpacked], to: &Path) {
    let contents = |digest: &Sha256, size: u64| {
        let at = images.iter().find_map(|image| Some((&image.pack, image.index().unwrap().get(digest)?.0))).unwrap();
        let mut bytes = Vec::new();
        at.0.range(at.1, size, *digest).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let place = |path: &TreePath| to.join(std::str::from_utf8(path.as_bytes()).unwrap());
    let (links, others): (Vec<_>, Vec<_>) = tree.iter().partition(|(_, node)| matches!(node.kind, Kind::HardLink(_)));
    for (path, node) in others.iter().filter(|(path, _)| !path.is_root()) {
        let at = place(path);
        match &node.kind {
            Kind::Dir => fs::create_dir(&at).unwrap(),
            Kind::File(Content::Inline(bytes)) => fs::write(&at, bytes).unwrap(),
            Kind::File(Content::Blob { digest, size }) => fs::write(&at, contents(digest, *size)).unwrap(),
            Kind::Symlink(target) => symlink(std::str::from_utf8(target).unwrap(), &at).unwrap(),
            Kind::CharDev { .. } => {
                let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty());
                rustix::fs::mknodat(rustix::fs::CWD, &at, kind, mode, rustix::fs::makedev(0, 0)).unwrap();
            }
            kind => panic!("{kind:?}"),
        }
        lchown(&at, Some(node.meta.uid), Some(node.meta.gid)).unwrap();
        for (name, value) in &node.meta.xattrs {
            rustix::fs::lsetxattr(&at, name.as_slice(), value, rustix::fs::XattrFlags::empty()).unwrap();
        }
        if !matches!(node.kind, Kind::Symlink(_) | Kind::CharDev { .. }) {
            fs::set_permissions(&at, fs::Permissions::from_mode(node.meta.mode.into())).unwrap();
        }
    }
    for (path, node) in links {
        let Kind::HardLink(target) = &node.kind else { unreachable!() };
        fs::hard_link(place(target), place(path)).unwrap();
    }
}

/// containerd over a folder with these images, with its CRI plugin.
fn start(images: &[Unpacked]) -> Containerd {
    let tree = laid(images);
    Containerd::start_over(&config(), &|root: &Path| {
        let whole = root.parent().unwrap().join("node");
        fs::create_dir(&whole).unwrap();
        write(&tree, images, &whole);
        fs::rename(whole.join(containerd::ROOT), root).unwrap();
    })
}

/// The CRI plugin with the settings of either version, each in its own table.
fn config() -> String {
    format!(
        "oom_score = 0\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{PAUSE}\"\nrestrict_oom_score_adj = true\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"/nowhere\"\n"
    )
}

/// Checks containerd with these images, also after a restart.
fn has_all(containerd: &Containerd, images: &[Unpacked]) {
    let listed = containerd.images();
    let cri = Cri::connect(&containerd.socket()).unwrap();
    for image in images {
        let stored = image.image(&image.index().unwrap()).unwrap().unwrap();
        let (target, chain) = (format!("sha256:{}", stored.target().digest), stored.chain().unwrap());
        let (name, id) = (image.reference.to_string(), format!("sha256:{}", chain.config.digest));
        let by_digest = format!("{}@{target}", name.rsplit_once(':').unwrap().0);
        for reference in [&name, &id, &by_digest] {
            assert_eq!(listed.iter().find(|listed| listed.name == *reference).map(|listed| &listed.digest), Some(&target), "{reference}");
            let found = cri.image(reference).unwrap_or_else(|| panic!("the CRI plugin does not know {reference}\n{}", containerd.log()));
            assert_eq!(
                (found.id.as_str(), found.repo_tags.as_slice(), found.repo_digests.as_slice()),
                (id.as_str(), &[name.clone()][..], &[by_digest.clone()][..])
            );
            assert!(found.pinned || !containerd.knows_pins(), "{reference} is not pinned");
        }
        let checked = containerd.ctr(&["images", "check", &format!("name=={name}")]);
        assert!(checked.lines().last().unwrap().trim_end().ends_with("true"), "{checked}");
    }
    let log = containerd.log();
    for word in ["not unpacked", "is not ok", "Failed to check", "Failed to update reference"] {
        assert!(!log.contains(word), "{log}");
    }
}

/// A container's output.
fn run(containerd: &Containerd, image: &str, name: &str, command: &[&str]) -> String {
    // runc keeps the names of all containers in one folder of the host.
    let name = format!("{name}-{}", containerd.root().parent().unwrap().file_name().unwrap().to_str().unwrap().trim_start_matches('.'));
    let args = ["run", "--rm", "--cgroup", "", "--snapshotter", "overlayfs", image, &name];
    containerd.ctr(&[&args[..], command].concat())
}

#[test]
fn containerd_has_the_images_without_an_import() {
    let site = Site::new();
    let images = site.images();
    let mut containerd = start(&images);
    has_all(&containerd, &images);
    assert_eq!(containerd.images().len(), 3 * images.len(), "three names each, and the CRI plugin adds none");
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1 + 5, "a layer that two images have is there once");
    let usage = containerd.ctr(&["snapshots", "usage"]);
    assert_eq!(usage.lines().count(), 1 + 5, "{usage}");

    assert_eq!(run(&containerd, TOOLS, "one", &["/bin/sh", "-c", "cat /etc/motd; stat -c %u:%a /etc/motd"]), "tools65532:600\n");
    let shown = run(&containerd, MORE, "two", &["/bin/sh", "-c", "busybox ls /etc /hidden /opt; busybox stat -c %a /opt; cat /etc/more"]);
    assert_eq!(shown, "/etc:\nmore\nmotd\n\n/hidden:\nabove\n\n/opt:\nabove\nbelow\n711\nmore");

    // An image that shares a layer with a present one, in an archive with all its layers.
    let later = site.image(LATER, &[&ground(&busybox()), &layer(&[("etc/later", 0o644, b"later")])]);
    let archive = site.bake(|bake| images::pull(bake, &later, Form::Archive)).unwrap().file;
    let file = site.folder.path().join("later.tar");
    site.store.export(&archive.digest, &file, 0o644).unwrap();
    containerd.ctr(&["images", "import", file.to_str().unwrap()]);
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1 + 6);
    assert_eq!(run(&containerd, LATER, "three", &["/bin/sh", "-c", "cat /etc/later"]), "later");
    containerd.ctr(&["images", "remove", "--sync", LATER]);

    // Garbage collection, at a removal and at a start, keeps everything of the node's.
    containerd.restart();
    has_all(&containerd, &images);
    assert_eq!(run(&containerd, TOOLS, "four", &["/bin/sh", "-c", "cat /opt/below /opt/above"]), "belowtools");
}

#[test]
fn a_removed_name_comes_back_without_layers() {
    let site = Site::new();
    let images = site.images();
    let containerd = start(&images);
    for listed in containerd.images() {
        containerd.ctr(&["images", "remove", "--sync", &listed.name]);
    }
    assert_eq!(containerd.images(), []);
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1 + 5, "a label keeps them");
    for image in &images {
        let bytes = archive_of(image);
        assert!(bytes.len() < 20_000, "{} has {} bytes", image.path, bytes.len());
        let file = site.folder.path().join("one.tar");
        fs::write(&file, bytes).unwrap();
        containerd.ctr(&["images", "import", "--no-unpack", file.to_str().unwrap()]);
    }
    assert_eq!(run(&containerd, TOOLS, "one", &["/bin/sh", "-c", "cat /etc/motd"]), "tools");
}

/// The words of `/usr/lib/kbake/images` on a node with containerd, with `under` as the folder that a data disk hides.
fn script(site: &Site, images: &[Unpacked], containerd: &Containerd, under: Option<&Path>, arguments: &[&str]) -> String {
    use crate::build::role::{Entry, Facts, Runtime, part_entries};
    use crate::spec::recipe::Part;

    let folder = site.folder.path();
    let names = [("containerd".parse().unwrap(), "2.3.4".parse().unwrap())];
    let facts = Facts {
        artifacts: names.into(),
        images: [("pause".parse().unwrap(), PAUSE.parse().unwrap())].into(),
        runtime: Some(Runtime::Containerd),
    };
    let script = part_entries(Part::Containerd, &facts).unwrap().into_iter().find_map(|entry| match entry {
        Entry::File { path, bytes, .. } if path == TreePath::fixed("usr/lib/kbake/images") => Some(bytes),
        _ => None,
    });
    fs::write(folder.join("script"), script.unwrap()).unwrap();
    fs::create_dir_all(folder.join("images")).unwrap();
    for image in images {
        fs::write(folder.join("images").join(std::str::from_utf8(image.path.name()).unwrap()), archive_of(image)).unwrap();
    }
    let mut command = std::process::Command::new("dash");
    command.arg(folder.join("script")).args(arguments).env("CONTAINERD_ADDRESS", containerd.socket());
    command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs())).env("KBAKE_STORE", containerd.root());
    for (key, file) in [("IMAGES", "images"), ("MANIFESTS", "manifests"), ("BROUGHT", "brought"), ("BOOT", "boot")] {
        command.env(format!("KBAKE_{key}"), folder.join(file));
    }
    under.into_iter().for_each(|under| _ = command.env("KBAKE_UNDER", under));
    let out = command.output().unwrap_or_else(|e| panic!("dash is missing: run tests/setup.sh ({e})"));
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}\n{}", containerd.log());
    // ctr's own warnings, as of the host's cgroups.
    said.split_inclusive('\n').filter(|line| !line.starts_with("time=")).collect()
}

fn archive_of(image: &Unpacked) -> Vec<u8> {
    let PlannedKind::Named { digest, size } = image.archive().unwrap() else { panic!("an archive") };
    let mut bytes = Vec::new();
    let (at, _) = image.index().unwrap().get(&digest).unwrap();
    image.pack.range(at, size, digest).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_node_has_nothing_to_bring() {
    let site = Site::new();
    let images = site.images();
    let containerd = start(&images);
    let node = |arguments: &[&str]| script(&site, &images, &containerd, None, arguments);
    assert_eq!(node(&["first"]), "");
    assert_eq!(node(&[]), "");
    assert!(site.folder.path().join("boot/done").exists());
    assert!(!site.folder.path().join("brought").exists(), "nothing was brought, so the disk need not be waited for");

    for name in [TOOLS, PAUSE] {
        containerd.ctr(&["images", "remove", "--sync", name]);
    }
    assert_eq!(node(&["first"]), "", "who removed a name can wait for it");
    let said = node(&[]);
    assert!(said.contains(&format!("{TOOLS} (sha256:")) && said.contains(&format!("{PAUSE} (sha256:")) && !said.contains(MORE), "{said}");
    has_all(&containerd, &images);
    assert_eq!(node(&[]), "");
    assert_eq!(run(&containerd, TOOLS, "one", &["/bin/sh", "-c", "cat /etc/motd"]), "tools");
}

/// A data disk is mounted over containerd's folder: the machine image's contents are copied once.
#[test]
fn a_data_disk_gets_the_images_out_of_the_folder_that_it_hides() {
    let site = Site::new();
    let images = site.images();
    let laid = start(&images);
    let mut containerd = Containerd::start_over(&config(), &|root| fs::create_dir(root).unwrap());
    let node = |containerd: &Containerd, arguments: &[&str]| script(&site, &images, containerd, Some(&laid.root()), arguments);
    let said = node(&containerd, &["first"]);
    assert!(said.contains(&format!("{PAUSE} (sha256:")) && !said.contains(TOOLS), "{said}");
    let said = node(&containerd, &[]);
    assert!(said.contains(&format!("{TOOLS} (sha256:")) && said.contains(&format!("{MORE} (sha256:")) && !said.contains(PAUSE), "{said}");
    assert_eq!(node(&containerd, &[]), "", "once");
    let shown = run(&containerd, MORE, "two", &["/bin/sh", "-c", "busybox ls /etc /hidden /opt; busybox stat -c %a /opt; cat /etc/more"]);
    assert_eq!(shown, "/etc:\nmore\nmotd\n\n/hidden:\nabove\n\n/opt:\nabove\nbelow\n711\nmore");

    // After a power cut, incomplete images are removed with their layers, and come again.
    fs::remove_file(site.folder.path().join("brought")).unwrap();
    fs::remove_dir_all(site.folder.path().join("boot")).unwrap();
    containerd.restart();
    let said = node(&containerd, &[]);
    assert_eq!(said.matches("may have been brought by halves").count(), 3, "{said}");
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1 + 5);
    assert_eq!(run(&containerd, TOOLS, "three", &["/bin/sh", "-c", "cat /etc/motd"]), "tools");
    for name in [TOOLS, MORE, PAUSE] {
        containerd.ctr(&["images", "remove", "--sync", name]);
    }
    let left = containerd.images();
    left.iter().for_each(|image| _ = containerd.ctr(&["images", "remove", "--sync", &image.name]));
    assert_eq!(containerd.ctr(&["snapshots", "list"]).lines().count(), 1, "nothing else keeps them");
}
