//! Archives as `docker save`, podman, skopeo and buildx write them, and malformed ones.

use std::fs;

use super::*;
use crate::common::error::Class;
use crate::formats::oci::tar::{END, Kind as Entry, header, padding};

const REFERENCE: &str = "registry.test/coredns/coredns:v1.12.0";

/// A tar of these files, in this order.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.extend(header(name, Entry::File(bytes.len() as u64), 0o644, 0));
        out.extend_from_slice(bytes);
        out.extend_from_slice(&END[..padding(bytes.len() as u64)]);
    }
    out.extend_from_slice(&END);
    out
}

fn config(arch: &str, layer: &[u8]) -> String {
    format!(r#"{{"architecture":"{arch}","os":"linux","rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}}"#, Sha256::of(layer))
}

fn named(kind: &str, bytes: &[u8]) -> String {
    format!(r#""mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{}","size":{}"#, Sha256::of(bytes), bytes.len())
}

fn manifest(config: &[u8], layer: &[u8]) -> String {
    let (config, layer) = (named("config.v1+json", config), named("layer.v1.tar", layer));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{{config}}},"layers":[{{{layer}}}]}}"#
    )
}

/// An image for a machine: its layer, configuration and manifest.
fn image(arch: &str, layer: &str) -> (String, String, String) {
    let config = config(arch, layer.as_bytes());
    let manifest = manifest(config.as_bytes(), layer.as_bytes());
    (layer.to_owned(), config, manifest)
}

