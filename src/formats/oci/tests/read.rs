use proptest::prelude::*;
use serde_json::{Value, json};

use super::reference;
use crate::Class;
use crate::common::value::{Arch, Sha256};
use crate::formats::oci::{DOCUMENT_MAX, Document, Image, LAYER_MAX, MediaType, Role, config_platform, document, index, manifest};

fn digest(of: &str) -> String {
    format!("sha256:{}", Sha256::of(of))
}

/// An index as registries have it for an image of several systems, including Windows and attestations.
fn list() -> Value {
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let entry =
        |media: &str, of: &str, platform: Value| json!({"mediaType": media, "size": 526, "digest": digest(of), "platform": platform});
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [
            entry(oci, "statement", json!({"architecture": "unknown", "os": "unknown"})),
            entry(docker, "windows", json!({"architecture": "amd64", "os": "windows", "os.version": "10.0.17763.7009"})),
            entry(docker, "v3", json!({"architecture": "amd64", "os": "linux", "variant": "v3"})),
            entry(docker, "amd64", json!({"architecture": "amd64", "os": "linux"})),
            entry(docker, "amd64 again", json!({"architecture": "amd64", "os": "linux"})),
            entry(docker, "arm", json!({"architecture": "arm", "os": "linux", "variant": "v7"})),
            entry(docker, "arm64", json!({"architecture": "arm64", "os": "linux", "variant": "v8"})),
        ],
    })
}

fn one() -> Value {
    let layer = |kind: &str, of: &str| json!({"mediaType": kind, "size": 1000, "digest": digest(of)});
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 300, "digest": digest("config")},
        "layers": [
            layer("application/vnd.oci.image.layer.v1.tar+gzip", "one"),
            layer("application/vnd.oci.image.layer.v1.tar+zstd", "two"),
            layer("application/vnd.oci.image.layer.v1.tar+gzip", "one"),
        ],
        "annotations": {"org.opencontainers.image.title": "anything"},
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// `value` with the part at `pointer` replaced or removed.
fn with(mut value: Value, pointer: &str, new: Option<Value>) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match (value.pointer_mut(parent).unwrap(), new) {
        (Value::Object(map), Some(new)) => _ = map.insert(key.into(), new),
        (Value::Object(map), None) => _ = map.remove(key),
        (Value::Array(list), Some(new)) => list[key.parse::<usize>().unwrap()] = new,
        (Value::Array(list), None) => _ = list.remove(key.parse().unwrap()),
        _ => panic!("{pointer} leads nowhere"),
    }
    value
}

fn message(error: &crate::Error) -> String {
    assert_eq!(error.class(), Class::User);
    let text = error.to_string();
    assert!(text.starts_with("the container image registry.k8s.io/pause:3.10.2 "), "{text}");
    assert!(text.len() < 1000 && !text.contains('\x1b'), "{text}");
    text
}

#[test]
fn the_first_fitting_manifest_is_chosen() {
    let index = index(&bytes(&list()), &reference()).unwrap();
    for (arch, of) in [(Arch::Amd64, "amd64"), (Arch::Arm64, "arm64")] {
        let found = index.platform(arch, &reference()).unwrap();
        assert_eq!((found.digest, found.size, found.media_type), (Sha256::of(of), 526, MediaType::DockerManifest));
    }
    // Without the variant, which is conventional only.
    let plain = with(list(), "/manifests/6/platform/variant", None);
    assert!(super::super::index(&bytes(&plain), &reference()).unwrap().platform(Arch::Arm64, &reference()).is_ok());
}

