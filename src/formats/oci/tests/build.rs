use super::{archive, file, program, small};
use crate::Class;
use crate::common::testing::Blobs;
use crate::common::value::{Arch, Cancel, Sha256, TreePath};
use crate::formats::oci::{Built, MediaType};

fn image_error(built: &Built, source: &Blobs) -> String {
    let error = built.image(source, &Cancel::new()).unwrap_err();
    assert_eq!(error.class(), Class::User, "{error}");
    let text = error.to_string();
    assert!(text.starts_with("the container image registry.k8s.io/pause:3.10.2 cannot be built"), "{text}");
    text
}

/// The digests of the written bytes. If an intended change alters one, increase `oci::FORMAT` too.
#[test]
fn the_bytes_of_built_images_are_pinned() {
    for (arch, manifest, whole) in [
        (
            Arch::Amd64,
            "beb8fad9f153442435641880ff027bfa232f2f3ac436220e1063ead511912022",
            "de513c324c7db6a55495e8b74c80da7b364e4f59828bfa7887d13843fa88e304",
        ),
        (
            Arch::Arm64,
            "f2772875b923af3ae3066aaa9e8677dcca8075b3b16862ebc6f4173ed0753883",
            "b4fcbd0b9ba38afb20520a80975d2741ecdb9022dcd734e83f206a43a2f5c33b",
        ),
    ] {
        let mut source = Blobs::default();
        let image = small(arch, &mut source).image(&source, &Cancel::new()).unwrap();
        assert_eq!(image.manifest().media_type, MediaType::OciManifest);
        let found = (image.manifest().digest.to_string(), Sha256::of(archive(&image, &source).unwrap()).to_string());
        assert_eq!(found, (manifest.into(), whole.into()), "{arch}");
    }
}

#[test]
fn the_order_of_files_does_not_matter() {
    let mut source = Blobs::default();
    let mut built = small(Arch::Amd64, &mut source);
    let first = built.image(&source, &Cancel::new()).unwrap();
    built.files.reverse();
    assert_eq!(built.image(&source, &Cancel::new()).unwrap(), first);
}

/// The layer's entries as an independent reader sees them.
#[test]
fn the_layer_has_files_below_folders() {
    let mut source = Blobs::default();
    let mut built = small(Arch::Amd64, &mut source);
    let long = format!("{}/{}", "a".repeat(120), "b".repeat(120));
    built.files.push(file(&mut source, &long, 0o4711, b"x"));
    built.files.push(file(&mut source, "ü", 0o600, b""));
    let image = built.image(&source, &Cancel::new()).unwrap();
    let whole = archive(&image, &source).unwrap();
    let mut seen = Vec::new();
    for entry in ::tar::Archive::new(whole.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        // The configuration and the manifest begin with a brace, the layer with a name.
        if !entry.path_bytes().starts_with(b"blobs/sha256/") || bytes.is_empty() || bytes[0] == b'{' {
            continue;
        }
        for file in ::tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let file = file.unwrap();
            let header = file.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 1_735_689_600));
            seen.push((String::from_utf8(file.path_bytes().to_vec()).unwrap(), header.mode().unwrap(), file.size()));
        }
    }
    let expected = [
        (format!("{}/", "a".repeat(120)), 0o755, 0),
        (long, 0o4711, 1),
        ("etc/".into(), 0o755, 0),
        ("etc/motd".into(), 0o644, 6),
        ("usr/".into(), 0o755, 0),
        ("usr/bin/".into(), 0o755, 0),
        ("usr/bin/pause".into(), 0o755, 120),
        ("ü".into(), 0o600, 0),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn programs_that_would_not_run_are_refused() {
    let mut source = Blobs::default();
    let built = small(Arch::Amd64, &mut source);
    let foreign = Built { arch: Arch::Arm64, ..built.clone() };
    let text = image_error(&foreign, &source);
    assert!(text.contains("/usr/bin/pause is a program for amd64, not for arm64"), "{text}");
    assert!(text.contains("hint: use a static program for this architecture"), "{text}");
    let mut script = built.clone();
    script.files[0] = file(&mut source, "usr/bin/pause", 0o755, b"#!/bin/sh\n");
    assert!(image_error(&script, &source).contains("/usr/bin/pause is not a program (not an ELF file)"));
    // A program, but not the command's: its libraries would be missing too.
    let dynamic = std::fs::read("/bin/ls").unwrap();
    let mut second = built.clone();
    second.files.push(file(&mut source, "bin/ls", 0o755, &dynamic));
    assert!(image_error(&second, &source).contains("/bin/ls is not static: it needs the loader /lib64/ld-linux-x86-64.so.2"));
    // A data file may begin with any bytes.
    second.files.pop();
    second.files.push(file(&mut source, "data", 0o644, &program(Arch::Arm64)));
    second.image(&source, &Cancel::new()).unwrap();
}

#[test]
fn commands_must_run_an_existing_program() {
    let mut source = Blobs::default();
    let built = small(Arch::Amd64, &mut source);
    for (command, expected) in [
        (vec![], "has no command"),
        (vec!["pause"], "begins with `pause`, expected an absolute path"),
        (vec!["/usr/bin/other"], "runs /usr/bin/other, which is not in it"),
        (vec!["/usr/bin/../bin/pause"], "escapes the root"),
        (vec!["/etc/motd"], "runs /etc/motd, whose mode 644 does not allow that"),
        (vec!["/usr/bin/pause", "a\0b"], "NUL"),
        (vec!["/usr/bin/pause"; 257], "more than 256 words"),
    ] {
        let built = Built { command: command.into_iter().map(str::to_owned).collect(), ..built.clone() };
        let text = image_error(&built, &source);
        assert!(text.contains(expected), "{text}: expected {expected}");
    }
}

#[test]
fn conflicting_files_are_refused() {
    let mut source = Blobs::default();
    let built = small(Arch::Amd64, &mut source);
    let parse = |name: &[u8]| TreePath::parse(name, false).unwrap();
    for (path, mode, expected) in [
        (parse(b""), 0o644, "must have a name"),
        (parse(b"etc/motd"), 0o644, "/etc/motd: is named twice"),
        (parse(b"etc/motd/x"), 0o644, "/etc/motd/x: its parent /etc/motd is a file"),
        (parse(b"etc"), 0o644, "its parent /etc is a file"),
        (parse(b"etc/.wh.motd"), 0o644, "would remove a file"),
        (parse(b".wh..wh..opq/x"), 0o644, "would remove a file"),
        (parse(b"\xff"), 0o644, r"/\xff: the name is not UTF-8"),
        (parse(b"x"), 0o100_644, "more than permission bits"),
    ] {
        let mut built = built.clone();
        let mut file = file(&mut source, "x", mode, b"x");
        file.path = path;
        built.files.push(file);
        let text = image_error(&built, &source);
        assert!(text.contains(expected), "{text}: expected {expected}");
    }
    let mut built = built.clone();
    built.files.push(file(&mut source, "x", 0o644, b"x"));
    for size in [u64::MAX, 16 << 30] {
        built.files.last_mut().unwrap().size = size;
        assert!(image_error(&built, &source).contains("more than 17179869184 bytes"));
    }
}
