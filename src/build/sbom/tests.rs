use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::*;
use crate::common::testing::goldens;
use crate::common::value::{Digest, Sha512, TreePath};
use crate::spec::lock::{ArtifactSource, Entry, LockedArtifact, SetName};
use crate::spec::plan::{BuiltImage, PulledImage};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn package(name: &str, version: &str, arch: &str, pool: &str) -> Item {
    let entry = Entry {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        arch: arch.parse().unwrap(),
        source_version: None,
        archive: "debian".parse().unwrap(),
        source: pool.parse().unwrap(),
        size: 1,
        sha256: Sha256::of(name),
        verified: format!("openpgp:{}", "A".repeat(40)).parse().unwrap(),
        sets: [SetName::Base].into(),
    };
    Item::package(&entry, "debian-12")
}

fn artifact(name: &str, version: Option<&str>, source: ArtifactSource, digest: Digest, verified: &str) -> Item {
    Item::artifact(&LockedArtifact {
        name: name.parse().unwrap(),
        arch: Arch::Amd64,
        version: version.map(|version| version.parse().unwrap()),
        source,
        size: None,
        digest,
        verified: verified.parse().unwrap(),
    })
}

/// Items inside others: two modules, two packages of a container image.
fn inner(container: &str) -> [Item; 4] {
    let mut module = Item::go_module("k8s.io/kubernetes", Some("v1.36.2"), Some("h1:sum="));
    module.places = vec!["/usr/local/bin/kubelet".to_owned()];
    let package = Installed {
        manager: Manager::Apk,
        name: "ssl_client",
        version: "1.36.1-r29",
        arch: "x86_64",
        source: "busybox",
        system: Some("alpine"),
        distro: Some("alpine-3.20.3".to_owned()),
        codename: None,
    };
    let mut replaced = Item::go_module("k8s.io/api", None, None);
    replaced.facts.push(("built-from", "a folder of the program's sources".to_owned()));
    [module, replaced, Item::python("PyYAML", "6.0"), Item::installed(container, &package)]
}

/// A bill with one item of every kind.
fn bill() -> Bill {
    let url = |text: &str| ArtifactSource::Url(text.to_owned());
    let short = |text: &str| Digest::Sha256(Sha256::of(text));
    let mut kubelet = artifact(
        "kubelet",
        Some("1.36.2"),
        url("https://user:hush@dl.test/release/v1.36.2/kubelet?token=hush"),
        short("kubelet"),
        "checksum:https://user:hush@dl.test/kubelet.sha256?token=hush",
    );
    kubelet.places = vec!["/usr/local/bin/kubelet".to_owned()];
    let mut own = artifact("etcd", None, ArtifactSource::Path("hush/etcd".to_owned()), short("own"), "local");
    own.places = vec!["/usr/share/kbake/images/etcd.tar:/usr/local/bin/etcd".to_owned()];
    let runc_url = url("https://github.com/opencontainers/runc/releases/download/v1.4.0/runc.amd64");
    let runc = artifact("runc", Some("1.4.0"), runc_url, Digest::Sha512(Sha512::of("runc")), "recorded:a,b");
    let built = BuiltImage {
        reference: "registry.k8s.io/etcd:3.6.8-0".parse().unwrap(),
        arch: Arch::Amd64,
        epoch: Epoch::from_seconds(1).unwrap(),
        command: vec!["/usr/local/bin/etcd".to_owned()],
        files: Vec::new(),
    };
    let pulled = PulledImage { reference: "registry.k8s.io/pause:3.10.2".parse().unwrap(), index: Sha256::of("pause"), arch: Arch::Amd64 };
    let mut pulled = Item::pulled(&pulled, &TreePath::fixed("usr/share/kbake/images/pause.tar"));
    let inner = inner(&pulled.id);
    kubelet.contains = vec![inner[0].id.clone(), inner[1].id.clone()];
    pulled.contains = vec![inner[2].id.clone(), inner[3].id.clone()];
    let items = vec![
        runc,
        kubelet,
        package("libstdc++6", "12.2.0-14+deb12u1", "amd64", "pool/main/g/gcc-12/libstdc++6_12.2.0-14+deb12u1_amd64.deb"),
        package("base-files", "12.4+deb12u15", "amd64", "pool/main/b/base-files/base-files_12.4+deb12u15_amd64.deb"),
        Item::built(&built, &TreePath::fixed("usr/share/kbake/images/etcd.tar"), vec![artifact_id(&"etcd".parse().unwrap())]),
        pulled,
        own,
        Item::file(&TreePath::fixed("etc/a b"), Sha256::of("file")),
    ];
    let items = items.into_iter().chain(inner).collect();
    let tools = vec![package("mmdebstrap", "1.3.5-7", "all", "pool/main/m/mmdebstrap/mmdebstrap_1.3.5-7_all.deb")];
    Bill::new("worker".parse().unwrap(), Arch::Amd64, Sha256::of("plan"), Epoch::from_seconds(1_783_764_997).unwrap(), items, tools)
}

