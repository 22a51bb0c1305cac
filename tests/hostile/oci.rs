//! Container images as a registry gives them: indexes, manifests, configurations, layers. Layers are never unpacked: an
//! archive takes them as they are, by digest.

use std::io::{self, Read};

use kbake::Class;
use kbake::oci::{self, Document, Image};
use kbake::tree::ContentSource;
use kbake::value::{Arch, Cancel, Reference, Sha256};

use super::row::{Expect, MEMORY, Place, Row, Seen};
use super::seeds;

const IMAGE: &str = "registry.k8s.io/pause:3.10.2";
const LAYER: &[u8] = b"a layer";

fn reference() -> Reference {
    IMAGE.parse().unwrap()
}

fn layer_digest() -> String {
    format!("sha256:{}", Sha256::of(LAYER))
}

/// Reads a document; in an index, the entry for our platform.
fn document(bytes: &[u8], _: &Place) -> kbake::Result<Seen> {
    match oci::document(bytes, &reference())? {
        Document::Index(index) => Ok(vec![format!("index to {}", index.platform(Arch::Amd64, &reference())?.media_type)]),
        Document::Manifest(found) => Ok(vec![format!("manifest of {} layers", found.layers.len())]),
    }
}

/// Reads a manifest that an index names; another index is refused.
fn manifest(bytes: &[u8], _: &Place) -> kbake::Result<Seen> {
    oci::manifest(bytes, &reference()).map(|found| vec![format!("manifest of {} layers", found.layers.len())])
}

/// A source that returns these bytes for every digest.
struct Liar<'a>(&'a [u8]);

impl ContentSource for Liar<'_> {
    fn open(&self, _: &Sha256, _: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.0))
    }
}

/// Manifest, configuration and layer, between zero bytes: the whole way into an archive.
fn pulled(bytes: &[u8], _: &Place) -> kbake::Result<Seen> {
    let parts: Vec<&[u8]> = bytes.splitn(3, |&byte| byte == 0).collect();
    let image = Image::pulled(reference(), Arch::Amd64, parts[0], parts[1])?;
    let mut archive = Vec::new();
    image.write(&Liar(parts[2]), &mut archive, &Cancel::new())?;
    Ok(vec!["an archive".to_owned()])
}

fn sound_manifest(config: &str) -> String {
    let text = seeds::manifest(&Sha256::of(config).to_string(), &config.len().to_string(), &layer_digest());
    text.replace("\"size\":1000", &format!("\"size\":{}", LAYER.len()))
}

fn row(
    name: &'static str,
    read: fn(&[u8], &Place) -> kbake::Result<Seen>,
    make: impl FnOnce() -> Vec<u8> + 'static,
    words: &[&str],
) -> Row {
    let words = [&[IMAGE], words].concat().iter().map(|word| (*word).to_owned()).collect();
    Row { name, make: Box::new(make), read: Box::new(read), expect: Expect::Refused(Class::User, words), memory: MEMORY }
}

/// A sound index with a text in it replaced.
fn index(name: &'static str, from: &'static str, to: impl Into<String>, words: &[&str]) -> Row {
    let to = to.into();
    row(name, document, move || changed(&seeds::index(&layer_digest()), from, &to), words)
}

/// A sound manifest with a text in it replaced.
fn of_manifest(name: &'static str, from: &'static str, to: impl Into<String>, words: &[&str]) -> Row {
    let to = to.into();
    row(name, manifest, move || changed(&sound_manifest(&seeds::config()), from, &to), words)
}

fn changed(text: &str, from: &str, to: &str) -> Vec<u8> {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replace(from, to).into_bytes()
}

/// An image of this configuration, whose manifest is `edit`ed after it was made to fit, and of this layer.
fn image(name: &'static str, config: String, edit: fn(String) -> String, layer: Vec<u8>, class: Class, words: &[&str]) -> Row {
    let make = move || [edit(sound_manifest(&config)).as_bytes(), b"\0", config.as_bytes(), b"\0", &layer].concat();
    let words = [&[IMAGE], words].concat().iter().map(|word| (*word).to_owned()).collect();
    Row { expect: Expect::Refused(class, words), ..row(name, pulled, make, &[]) }
}

