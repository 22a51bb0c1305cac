use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};

use super::{archive, reference, small};
use crate::common::testing::Blobs;
use crate::common::value::{Arch, Cancel, Sha256};
use crate::formats::oci::Image;
use crate::{Class, Error};

/// A pulled image of two layers, the first of which occurs twice.
fn pulled(source: &mut Blobs) -> Image {
    let layers = [&b"first layer"[..], b"second layer", b"first layer"];
    let ids: Vec<String> = layers.iter().map(|layer| format!("\"sha256:{}\"", source.add(*layer))).collect();
    let root = format!(r#"{{"type":"layers","diff_ids":[{}]}}"#, ids.join(","));
    let config = format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{root}}}"#);
    let entry = |kind: &str, bytes: &[u8]| {
        format!(r#"{{"mediaType":"application/vnd.{kind}","size":{},"digest":"sha256:{}"}}"#, bytes.len(), Sha256::of(bytes))
    };
    let layers: Vec<String> = layers.iter().map(|layer| entry("docker.image.rootfs.diff.tar.gzip", layer)).collect();
    let head = r#""schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json""#;
    let config_entry = entry("docker.container.image.v1+json", config.as_bytes());
    let manifest = format!("{{\n {head}, \"config\": {config_entry}, \"layers\": [{}]\n}}", layers.join(","));
    Image::pulled(reference(), Arch::Amd64, manifest.as_bytes(), config.as_bytes()).unwrap()
}

fn entries(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let read = |entry: io::Result<::tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (String::from_utf8(entry.path_bytes().to_vec()).unwrap(), bytes)
    };
    ::tar::Archive::new(archive).entries().unwrap().map(read).collect()
}

#[test]
fn an_archive_is_a_sorted_layout_of_one_image() {
    let mut source = Blobs::default();
    for image in [small(Arch::Arm64, &mut source).image(&source, &Cancel::new()).unwrap(), pulled(&mut source)] {
        let bytes = archive(&image, &source).unwrap();
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(bytes, archive(&image, &source).unwrap());
        let entries = entries(&bytes);
        let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(
            (names[0], names[1], names[names.len() - 2], names[names.len() - 1]),
            ("blobs/", "blobs/sha256/", "index.json", "oci-layout")
        );
        let all: BTreeMap<_, _> = entries.iter().cloned().collect();
        assert_eq!(all.len(), entries.len(), "each once");
        for (name, bytes) in &entries[2..entries.len() - 2] {
            assert_eq!(*name, format!("blobs/sha256/{}", Sha256::of(bytes)));
        }
        assert_eq!(all["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
        let index = String::from_utf8(all["index.json"].clone()).unwrap();
        let manifest = image.manifest();
        let variant = if index.contains("arm64") { r#","variant":"v8""# } else { "" };
        let arch = if index.contains("arm64") { "arm64" } else { "amd64" };
        let expected = format!(
            concat!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"{}","#,
                r#""digest":"sha256:{}","size":{},"annotations":{{"io.containerd.image.name":"registry.k8s.io/pause:3.10.2","#,
                r#""org.opencontainers.image.ref.name":"3.10.2"}},"platform":{{"architecture":"{}","os":"linux"{}}}}}]}}"#
            ),
            manifest.media_type, manifest.digest, manifest.size, arch, variant
        );
        assert_eq!(index, expected);
    }
}

#[test]
fn a_built_image_has_a_start_command() {
    let mut source = Blobs::default();
    let image = small(Arch::Amd64, &mut source).image(&source, &Cancel::new()).unwrap();
    let all = entries(&archive(&image, &source).unwrap());
    let text = |digest: &str| {
        let name = format!("blobs/{}", digest.replace(':', "/"));
        String::from_utf8(all.iter().find(|(found, _)| *found == name).unwrap().1.clone()).unwrap()
    };
    let manifest: serde_json::Value = serde_json::from_str(&text(&format!("sha256:{}", image.manifest().digest))).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let expected = format!(
        concat!(
            r#"{{"created":"2025-01-01T00:00:00Z","architecture":"amd64","os":"linux","#,
            r#""config":{{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"#,
            r#""Entrypoint":["/usr/bin/pause","--"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"#,
            r#""history":[{{"created":"2025-01-01T00:00:00Z","created_by":"kbake"}}]}}"#
        ),
        layer
    );
    assert_eq!(text(manifest["config"]["digest"].as_str().unwrap()), expected);
}

/// A source with wrong bytes is detected at each stage and in each way.
#[test]
fn no_wrong_byte_gets_into_an_archive() {
    let mut honest = Blobs::default();
    let built = small(Arch::Amd64, &mut honest);
    let images = [built.image(&honest, &Cancel::new()).unwrap(), pulled(&mut honest)];
    for (digest, true_bytes) in honest.iter() {
        let mut flipped = true_bytes.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        let longer = [true_bytes, b"x"].concat();
        for (lie, expected) in
            [(&flipped[..], "found sha256:"), (&longer, "found more"), (&true_bytes[1..], "bytes, found "), (b"", "bytes, found 0")]
        {
            let liar = honest.lying(digest, lie);
            let failures: Vec<Error> = images.iter().filter_map(|image| archive(image, &liar).err()).collect();
            assert_eq!(failures.len(), 1, "each blob is in one of the images");
            let text = failures[0].to_string();
            assert_eq!(failures[0].class(), Class::Integrity, "{text}");
            assert!(text.contains(expected) && text.contains("has changed"), "{text}: expected {expected}");
            if built.files.iter().any(|file| file.digest == *digest) {
                assert_eq!(built.image(&liar, &Cancel::new()).unwrap_err().class(), Class::Integrity);
            }
        }
        let without = honest.without(digest);
        let failures = images.iter().filter(|image| archive(image, &without).is_err()).count();
        assert_eq!(failures, 1);
    }
}

/// A disk with limited space.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.0);
        self.0 -= count;
        if count == 0 && !bytes.is_empty() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_and_cancellation_are_reported() {
    let mut source = Blobs::default();
    let image = small(Arch::Amd64, &mut source).image(&source, &Cancel::new()).unwrap();
    let whole = archive(&image, &source).unwrap().len();
    for room in (0..whole).step_by(97).chain([whole - 1]) {
        assert_eq!(image.write(&source, &mut Full(room), &Cancel::new()).unwrap_err().class(), Class::NoSpace);
    }
    image.write(&source, &mut Full(whole), &Cancel::new()).unwrap();
    let cancel = Cancel::new();
    cancel.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(image.write(&source, &mut io::sink(), &cancel).unwrap_err().class(), Class::Interrupted);
    assert_eq!(small(Arch::Amd64, &mut source).image(&source, &cancel).unwrap_err().class(), Class::Interrupted);
}