/// A file of a crate that tests/reference/schemas pins. Only cargo knows the folder where it unpacks them.
fn schema(package: &str, file: &str) -> PathBuf {
    let missing = || format!("the schemas of bills of materials are missing: run tests/setup.sh ({package})");
    let manifest = Path::new(ROOT).join("tests/reference/schemas/Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version=1", "--offline", "--locked", "--manifest-path"]).arg(manifest);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}\n{}", missing(), String::from_utf8_lossy(&output.stderr));
    let known: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found =
        known["packages"].as_array().unwrap().iter().find(|known| known["name"] == package).unwrap_or_else(|| panic!("{}", missing()));
    let path = Path::new(found["manifest_path"].as_str().unwrap()).with_file_name("schemas").join(file);
    assert!(path.exists(), "{}", missing());
    path
}

/// A schema's complaints about a document; empty if it fits.
fn complaints(schema: &Path, text: &str) -> String {
    let mut validator = Command::new("/usr/bin/python3");
    validator.arg(Path::new(ROOT).join("tests/reference/schemas/judge.py")).arg(schema);
    validator.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = validator.spawn().unwrap_or_else(|e| panic!("python3 is missing: run tests/setup.sh ({e})"));
    running.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("No module named"), "python3-jsonschema is missing: run tests/setup.sh\n{said}");
    assert!(said.is_empty(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn cyclonedx_fits_its_own_schema() {
    let schema = schema("serde-cyclonedx", "cyclonedx_1_6.json");
    let text = bill().cyclonedx();
    assert_eq!(complaints(&schema, &text), "");
    // The validator reports faults.
    for (good, bad) in [("\"library\"", "\"thing\""), ("\"SHA-512\"", "\"SHA-9\""), ("\"purl\"", "\"pearl\""), ("urn:uuid:", "uuid:")] {
        assert_ne!(complaints(&schema, &text.replacen(good, bad, 1)), "", "{bad}");
    }
}

#[test]
fn spdx_fits_its_own_schema() {
    let schema = schema("serde-spdx", "spdx_2_3.json");
    let text = bill().spdx();
    assert_eq!(complaints(&schema, &text), "");
    for (good, bad) in [("\"OTHER\"", "\"THING\""), ("\"SHA512\"", "\"SHA-512\""), ("\"CONTAINS\"", "\"HAS\""), ("\"SPDXID\"", "\"ID\"")] {
        assert_ne!(complaints(&schema, &text.replacen(good, bad, 1)), "", "{bad}");
    }
}

#[test]
fn both_documents_are_as_recorded() {
    // kbake's version is in the documents, and is not to be reviewed.
    let plain = |text: String| text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let without_name = |text: String| {
        let named = |line: &&str| !line.contains("urn:uuid:");
        text.lines().filter(named).map(|line| format!("{line}\n")).collect::<String>()
    };
    let documents = [("sbom/cyclonedx.json", bill().cyclonedx()), ("sbom/spdx.json", bill().spdx())];
    goldens(documents.map(|(name, text)| (name, plain(without_name(text)))));
}

#[test]
fn every_name_in_it_is_someone_s() {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found: Value = serde_json::from_str(&bill().cyclonedx()).unwrap();
    let array = |value: &Value| value.as_array().unwrap().clone();
    let mut names: Vec<String> = array(&found["components"]).iter().map(|component| text(&component["bom-ref"])).collect();
    names.push(text(&found["metadata"]["component"]["bom-ref"]));
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "a name is one thing's");
    let mut used = Vec::new();
    for dependency in array(&found["dependencies"]) {
        used.push(text(&dependency["ref"]));
        used.extend(array(&dependency["dependsOn"]).iter().map(text));
    }
    used.extend(array(&found["compositions"]).iter().flat_map(|one| array(&one["assemblies"])).map(|name| text(&name)));
    assert!(used.iter().all(|name| unique.contains(name)), "{used:?}");

    let found: Value = serde_json::from_str(&bill().spdx()).unwrap();
    let names: BTreeSet<String> = array(&found["packages"]).iter().map(|package| text(&package["SPDXID"])).collect();
    assert_eq!(names.len(), array(&found["packages"]).len());
    assert!(names.iter().all(|name| name[8..].chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))), "{names:?}");
    for relation in array(&found["relationships"]) {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            let name = text(&relation[end]);
            assert!(name == "SPDXRef-DOCUMENT" || names.contains(&name), "{name}");
        }
    }
}

