//! Container images unpacked into containerd's folder: a store with the inputs of small images, and their trees.

mod running;
mod trees;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::build::pipeline::images;
use crate::build::testing::offline;
use crate::common::testing::containerd::{STATIC, program};
use crate::common::value::{Arch, Cancel, Digest};
use crate::spec::plan::{BuiltImage, FileSource, PulledImage};
use crate::storage::store::{Access, Store};

const PAUSE: &str = "registry.test/pause:3.10";
const TOOLS: &str = "registry.test/tools/busybox:v1";
const MORE: &str = "registry.test/tools/more:v2";
const LATER: &str = "registry.test/tools/later:v1";

/// A store with the inputs of images.
struct Site {
    folder: tempfile::TempDir,
    store: Store,
    cancel: Cancel,
}

/// The type of a layer's entry, beside a file: `=` before the target of a hard link, `>` before that of a symbolic one, `/`
/// for a folder.
type Entry<'a> = (&'a str, u32, &'a [u8]);

fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, mode, contents) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(*mode);
        header.set_mtime(1_600_000_000);
        header.set_uid(if *mode == 0o600 { 65_532 } else { 0 });
        header.set_size(0);
        match contents.split_first() {
            _ if name.ends_with('/') => {
                header.set_entry_type(tar::EntryType::Directory);
                builder.append_data(&mut header, name, &b""[..]).unwrap();
            }
            Some((b'=' | b'>', target)) => {
                header.set_entry_type(if contents[0] == b'=' { tar::EntryType::Link } else { tar::EntryType::Symlink });
                builder.append_link(&mut header, name, std::str::from_utf8(target).unwrap()).unwrap();
            }
            _ => {
                header.set_size(contents.len() as u64);
                builder.append_data(&mut header, name, *contents).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn busybox() -> Vec<u8> {
    fs::read(program(STATIC, "busybox")).unwrap()
}

/// The lowest layer, shared by two images.
fn ground(busybox: &[u8]) -> Vec<u8> {
    layer(&[
        ("bin/", 0o755, b""),
        ("bin/busybox", 0o755, busybox),
        ("bin/sh", 0o755, b"=bin/busybox"),
        ("bin/cat", 0o777, b">busybox"),
        ("etc/gone", 0o644, b"below"),
        ("etc/motd", 0o600, b"below"),
        ("opt/", 0o711, b""),
        ("opt/below", 0o644, b"below"),
        ("hidden/", 0o755, b""),
        ("hidden/below", 0o644, b"below"),
    ])
}

fn upper(text: &[u8]) -> Vec<u8> {
    layer(&[
        ("etc/.wh.gone", 0o644, b""),
        ("etc/motd", 0o600, text),
        ("opt/above", 0o644, text),
        ("hidden/", 0o755, b""),
        ("hidden/above", 0o644, text),
        ("hidden/.wh..wh..opq", 0o644, b""),
    ])
}

fn descriptor(kind: &str, bytes: &[u8]) -> String {
    let digest = Sha256::of(bytes);
    format!(r#""mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{digest}","size":{}"#, bytes.len())
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let store = Store::open(&folder.path().join("store"), Access::Shared, &cancel, &|| {}).unwrap();
        Site { folder, store, cancel }
    }

    fn bake<T>(&self, work: impl FnOnce(&Bake) -> T) -> T {
        work(&offline(&self.store, &self.cancel))
    }

    /// An image as a registry serves it: an index with a second architecture, a manifest, gzipped layers.
    fn pulled(&self, name: &str, layers: &[&[u8]], diffs: &[Sha256]) -> PulledImage {
        let put = |bytes: &[u8]| self.store.insert(bytes).unwrap();
        let diffs: Vec<String> = diffs.iter().map(|diff| format!(r#""sha256:{diff}""#)).collect();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/bin/sh","-c","cat /etc/motd"],"Env":["PATH=/bin"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diffs.join(",")
        );
        let layers: Vec<String> = layers
            .iter()
            .map(|bytes| {
                let packed = gzipped(bytes);
                put(&packed);
                format!("{{{}}}", descriptor("layer.v1.tar+gzip", &packed))
            })
            .collect();
        put(config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{{}}},"layers":[{}]}}"#,
            descriptor("config.v1+json", config.as_bytes()),
            layers.join(",")
        );
        put(manifest.as_bytes());
        let platform = |arch: &str, bytes: &[u8]| {
            format!(r#"{{{},"platform":{{"architecture":"{arch}","os":"linux"}}}}"#, descriptor("manifest.v1+json", bytes))
        };
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}}"#,
            platform("s390x", b"not here"),
            platform("amd64", manifest.as_bytes())
        );
        put(index.as_bytes());
        PulledImage { reference: name.parse().unwrap(), index: Sha256::of(&index), arch: Arch::Amd64 }
    }

    fn image(&self, name: &str, layers: &[&[u8]]) -> PulledImage {
        let diffs: Vec<Sha256> = layers.iter().map(Sha256::of).collect();
        self.pulled(name, layers, &diffs)
    }

    fn unpacked(&self, path: &str, image: &PulledImage, output: images::ImageOutput) -> Unpacked {
        self.of(path, &image.reference, output)
    }

    fn of(&self, path: &str, reference: &Reference, output: images::ImageOutput) -> Unpacked {
        let tree = self.bake(|bake| bake.tree_of(&output.file)).unwrap();
        let pack = self.store.blob(&output.pack.unwrap().digest).unwrap().unwrap();
        let path = TreePath::fixed(&format!("usr/share/kbake/images/{path}"));
        Unpacked { path, reference: reference.clone(), tree, pack }
    }

    /// An image with one program that keeps running.
    fn pause(&self) -> Unpacked {
        let blob = self.store.insert(&fs::read(program(STATIC, "catatonit")).unwrap()).unwrap();
        let extract = FileSource::Whole(Digest::Sha256(blob.digest));
        let path = TreePath::fixed("usr/local/bin/pause");
        let built = BuiltImage {
            reference: PAUSE.parse().unwrap(),
            arch: Arch::Amd64,
            epoch: epoch(),
            command: vec!["/usr/local/bin/pause".into(), "-P".into()],
            files: vec![(path, extract.clone())],
        };
        let output = self.bake(|bake| images::build(bake, &built, Form::Unpacked, &[(extract, blob)].into())).unwrap();
        self.of("pause.tar", &built.reference, output)
    }

    fn pull(&self, path: &str, image: &PulledImage) -> Unpacked {
        let output = self.bake(|bake| images::pull(bake, image, Form::Unpacked)).unwrap();
        self.unpacked(path, image, output)
    }

    /// Three images; two share a layer.
    fn images(&self) -> Vec<Unpacked> {
        let below = ground(&busybox());
        let tools = self.pull("busybox.tar", &self.image(TOOLS, &[&below, &upper(b"tools")]));
        let more = self.pull("more.tar", &self.image(MORE, &[&below, &upper(b"more"), &layer(&[("etc/more", 0o644, b"more")])]));
        vec![tools, more, self.pause()]
    }
}

fn epoch() -> Epoch {
    Epoch::from_seconds(1_767_225_600).unwrap()
}

fn laid(images: &[Unpacked]) -> Tree {
    lay(Tree::new(Meta::new(0o755, 0, 0, 0)), images, epoch()).unwrap()
}