/// An OCI layout with `entries` as its index, and these blobs.
fn layout(entries: &[String], blobs: &[&str]) -> Vec<u8> {
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
    let names: Vec<String> = blobs.iter().map(|blob| format!("blobs/sha256/{}", Sha256::of(blob))).collect();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(blobs.iter().map(|blob| blob.as_bytes())).collect();
    files.push(("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
    files.push(("index.json", index.as_bytes()));
    tar(&files)
}

fn entry(kind: &str, bytes: &str, name: Option<&str>) -> String {
    let names = name.map(|name| format!(r#","annotations":{{"io.containerd.image.name":"{name}"}}"#)).unwrap_or_default();
    format!("{{{}{names}}}", named(kind, bytes.as_bytes()))
}

/// The digest of the manifest chosen from an archive with these bytes.
fn chosen(bytes: &[u8], wanted: Option<&str>) -> Result<Sha256> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    fs::write(&file, bytes).unwrap();
    choose(&file, wanted, Arch::Amd64, &REFERENCE.parse().unwrap(), &Cancel::new())
}

fn refused(bytes: &[u8], class: Class, words: &str) {
    let error = chosen(bytes, None).unwrap_err();
    assert!(error.class() == class && error.to_string().contains(words), "{words}: {error}");
}

#[test]
fn a_layout_s_image_is_chosen_for_the_machine() {
    let (layer, config, manifest) = image("amd64", "layer");
    let (other_layer, other_config, other) = image("arm64", "other");
    let digest = Sha256::of(&manifest);
    let one = layout(&[entry("manifest.v1+json", &manifest, Some("x:1"))], &[&layer, &config, &manifest]);
    assert_eq!(chosen(&one, None).unwrap(), digest, "the only one, whatever its name");
    let platform = |arch: &str, manifest: &str| {
        format!(r#"{{{},"platform":{{"os":"linux","architecture":"{arch}"}}}}"#, named("manifest.v1+json", manifest.as_bytes()))
    };
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, platform("arm64", &other), platform("amd64", &manifest));
    let nested = layout(&[entry("index.v1+json", &index, None)], &[&layer, &config, &manifest, &index]);
    assert_eq!(chosen(&nested, None).unwrap(), digest, "the other machine's parts need not be there");
    let both = [entry("manifest.v1+json", &other, None), entry("manifest.v1+json", &manifest, None)];
    let flat = layout(&both, &[&layer, &config, &manifest, &other_layer, &other_config, &other]);
    assert_eq!(chosen(&flat, None).unwrap(), digest);
    let alone = layout(&both[..1], &[&other_layer, &other_config, &other]);
    refused(&alone, Class::User, "has no image at all for linux/amd64");
    // Compression makes no difference.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&one).unwrap();
    assert_eq!(chosen(&gzip.finish().unwrap(), None).unwrap(), digest);
    assert_eq!(chosen(&zstd::encode_all(one.as_slice(), 1).unwrap(), None).unwrap(), digest);
}

#[test]
fn of_several_images_the_one_with_the_name_is_taken_or_one_must_be_named() {
    let (layer, config, manifest) = image("amd64", "layer");
    let (second_layer, second_config, second) = image("amd64", "second");
    let of = |first: &str| {
        let entries = [entry("manifest.v1+json", &manifest, Some(first)), entry("manifest.v1+json", &second, Some("b.test/b:2"))];
        layout(&entries, &[&layer, &config, &manifest, &second_layer, &second_config, &second])
    };
    assert_eq!(chosen(&of(REFERENCE), None).unwrap(), Sha256::of(&manifest));
    refused(&of("a.test/a:1"), Class::User, "it has a.test/a:1, b.test/b:2");
    refused(&of("a.test/a:1"), Class::User, "`NAME=FILE#IMAGE`");
    assert_eq!(chosen(&of("a.test/a:1"), Some("b.test/b:2")).unwrap(), Sha256::of(&second));
    let error = chosen(&of("a.test/a:1"), Some("c.test/c:3")).unwrap_err().to_string();
    assert!(error.contains("has no image c.test/c:3") && error.contains("it has a.test/a:1, b.test/b:2"), "{error}");
    let twice = [entry("manifest.v1+json", &manifest, Some("a.test/a:1")), entry("manifest.v1+json", &manifest, Some("a.test/a:2"))];
    assert_eq!(chosen(&layout(&twice, &[&layer, &config, &manifest]), None).unwrap(), Sha256::of(&manifest), "two names of one image");
}

/// An archive in the format that `docker save` wrote before it wrote layouts.
fn saved(layer: &[u8], config: &str, list: &str) -> Vec<u8> {
    tar(&[("0123.json", config.as_bytes()), ("4567/layer.tar", layer), ("manifest.json", list.as_bytes())])
}

const LIST: &str = r#"[{"Config":"0123.json","RepoTags":["coredns:1"],"Layers":["4567/layer.tar"]}]"#;

#[test]
fn archives_in_the_old_docker_format_get_a_manifest() {
    let config = config("amd64", b"layer");
    let digest = chosen(&saved(b"layer", &config, LIST), None).unwrap();
    assert_eq!(digest, chosen(&saved(b"layer", &config, LIST), Some("coredns:1")).unwrap(), "the same each time");
    // Layers of several images are links to one file.
    let mut link = ::tar::Builder::new(Vec::new());
    let mut put = |name: &str, bytes: &[u8]| {
        let mut header = ::tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        link.append_data(&mut header, name, bytes).unwrap();
    };
    put("0123.json", config.as_bytes());
    put("89ab.tar", b"layer");
    put("manifest.json", LIST.as_bytes());
    let mut header = ::tar::Header::new_ustar();
    header.set_entry_type(::tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    link.append_link(&mut header, "4567/layer.tar", "../89ab.tar").unwrap();
    assert_eq!(chosen(&link.into_inner().unwrap(), None).unwrap(), digest);
    // A layout beside it takes precedence, as its writer intends.
    let (layer, config, manifest) = image("amd64", "layer");
    let mut hybrid = layout(&[entry("manifest.v1+json", &manifest, None)], &[&layer, &config, &manifest]);
    hybrid.truncate(hybrid.len() - END.len());
    hybrid.extend(tar(&[("manifest.json", LIST.as_bytes())]));
    assert_eq!(chosen(&hybrid, None).unwrap(), Sha256::of(&manifest));
}

#[test]
fn archives_that_lie_are_refused() {
    let good = config("amd64", b"layer");
    refused(&saved(b"other", &good, LIST), Class::Integrity, "does not match the image's configuration");
    refused(&saved(b"layer", &good, "[]"), Class::User, "has no image at all");
    refused(&saved(b"layer", &good, &LIST.replace("4567/layer", "../4567/layer")), Class::User, "lacks `../4567/layer.tar`");
    refused(&saved(b"layer", &good, &LIST.replace("0123", "/etc/passwd")), Class::User, "lacks `/etc/passwd.json`");
    refused(&saved(b"layer", "{}", LIST), Class::User, "cannot be read");
    refused(&saved(b"layer", &good, "{"), Class::User, "`manifest.json` cannot be read");
    let two = LIST.replace(r#"["4567/layer.tar"]"#, r#"["4567/layer.tar","4567/layer.tar"]"#);
    refused(&saved(b"layer", &good, &two), Class::User, "lists 2 layers, the image's configuration 1");
    refused(&tar(&[("readme", b"x")]), Class::User, "neither `oci-layout`");
    refused(b"\x7fELF no tar at all", Class::Integrity, "image.tar");
    let (layer, config, manifest) = image("amd64", "layer");
    let entries = [entry("manifest.v1+json", &manifest, None)];
    refused(&layout(&entries, &[&config, &manifest]), Class::User, &format!("lacks sha256:{}", Sha256::of(&layer)));
    refused(&layout(&entries, &[&layer, &manifest]), Class::User, "lacks `blobs/sha256/");
    let (place, wrong) = (format!("blobs/sha256/{}", Sha256::of(&layer)), config.clone());
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries[0]);
    let [config_place, manifest_place] = [&config, &manifest].map(|bytes| format!("blobs/sha256/{}", Sha256::of(bytes)));
    let swapped = tar(&[
        (&place, wrong.as_bytes()),
        (&config_place, config.as_bytes()),
        (&manifest_place, manifest.as_bytes()),
        ("oci-layout", b"{}"),
        ("index.json", index.as_bytes()),
    ]);
    refused(&swapped, Class::Integrity, "does not match its name");
    let up = tar(&[("../manifest.json", LIST.as_bytes())]);
    assert!(chosen(&up, None).is_err());
    let twice = tar(&[("manifest.json", b"[]"), ("manifest.json", LIST.as_bytes())]);
    refused(&twice, Class::Integrity, "manifest.json");
}

#[test]
fn links_lead_inside_the_archive_or_nowhere() {
    for (link, target, leads) in [
        ("a/layer.tar", "../b.tar", Some("b.tar")),
        ("a/layer.tar", "../b/layer.tar", Some("b/layer.tar")),
        ("a/layer.tar", "./x", Some("a/x")),
        ("layer.tar", "b.tar", Some("b.tar")),
        ("a/layer.tar", "../../b.tar", None),
        ("a/layer.tar", "/etc/shadow", None),
    ] {
        assert_eq!(beside(link, target).as_deref(), leads, "{link} {target}");
    }
}

#[test]
fn looking_into_an_archive_ends_when_the_user_asks() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    fs::write(&file, saved(b"layer", &config("amd64", b"layer"), LIST)).unwrap();
    let cancel = Cancel::new();
    assert!(is_image_archive(&file, &cancel).unwrap());
    cancel.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(is_image_archive(&file, &cancel).unwrap_err().class(), Class::Interrupted);
    let program = folder.path().join("program");
    fs::write(&program, b"\x7fELF").unwrap();
    assert!(!is_image_archive(&program, &Cancel::new()).unwrap());
}

#[test]
fn an_image_of_one_s_own_comes_into_the_store_without_a_registry() {
    use crate::build::testing::offline;
    use crate::storage::store::Access;

    let folder = tempfile::tempdir().unwrap();
    let cancel = Cancel::new();
    let store = Store::open(&folder.path().join("store"), Access::Shared, &cancel, &|| {}).unwrap();
    let bake = offline(&store, &cancel);
    let path = folder.path().join("image.tar");
    let own = OwnFile { name: "coredns".parse().unwrap(), path: path.clone(), again: "run `kbake lock --set coredns=FILE`".to_owned() };
    let reference: Reference = REFERENCE.parse().unwrap();
    let (layer, config, manifest) = image("amd64", "layer");
    let layouts = layout(&[entry("manifest.v1+json", &manifest, None)], &[&layer, &config, &manifest]);
    for archive in [layouts, saved(b"second", &self::config("amd64", b"second"), LIST)] {
        fs::write(&path, &archive).unwrap();
        let index = choose(&path, None, Arch::Amd64, &reference, &cancel).unwrap();
        let image = PulledImage { reference: reference.clone(), index, arch: Arch::Amd64 };
        assert!(!is_taken(&bake, &image).unwrap());
        take(&bake, &image, &own).unwrap();
        assert!(is_taken(&bake, &image).unwrap());
        crate::build::pipeline::images::pull(&bake, &image, crate::spec::plan::Form::Archive).unwrap();
    }
    let gone = PulledImage { reference, index: Sha256::of(b"another"), arch: Arch::Amd64 };
    let error = take(&bake, &gone, &own).unwrap_err();
    assert!(error.class() == Class::User && error.to_string().contains("no longer has the image"), "{error}");
    assert!(error.to_string().contains("`kbake lock --set coredns=FILE`"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(take(&bake, &gone, &own).unwrap_err().message().contains("the image `coredns` is locked to "));
}