#[test]
fn a_manifest_is_parsed() {
    let text = bytes(&one());
    let Document::Manifest(found) = document(&text, &reference()).unwrap() else { panic!("it is a manifest") };
    assert_eq!((found.descriptor.digest, found.descriptor.size), (Sha256::of(&text), text.len() as u64));
    assert_eq!(found.layers.iter().map(|layer| layer.digest).collect::<Vec<_>>(), ["one", "two", "one"].map(Sha256::of));
    assert!(found.layers.iter().all(|layer| layer.media_type.role() == Role::Layer));
    assert_eq!(found.config.digest, Sha256::of("config"));
    // OCI's own documents need not state their media type.
    let silent = with(one(), "/mediaType", None);
    assert_eq!(manifest(&bytes(&silent), &reference()).unwrap().descriptor.media_type, MediaType::OciManifest);
}

#[test]
fn a_missing_platform_is_named_with_the_existing_ones() {
    let index = index(&bytes(&with(list(), "/manifests/6", None)), &reference()).unwrap();
    let error = index.platform(Arch::Arm64, &reference()).unwrap_err();
    assert_eq!(
        message(&error),
        "the container image registry.k8s.io/pause:3.10.2 has no linux/arm64 variant\n  \
         it has linux/amd64, linux/amd64/v3, linux/arm/v7, windows/amd64\n\
         hint: name another image in recipes/sources, or build this one from its program (`from`)"
    );
    let empty = super::super::index(br#"{"schemaVersion":2,"manifests":[]}"#, &reference()).unwrap();
    assert!(message(&empty.platform(Arch::Amd64, &reference()).unwrap_err()).contains("no named platform"));
    // Strange names stay short and harmless.
    let mut many = list();
    let strange = |n: usize| json!({"architecture": format!("\x1b[2J{n}{}", "x".repeat(5000)), "os": "linux"});
    many["manifests"] = (0..50).map(|n| json!({"mediaType": "a/b", "size": 1, "digest": "", "platform": strange(n)})).collect();
    let error = super::super::index(&bytes(&many), &reference()).unwrap().platform(Arch::Amd64, &reference()).unwrap_err().to_string();
    assert!(error.contains("and 30 more") && error.len() < 4000 && !error.contains('\x1b'), "{error}");
}

#[test]
fn bad_indexes_are_refused() {
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let at = |key: &str| format!("/manifests/3{key}");
    for (pointer, new, expected) in [
        (at("/digest"), None, "missing field `digest`"),
        (at("/size"), None, "missing field `size`"),
        (at("/mediaType"), None, "missing field `mediaType`"),
        (at("/digest"), Some(json!(sha512)), "SHA-512 digest; only SHA-256 is supported"),
        (at("/digest"), Some(json!("sha256:\x1b[0m")), r"has an invalid digest `sha256:\u{1b}[0m`"),
        (at("/digest"), Some(json!(digest("x").to_uppercase())), "has an invalid digest"),
        (at("/digest"), Some(json!("../../etc/passwd")), "has an invalid digest"),
        (at("/size"), Some(json!(-1)), "integer `-1`"),
        (at("/size"), Some(json!(1.5)), "floating point `1.5`"),
        (at("/size"), Some(json!("526")), "invalid type: string"),
        (at("/size"), Some(json!(0)), "has 0 bytes, expected 1 to 4194304"),
        (at("/size"), Some(json!(DOCUMENT_MAX + 1)), "has 4194305 bytes"),
        (at("/size"), Some(json!(u64::MAX)), "has 18446744073709551615 bytes"),
        (at("/mediaType"), Some(json!("application/vnd.oci.image.index.v1+json")), "leads to another index"),
        (at("/mediaType"), Some(json!("application/vnd.oci.image.config.v1+json")), "expected a manifest"),
        (at("/mediaType"), Some(json!("text/plain")), "has the unknown media type `text/plain`"),
        ("/schemaVersion".into(), Some(json!(1)), "expected schemaVersion 2"),
        ("/schemaVersion".into(), None, "expected schemaVersion 2"),
        ("/mediaType".into(), Some(json!("application/vnd.oci.image.manifest.v1+json")), "contradicts"),
        ("/mediaType".into(), Some(json!("text/\x1b".repeat(999))), "is unknown"),
        ("/config".into(), Some(one()["config"].clone()), "an index and a manifest at once"),
        ("/layers".into(), Some(json!([])), "an index and a manifest at once"),
        ("/manifests".into(), Some(json!({})), "invalid type: map"),
        ("/manifests".into(), None, "neither `manifests` nor `config` and `layers`"),
    ] {
        let result = index(&bytes(&with(list(), &pointer, new)), &reference());
        let text = message(&result.and_then(|index| index.platform(Arch::Amd64, &reference())).unwrap_err());
        assert!(text.contains(expected), "{pointer}: {text}: expected {expected}");
    }
}

#[test]
fn bad_manifests_are_refused() {
    let layer = |key: &str| format!("/layers/1{key}");
    let config = |key: &str| format!("/config{key}");
    for (pointer, new, expected) in [
        (layer("/digest"), None, "missing field `digest`"),
        (layer("/digest"), Some(json!(format!("sha512:{}", "0".repeat(128)))), "its layer has a SHA-512 digest"),
        (layer("/size"), Some(json!(LAYER_MAX + 1)), "has 17179869185 bytes"),
        (layer("/size"), Some(json!(0)), "has 0 bytes"),
        (layer("/mediaType"), Some(json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")), "is not for distribution"),
        (layer("/mediaType"), Some(json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")), "is not for distribution"),
        (layer("/mediaType"), Some(json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")), "unknown media type"),
        (layer("/mediaType"), Some(json!("application/vnd.oci.image.config.v1+json")), "one of its layers is a"),
        ("/layers/2/size".into(), Some(json!(999)), "has two sizes for sha256:"),
        ("/layers".into(), Some(json!([])), "has 0 layers, expected 1 to 127"),
        ("/layers".into(), Some(vec![one()["layers"][0].clone(); 128].into()), "has 128 layers"),
        ("/layers".into(), None, "has no `layers`"),
        ("/config".into(), None, "has no `config`"),
        (config("/mediaType"), Some(json!("application/vnd.oci.empty.v1+json")), "configuration has the unknown media type"),
        (config("/mediaType"), Some(json!("application/vnd.cncf.helm.config.v1+json")), "configuration has the unknown media type"),
        (config("/mediaType"), Some(json!("application/vnd.oci.image.layer.v1.tar")), "its configuration is a"),
        (config("/size"), Some(json!(DOCUMENT_MAX + 1)), "configuration has 4194305 bytes"),
        ("/manifests".into(), Some(json!([])), "an index and a manifest at once"),
        ("/fsLayers".into(), Some(json!([])), "the publisher must push older images again"),
        ("/mediaType".into(), Some(json!("application/vnd.oci.image.index.v1+json")), "contradicts"),
    ] {
        let text = message(&manifest(&bytes(&with(one(), &pointer, new)), &reference()).unwrap_err());
        assert!(text.contains(expected), "{pointer}: {text}: expected {expected}");
    }
}

#[test]
fn invalid_documents_are_refused() {
    let long = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "x".repeat(DOCUMENT_MAX as usize));
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    let trailing = [bytes(&one()), b"{}".to_vec()].concat();
    let twice = br#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#;
    for (bytes, expected) in [
        (&b""[..], "cannot be read: EOF"),
        (b"<html>login</html>", "cannot be read: expected value"),
        (b"[]", "cannot be read: invalid"),
        (b"null", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (long.as_bytes(), "at most 4194304 are read"),
        (deep.as_bytes(), "cannot be read"),
        (&trailing, "trailing characters"),
        (twice, "duplicate field `manifests`"),
    ] {
        let text = message(&document(bytes, &reference()).unwrap_err());
        assert!(text.contains(expected), "{text}: expected {expected}");
    }
    let text = message(&manifest(&bytes(&list()), &reference()).unwrap_err());
    assert!(text.contains("expected a manifest, found an index"), "{text}");
    let text = message(&index(&bytes(&one()), &reference()).unwrap_err());
    assert!(text.contains("expected an index, found a manifest"), "{text}");
}

fn config() -> Value {
    let root = json!({"type": "layers", "diff_ids": [digest("a"), digest("b"), digest("a")]});
    json!({"architecture": "arm64", "variant": "v8", "os": "linux", "config": {"Entrypoint": ["/pause"]}, "rootfs": root})
}

#[test]
fn configurations_declare_their_platform() {
    let platform = |value: &Value| config_platform(&bytes(value), &reference()).unwrap();
    platform(&config()).check(Arch::Arm64, &reference()).unwrap();
    let text = message(&platform(&config()).check(Arch::Amd64, &reference()).unwrap_err());
    assert!(text.ends_with("is for another platform\n  expected linux/amd64, found linux/arm64/v8"), "{text}");
    assert!(!platform(&with(config(), "/os", Some(json!("windows")))).fits(Arch::Arm64));
    assert!(!platform(&with(config(), "/variant", Some(json!("v9")))).fits(Arch::Arm64));
    assert!(platform(&with(config(), "/variant", Some(json!("")))).fits(Arch::Arm64));
    for (pointer, new, expected) in [
        ("/os", None, "missing field `os`"),
        ("/architecture", None, "missing field `architecture`"),
        ("/rootfs", None, "missing field `rootfs`"),
        ("/rootfs/type", Some(json!("windows")), "expected `layers`"),
    ] {
        let text = message(&config_platform(&bytes(&with(config(), pointer, new)), &reference()).unwrap_err());
        assert!(text.contains(expected), "{text}: expected {expected}");
    }
}

#[test]
fn pulled_documents_must_match_each_other() {
    let pull = |config: &Value, arch, change: &dyn Fn(Value) -> Value| {
        let config = bytes(config);
        let named = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(), "digest": digest_of(&config)});
        Image::pulled(reference(), arch, &bytes(&change(with(one(), "/config", Some(named)))), &config)
    };
    let same = |value| value;
    pull(&config(), Arch::Arm64, &same).unwrap();
    let text = message(&pull(&config(), Arch::Amd64, &same).unwrap_err());
    assert!(text.contains("is for another platform"), "{text}");
    let text = message(&pull(&config(), Arch::Arm64, &|value| with(value, "/layers/2", None)).unwrap_err());
    assert!(text.contains("its manifest names 2 layers, its configuration 3"), "{text}");
    for (pointer, new) in [("/config/size", json!(1)), ("/config/digest", json!(digest("other")))] {
        let error = pull(&config(), Arch::Arm64, &|value| with(value, pointer, Some(new.clone()))).unwrap_err();
        assert_eq!(error.class(), Class::Integrity);
        assert!(error.to_string().contains("is not the one that its manifest names"), "{error}");
    }
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::of(bytes))
}

proptest! {
    /// No input panics, and accepted documents satisfy their guarantees.
    #[test]
    fn garbage_is_read_without_panic(pick in 0..3usize, edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>(), short: bool) {
        let mut text = bytes(&[list(), one(), config()][pick]);
        for (at, byte) in edits {
            *at.get_mut(&mut text) = byte;
        }
        if short {
            text.truncate(cut.index(text.len()));
        }
        let _ = config_platform(&text, &reference());
        match document(&text, &reference()) {
            Err(error) => _ = message(&error),
            Ok(Document::Index(index)) => for arch in Arch::ALL {
                if let Ok(found) = index.platform(arch, &reference()) {
                    prop_assert!(found.media_type.role() == Role::Manifest && (1..=DOCUMENT_MAX).contains(&found.size));
                }
            },
            Ok(Document::Manifest(found)) => {
                prop_assert_eq!(found.descriptor.digest, Sha256::of(&text));
                prop_assert!(found.layers.iter().all(|layer| layer.media_type.role() == Role::Layer && (1..=LAYER_MAX).contains(&layer.size)));
                prop_assert_eq!(found.config.media_type.role(), Role::Config);
            }
        }
    }
}