#[test]
fn no_secret_and_no_path_of_the_users_is_in_it() {
    for text in [bill().cyclonedx(), bill().spdx()] {
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("https://dl.test/release/v1.36.2/kubelet"));
    }
}

#[test]
fn one_bill_has_one_text_and_another_has_another_name() {
    let name = |bill: &Bill| {
        let found: Value = serde_json::from_str(&bill.cyclonedx()).unwrap();
        found["serialNumber"].as_str().unwrap().to_owned()
    };
    let one = bill();
    let mut items = one.items.clone();
    items.reverse();
    items.push(items[0].clone());
    let same = Bill::new(one.role.clone(), one.arch, one.key, one.epoch, items, one.tools.clone());
    assert_eq!((same.cyclonedx(), same.spdx()), (one.cyclonedx(), one.spdx()));
    // The plan's key does not contain versions and addresses.
    let mut other = one.clone();
    other.items[0].version = Some("2".to_owned());
    assert_ne!(name(&one), name(&other));
}

#[test]
fn the_release_is_read_only_where_it_is_said() {
    let of = |version: &str| {
        let items = [package("base-files", version, "amd64", "pool/main/b/base-files/base-files_1_amd64.deb")];
        release(&items).map(str::to_owned)
    };
    assert_eq!(of("12.4+deb12u15").as_deref(), Some("12"));
    assert_eq!(of("13").as_deref(), Some("13"));
    assert_eq!(of("1:12.4"), None);
    assert_eq!(release(&[]), None);
}

/// Grype and Trivy match a package by the system with its number, and by the source with its own version.
#[test]
fn scanners_find_a_package_s_system_and_source() {
    let purl = |name: &str, version: &str, pool: &str| package(name, version, "amd64", pool).purl.unwrap();
    assert_eq!(
        purl("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1", "pool/main/l/linux-signed-amd64/linux-image_6.1.176-1_amd64.deb"),
        "pkg:deb/debian/linux-image-6.1.0-50-cloud-amd64@6.1.176-1?arch=amd64&distro=debian-12&upstream=linux",
        "Debian's tracker names no signed source"
    );
    assert_eq!(
        purl("libc-bin", "2.36-9+b1", "pool/main/g/glibc/libc-bin_2.36-9+b1_amd64.deb"),
        "pkg:deb/debian/libc-bin@2.36-9%2Bb1?arch=amd64&distro=debian-12&upstream=glibc%402.36-9"
    );
}

#[test]
fn the_system_of_packages_is_named_by_its_number() {
    let entry = |version: &str| Entry {
        name: "base-files".parse().unwrap(),
        version: version.parse().unwrap(),
        arch: "amd64".parse().unwrap(),
        source_version: None,
        archive: "debian".parse().unwrap(),
        source: "pool/main/b/base-files/base-files_1_amd64.deb".parse().unwrap(),
        size: 1,
        sha256: Sha256::of("base-files"),
        verified: format!("openpgp:{}", "A".repeat(40)).parse().unwrap(),
        sets: [SetName::Base].into(),
    };
    assert_eq!(distro(&[entry("13.8+deb13u1")], "trixie"), "debian-13");
    assert_eq!(distro(&[entry("x")], "noble"), "noble");
    assert_eq!(distro(&[], "trixie"), "trixie");
}