pub fn rows() -> Vec<Row> {
    let same = |text: String| text;
    let layer = || LAYER.to_vec();
    let wrong = Class::Integrity;

    let mut lying = LAYER.to_vec();
    lying[0] ^= 1;
    let sound = |row: Row, seen: &'static str| Row { expect: Expect::Accepted(vec![seen]), ..row };
    vec![
        sound(
            row("a sound index", document, || seeds::index(&layer_digest()).into(), &[]),
            "index to application/vnd.oci.image.manifest.v1+json",
        ),
        sound(row("a sound manifest", manifest, || sound_manifest(&seeds::config()).into(), &[]), "manifest of 1 layers"),
        sound(image("a sound container image", seeds::config(), same, layer(), wrong, &[]), "an archive"),
        row("an index that leads to itself", manifest, || seeds::index(&layer_digest()).into(), &["found an index", "not followed"]),
        index("an index that leads to an index", "oci.image.manifest.v1", "oci.image.index.v1", &["leads to another index"]),
        index("an index that leads to a layer", "oci.image.manifest.v1+json", "oci.image.layer.v1.tar+gzip", &["expected a manifest"]),
        index("an index that says it is a manifest", "image.index.v1", "image.manifest.v1", &["contradicts"]),
        index(
            "an index and a manifest at once",
            "\"manifests\"",
            "\"layers\":[],\"config\":null,\"manifests\"",
            &["an index and a manifest at once"],
        ),
        index("an unknown media type", "oci.image.manifest.v1+json", "oci.image.manifest.v9+json", &["unknown media type"]),
        index("a digest that is a path", "sha256:", "../../", &["has an invalid digest"]),
        index("a digest in capitals", "sha256:", "SHA256:", &["has an invalid digest"]),
        index("a size below zero", "\"size\":526", "\"size\":-1", &["cannot be read"]),
        index("a size beyond 64 bits", "\"size\":526", "\"size\":99999999999999999999", &["cannot be read"]),
        index("a manifest of 5 MiB", "\"size\":526", "\"size\":5242880", &["5242880 bytes, expected 1 to 4194304"]),
        index("another system", "\"os\":\"linux\"", "\"os\":\"\x7f[2Jwindows\"", &["windows/amd64"]),
        index("schema 1", "\"schemaVersion\":2", "\"schemaVersion\":1", &["schemaVersion 2"]),
        row("an index of 4 MiB of entries", document, many_entries, &["has no linux/amd64", "and 980 more"]),
        row(
            "an index longer than may be",
            document,
            || [b"{\"schemaVersion\":2,\"manifests\":[", &b"{},".repeat(2 << 20)[..]].concat(),
            &["at most 4194304 are read"],
        ),
        row(
            "a document a hundred thousand deep",
            document,
            || b"{\"manifests\":".iter().copied().chain([b'['; 100_000]).collect(),
            &["cannot be read"],
        ),
        row(
            "a key twice",
            document,
            || b"{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}".to_vec(),
            &["duplicate field `manifests`"],
        ),
        row("a login page", document, || b"<!doctype html><html>".to_vec(), &["cannot be read"]),
        row(
            "a document behind a document",
            document,
            || [seeds::index(&layer_digest()), "{}".into()].concat().into(),
            &["trailing characters"],
        ),
        of_manifest("a foreign layer", "oci.image.layer.v1.tar+gzip", "docker.image.rootfs.foreign.diff.tar.gzip", &["cannot be used"]),
        of_manifest("an encrypted layer", "layer.v1.tar+gzip", "layer.v1.tar+gzip+encrypted", &["unknown media type"]),
        of_manifest(
            "a layer that is a configuration",
            "oci.image.layer.v1.tar+gzip",
            "oci.image.config.v1+json",
            &["one of its layers is a"],
        ),
        of_manifest("a configuration that is a chart", "oci.image.config.v1", "cncf.helm.config.v1", &["unknown media type"]),
        of_manifest("a layer of 16 GiB and more", "\"size\":7", "\"size\":17179869185", &["17179869185 bytes"]),
        of_manifest("a layer of no bytes", "\"size\":7", "\"size\":0", &["0 bytes, expected 1 to"]),
        row(
            "a thousand layers",
            manifest,
            || {
                let text = sound_manifest(&seeds::config());
                let (front, list) = text.split_once("\"layers\":[").unwrap();
                let one = list.strip_suffix("]}").unwrap();
                format!("{front}\"layers\":[{}]}}", vec![one; 1000].join(",")).into()
            },
            &["it has 1000 layers, expected 1 to 127"],
        ),
        image(
            "a configuration that is another",
            seeds::config(),
            |text| text.replace(&Sha256::of(seeds::config()).to_string(), &"0".repeat(64)),
            layer(),
            wrong,
            &["not the one that its manifest names"],
        ),
        image(
            "a configuration of another size",
            seeds::config(),
            |text| text.replace("config.v1+json\",\"size\":1", "config.v1+json\",\"size\":9"),
            layer(),
            wrong,
            &["not the one that its manifest names"],
        ),
        image(
            "a configuration for another machine",
            seeds::config().replace("amd64", "riscv64"),
            same,
            layer(),
            Class::User,
            &["another platform", "linux/riscv64"],
        ),
        image(
            "a configuration of more layers",
            seeds::config().replace("[\"sha256", "[\"sha256:00\",\"sha256"),
            same,
            layer(),
            Class::User,
            &["names 1 layers, its configuration 2"],
        ),
        image("a configuration that is a manifest", sound_manifest("{}"), same, layer(), Class::User, &["cannot be read"]),
        image("a layer that lies", seeds::config(), same, lying, wrong, &["has changed", "found sha256:"]),
        image("a layer that is longer", seeds::config(), same, [LAYER, b"more"].concat(), wrong, &["7 bytes, found more"]),
        image("a layer that never ends", seeds::config(), same, vec![0; 32 << 20], wrong, &["7 bytes, found more"]),
        image("a layer that is shorter", seeds::config(), same, LAYER[..3].to_vec(), wrong, &["7 bytes, found 3"]),
        image("no layer", seeds::config(), same, Vec::new(), wrong, &["7 bytes, found 0"]),
    ]
}

/// The largest number of platforms in a document, none of them ours.
fn many_entries() -> Vec<u8> {
    let one = |n: usize| {
        format!(r#"{{"mediaType":"a","digest":"","size":1,"platform":{{"os":"o{}","architecture":"{}"}}}}"#, n % 1000, "x".repeat(200))
    };
    let mut text = String::from("{\"schemaVersion\":2,\"manifests\":[");
    (0..14_000).for_each(|n| text += &(one(n) + ","));
    text.pop();
    (text + "]}").into()
}
