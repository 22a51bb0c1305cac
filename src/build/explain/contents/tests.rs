use std::collections::BTreeMap;
use std::io::Write as _;

use super::super::origin::tests::resolved_of;
use super::*;
use crate::build::testing::offline;
use crate::common::error::Class;
use crate::common::testing::shared::packages;
use crate::common::value::{Cancel, Sha256};
use crate::formats::inspect::contents::tests::{go_program, old_go_program};
use crate::storage::store::{Access, Store};

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn deb(files: &[(&str, &[u8])]) -> Vec<u8> {
    packages::deb("Package: x\nVersion: 1\nArchitecture: amd64\n", &tar(files))
}

fn descriptor(kind: &str, bytes: &[u8]) -> String {
    format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{}","size":{}}}"#, Sha256::of(bytes), bytes.len())
}

/// The documents and layers of an image, its manifest first.
fn image(layers: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let diffs: Vec<String> = layers.iter().map(|layer| format!("\"sha256:{}\"", Sha256::of(layer))).collect();
    let config =
        format!(r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#, diffs.join(","));
    let packed: Vec<Vec<u8>> = layers.iter().map(|layer| gzipped(layer)).collect();
    let all: Vec<String> = packed.iter().map(|layer| descriptor("layer.v1.tar+gzip", layer)).collect();
    let config_of = descriptor("config.v1+json", config.as_bytes());
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config_of},"layers":[{}]}}"#, all.join(","));
    [vec![manifest.into_bytes(), config.into_bytes()], packed].concat()
}

/// The locked bytes, by their names in the lock.
fn inputs() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let own = go_program(
        "path\tex.test/tool/cmd\nmod\tex.test/tool\t(devel)\t\ndep\tshared.test/Lib/v2\tv2.1.0\th1:lib=\nbuild\tvcs.revision=c0ffee\n",
    );
    let etcd = go_program(
        "path\tgo.etcd.io/etcd/server/v3\nmod\tgo.etcd.io/etcd/server/v3\tv3.6.8\th1:etcd=\ndep\tshared.test/Lib/v2\tv2.1.0\th1:lib=\n\
         dep\told.test/x\tv1.0.0\n=>\tnew.test/x\tv1.0.1\th1:x=\ndep\tk8s.io/api\tv0.0.0\n=>\t./staging/src/k8s.io/api\t(devel)\t\n",
    );
    let gone = go_program("mod\tgone.test/x\tv1.0.0\n");
    let plain = go_program("path\tex.test/plain\nbuild\t-compiler=gc\n");
    let metadata = &b"Metadata-Version: 2.1\nName: Typing_Extensions\nVersion: 4.4.0\n\n"[..];
    let one = deb(&[
        ("./usr/bin/tool", &own),
        ("./usr/bin/plain", &plain),
        ("./usr/share/doc/one/example", &gone),
        ("./usr/lib/python3/dist-packages/typing_extensions-4.4.0.dist-info/METADATA", metadata),
    ]);
    let archive = gzipped(&tar(&[("etcd-v3.6.8/etcd", &etcd), ("etcd-v3.6.8/other", &gone)]));
    let status = b"Package: tzdata\nArchitecture: all\nVersion: 2024a-0\n";
    let release = b"ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
    let coredns = go_program("mod\tgithub.com/coredns/coredns\tv1.14.2\th1:dns=\n");
    let layers = [
        tar(&[("usr/bin/gone", &gone), ("usr/lib/os-release", release), ("var/lib/dpkg/status.d/tzdata", status)]),
        tar(&[("coredns", &coredns), ("usr/bin/.wh.gone", b"")]),
    ];
    [
        ("one", vec![one]),
        ("catatonit", vec![deb(&[("./usr/bin/catatonit", &old_go_program())])]),
        ("etcd amd64", vec![archive]),
        ("unused amd64", vec![b"unused".to_vec()]),
        ("coredns", image(&layers)),
    ]
    .into()
}

fn resolved(inputs: &BTreeMap<&'static str, Vec<Vec<u8>>>) -> Resolved {
    resolved_of(&|name| match inputs.get(name) {
        Some(parts) => (Sha256::of(&parts[0]), parts[0].len() as u64),
        None => (Sha256::of(name), 1),
    })
}

