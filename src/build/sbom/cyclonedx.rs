//! A bill of materials as [CycloneDX 1.6](https://cyclonedx.org/docs/1.6/json/), JSON.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Bill, Item, Kind, identity, print};
use crate::common::value::{Digest, civil};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
    compositions: Vec<Composition>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Tools {
    components: Vec<Component>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Reference {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
}

#[derive(Serialize)]
struct Property {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct Evidence {
    occurrences: Vec<Occurrence>,
}

#[derive(Serialize)]
struct Occurrence {
    location: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    id: String,
    depends_on: Vec<String>,
}

#[derive(Serialize)]
struct Composition {
    aggregate: &'static str,
    assemblies: Vec<String>,
}

/// The document, with a final line feed.
pub(super) fn text(bill: &Bill) -> String {
    let mut document = document(bill);
    let name = identity(&print(&document));
    document.serial_number = Some(format!("urn:uuid:{name}"));
    print(&document)
}

fn document(bill: &Bill) -> Document {
    let all = bill.top().map(|item| item.id.clone()).collect();
    let mut dependencies = vec![Dependency { id: bill.subject(), depends_on: all }];
    // If a thing's components are unknown, the specification wants no entry rather than an empty one.
    let is_known = |item: &&Item| item.made_of.is_some() || !item.contains.is_empty();
    dependencies.extend(bill.items.iter().filter(is_known).map(|item| Dependency { id: item.id.clone(), depends_on: within(item) }));
    let of = |wanted: &dyn Fn(&Item) -> bool| -> Vec<String> {
        let opaque = bill.items.iter().filter(|item| matches!(item.kind, Kind::Artifact | Kind::Container) && item.made_of.is_none());
        opaque.filter(|item| wanted(item)).map(|item| item.id.clone()).collect()
    };
    // A program does not list all of its components.
    let (incomplete, unknown) = (of(&|item| !item.contains.is_empty()), of(&|item| item.contains.is_empty()));
    let all = [("complete", vec![bill.subject()]), ("incomplete", incomplete), ("unknown", unknown)];
    let said = all.into_iter().filter(|(_, assemblies)| !assemblies.is_empty());
    let compositions = said.map(|(aggregate, assemblies)| Composition { aggregate, assemblies }).collect();
    Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: None,
        version: 1,
        metadata: Metadata {
            timestamp: civil(bill.epoch).to_string(),
            tools: Tools { components: bill.tools.iter().map(component).collect() },
            component: subject(bill),
        },
        components: bill.items.iter().map(component).collect(),
        dependencies,
        compositions,
    }
}

/// The ids of all components of a thing.
fn within(item: &Item) -> Vec<String> {
    let all: BTreeSet<&String> = item.made_of.iter().flatten().chain(&item.contains).collect();
    all.into_iter().cloned().collect()
}

/// The image: a platform that other things run on. Not an `operating-system`: that is Debian, and scanners accept only one.
fn subject(bill: &Bill) -> Component {
    Component {
        kind: "platform",
        id: bill.subject(),
        name: bill.role.to_string(),
        version: Some(bill.key.to_string()),
        hashes: Vec::new(),
        purl: None,
        external_references: Vec::new(),
        properties: vec![property("arch", &bill.arch.to_string()), property("plan", &format!("sha256:{}", bill.key))],
        evidence: None,
    }
}

fn component(item: &Item) -> Component {
    let kind = match item.kind {
        Kind::Package | Kind::Inner => "library",
        Kind::Artifact | Kind::Program => "application",
        Kind::Container => "container",
        Kind::File => "file",
        Kind::System => "operating-system",
    };
    let occurrences: Vec<_> = item.places.iter().map(|place| Occurrence { location: place.clone() }).collect();
    Component {
        kind,
        id: item.id.clone(),
        name: item.name.clone(),
        version: item.version.clone(),
        hashes: item.digest.iter().map(hash).collect(),
        purl: item.purl.clone(),
        external_references: item.url.iter().map(|url| Reference { kind: "distribution", url: url.clone() }).collect(),
        properties: item.facts.iter().map(|(name, value)| property(name, value)).collect(),
        evidence: (!occurrences.is_empty()).then_some(Evidence { occurrences }),
    }
}

fn property(name: &str, value: &str) -> Property {
    Property { name: format!("kbake:{name}"), value: value.to_owned() }
}

fn hash(digest: &Digest) -> Hash {
    match digest {
        Digest::Sha256(digest) => Hash { alg: "SHA-256", content: digest.to_string() },
        Digest::Sha512(digest) => Hash { alg: "SHA-512", content: digest.to_string() },
    }
}