/// The bill of the role when only these of its inputs were fetched.
fn bill_of(inputs: &BTreeMap<&'static str, Vec<Vec<u8>>>, fetched: &dyn Fn(&str, usize) -> bool) -> Result<Bill> {
    let (folder, cancel) = (tempfile::tempdir().unwrap(), Cancel::new());
    let store = Store::open(&folder.path().join("store"), Access::Shared, &cancel, &|| {}).unwrap();
    for (name, parts) in inputs {
        for (_, part) in parts.iter().enumerate().filter(|(number, _)| fetched(name, *number)) {
            store.insert(part).unwrap();
        }
    }
    let bake = offline(&store, &cancel);
    bake.bill(&resolved(inputs))
}

/// A role with an item of every kind, and its bill.
pub(in crate::build::explain) fn whole_bill() -> (Resolved, Bill) {
    let inputs = inputs();
    (resolved(&inputs), bill_of(&inputs, &|_, _| true).unwrap())
}

#[test]
fn a_bill_has_what_is_in_packages_artifacts_and_images() {
    let inputs = inputs();
    let bill = bill_of(&inputs, &|_, _| true).unwrap();
    let shown = |item: &crate::build::sbom::Item| {
        let inner = item.contains.iter().map(|of| format!(" > {of}")).collect::<String>();
        let places = item.places.iter().map(|place| format!(" @ {place}")).collect::<String>();
        format!("{}{inner}{places}", item.id)
    };
    let items: Vec<String> = bill.items.iter().map(shown).collect();
    let (etcd, archive) = ("/usr/share/kbake/images/etcd.tar:/usr/local/bin/etcd", "/usr/share/kbake/images/coredns.tar");
    let dns = "container:registry.k8s.io/coredns/coredns:v1";
    let expected = [
        format!(
            "artifact:etcd > golang:go.etcd.io/etcd/server/v3@v3.6.8 > golang:k8s.io/api > golang:new.test/x@v1.0.1 \
             > golang:shared.test/Lib/v2@v2.1.0 > golang:stdlib@1.26.8 @ /usr/local/bin/etcd @ {etcd}"
        ),
        format!("{dns} > {dns}/deb:tzdata:all > golang:github.com/coredns/coredns@v1.14.2 > golang:stdlib@1.26.8 @ {archive}"),
        format!("{dns}/deb:tzdata:all @ {archive}:/var/lib/dpkg/status.d/tzdata"),
        "container:registry.k8s.io/etcd:3.6.8-0 @ /usr/share/kbake/images/etcd.tar".to_owned(),
        "container:registry.k8s.io/pause:3.10.2 @ /usr/share/kbake/images/pause.tar".to_owned(),
        "deb:catatonit:amd64 @ /usr/share/kbake/images/pause.tar:/usr/local/bin/catatonit".to_owned(),
        "deb:grub-pc-bin:amd64".to_owned(),
        "deb:one:amd64 > golang:ex.test/plain > golang:ex.test/tool > golang:shared.test/Lib/v2@v2.1.0 > golang:stdlib@1.26.8 > pypi:Typing_Extensions@4.4.0"
            .to_owned(),
        "file:/etc/etcd/etcd.conf @ /etc/etcd/etcd.conf".to_owned(),
        "file:/opt/new/folder/file @ /opt/new/folder/file".to_owned(),
        "golang:ex.test/plain @ /usr/bin/plain".to_owned(),
        "golang:ex.test/tool @ /usr/bin/tool".to_owned(),
        format!("golang:github.com/coredns/coredns@v1.14.2 @ {archive}:/coredns"),
        format!("golang:go.etcd.io/etcd/server/v3@v3.6.8 @ /usr/local/bin/etcd @ {etcd}"),
        format!("golang:k8s.io/api @ /usr/local/bin/etcd @ {etcd}"),
        format!("golang:new.test/x@v1.0.1 @ /usr/local/bin/etcd @ {etcd}"),
        format!("golang:shared.test/Lib/v2@v2.1.0 @ /usr/bin/tool @ /usr/local/bin/etcd @ {etcd}"),
        format!("golang:stdlib@1.26.8 @ /usr/bin/plain @ /usr/bin/tool @ /usr/local/bin/etcd @ {archive}:/coredns @ {etcd}"),
        "pypi:Typing_Extensions@4.4.0 @ /usr/lib/python3/dist-packages/typing_extensions-4.4.0.dist-info/METADATA".to_owned(),
    ];
    assert_eq!(items, expected, "and nothing of what a role removes, an upper layer hides, or an archive has besides");
    let of = |id: &str| bill.items.iter().find(|item| item.id.ends_with(id)).unwrap();
    for (id, purl) in [
        ("server/v3@v3.6.8", "pkg:golang/go.etcd.io/etcd/server/v3@v3.6.8"),
        ("Lib/v2@v2.1.0", "pkg:golang/shared.test/lib/v2@v2.1.0"),
        ("k8s.io/api", "pkg:golang/k8s.io/api"),
        ("4.4.0", "pkg:pypi/typing-extensions@4.4.0"),
        ("deb:tzdata:all", "pkg:deb/debian/tzdata@2024a-0?arch=all&distro=debian-12"),
    ] {
        assert_eq!(of(id).purl.as_deref(), Some(purl));
    }
    let fact = |id: &str| of(id).facts.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>();
    assert_eq!(fact("Lib/v2@v2.1.0"), ["go-sum: h1:lib="]);
    assert_eq!(fact("new.test/x@v1.0.1"), ["go-sum: h1:x=", "replaces: old.test/x@v1.0.0"]);
    assert_eq!(fact("golang:ex.test/tool"), ["commit: c0ffee"]);
    let old = fact("deb:catatonit:amd64").into_iter().find(|fact| fact.starts_with("modules-not-read: "));
    assert!(old.is_some_and(|fact| fact.contains("pause.tar:/usr/local/bin/catatonit: ") && fact.contains("Go before 1.18")));
    // The form shows it too: contents of another item are not the image's own.
    let document: serde_json::Value = serde_json::from_str(&bill.cyclonedx()).unwrap();
    let of = |id: &str| {
        let all = document["dependencies"].as_array().unwrap().iter();
        let one = all.filter(|one| one["ref"] == id).flat_map(|one| one["dependsOn"].as_array().unwrap());
        one.map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(of("image:node").iter().all(|name| !name.starts_with("golang:")) && of("image:node").contains(&"deb:one:amd64".to_owned()));
    assert!(of("artifact:etcd").contains(&"golang:k8s.io/api".to_owned()));
    assert!(bill.spdx().contains("\"CONTAINS\""));
}

#[test]
fn missing_inputs_are_named_with_the_command_that_fetches_them() {
    let inputs = inputs();
    for (name, part, named) in [("one", 0, "one  sha256:"), ("etcd amd64", 0, "etcd  sha256:"), ("catatonit", 0, "catatonit  sha256:")]
        .into_iter()
        .chain((0..4).map(|part| ("coredns", part, "registry.k8s.io/coredns/coredns:v1  sha256:")))
    {
        let error = bill_of(&inputs, &|input, number| (input, number) != (name, part)).unwrap_err();
        let said = error.to_string();
        assert_eq!(error.class(), Class::User);
        for words in ["1 input of `node` is not in the store", named, "run `kbake fetch` first"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    let none = bill_of(&inputs, &|_, _| false).unwrap_err().to_string();
    assert!(none.contains("5 inputs of `node` are not in the store"), "{none}");
}

#[test]
fn an_archive_that_cannot_be_read_says_so_in_the_bill() {
    let mut inputs = inputs();
    inputs.insert("one", vec![b"no package".to_vec()]);
    inputs.insert("coredns", image(&[b"no tar, as it stands".to_vec()]));
    let bill = bill_of(&inputs, &|_, _| true).unwrap();
    for id in ["deb:one:amd64", "container:registry.k8s.io/coredns/coredns:v1"] {
        let item = bill.items.iter().find(|item| item.id == id).unwrap();
        assert!(item.facts.iter().any(|(name, why)| *name == "not-read" && !why.is_empty()), "{item:?}");
    }
}
