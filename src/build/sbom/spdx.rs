//! A bill of materials as [SPDX 2.3](https://spdx.github.io/spdx-spec/v2.3/), JSON.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Bill, Item, Kind, TOOL, identity, print};
use crate::common::value::{Digest, Sha256, civil};

/// The value of unknown fields: licences are in each package's own files, which are not read.
const UNSAID: &str = "NOASSERTION";
/// The document's own id.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_namespace: Option<String>,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_info: Option<String>,
    primary_package_purpose: &'static str,
    download_location: String,
    files_analyzed: bool,
    license_concluded: &'static str,
    license_declared: &'static str,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

/// The document, with a final line feed.
pub(super) fn text(bill: &Bill) -> String {
    let mut document = document(bill);
    let name = identity(&print(&document));
    document.document_namespace = Some(format!("urn:uuid:{name}"));
    print(&document)
}

fn document(bill: &Bill) -> Document {
    let subject = spdx_id(&bill.subject());
    let related = |from: &str, how, to: &str| Relationship {
        spdx_element_id: from.to_owned(),
        relationship_type: how,
        related_spdx_element: to.to_owned(),
    };
    let mut relationships = vec![related(DOCUMENT, "DESCRIBES", &subject)];
    let top: BTreeSet<&String> = bill.top().map(|item| &item.id).collect();
    for item in &bill.items {
        let id = spdx_id(&item.id);
        if top.contains(&item.id) {
            relationships.push(related(&subject, "CONTAINS", &id));
        }
        relationships.extend(item.contains.iter().map(|inner| related(&id, "CONTAINS", &spdx_id(inner))));
        relationships.extend(item.made_of.iter().flatten().map(|of| related(&id, "GENERATED_FROM", &spdx_id(of))));
    }
    relationships.extend(bill.tools.iter().map(|tool| related(&spdx_id(&tool.id), "BUILD_TOOL_OF", &subject)));
    let mut packages = vec![image(bill, subject)];
    packages.extend(bill.items.iter().chain(&bill.tools).map(package));
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: format!("image of {}", bill.role),
        document_namespace: None,
        creation_info: CreationInfo { created: civil(bill.epoch).to_string(), creators: vec![format!("Tool: {}-{}", TOOL.0, TOOL.1)] },
        packages,
        relationships,
    }
}

fn image(bill: &Bill, id: String) -> Package {
    let mut image = bare(id, bill.role.to_string(), "OTHER");
    image.version_info = Some(bill.key.to_string());
    image.comment = Some(format!("disk image for {}, of the plan sha256:{}", bill.arch, bill.key));
    image
}

fn package(item: &Item) -> Package {
    let purpose = match item.kind {
        Kind::Package | Kind::Inner => "LIBRARY",
        Kind::Artifact | Kind::Program => "APPLICATION",
        Kind::Container => "CONTAINER",
        Kind::File => "FILE",
        Kind::System => "OPERATING_SYSTEM",
    };
    let mut package = bare(spdx_id(&item.id), item.name.clone(), purpose);
    package.version_info = item.version.clone();
    if let Some(url) = &item.url {
        package.download_location = url.clone();
    }
    package.checksums = item.digest.iter().map(checksum).collect();
    let purl =
        |purl: &String| ExternalRef { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: purl.clone() };
    package.external_refs = item.purl.iter().map(purl).collect();
    let facts: Vec<String> = item.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    package.source_info = (!facts.is_empty()).then(|| facts.join("; "));
    package.comment = (!item.places.is_empty()).then(|| format!("at {}", item.places.join(", ")));
    package
}

fn bare(id: String, name: String, purpose: &'static str) -> Package {
    Package {
        id,
        name,
        version_info: None,
        primary_package_purpose: purpose,
        download_location: UNSAID.to_owned(),
        files_analyzed: false,
        license_concluded: UNSAID,
        license_declared: UNSAID,
        copyright_text: UNSAID,
        checksums: Vec::new(),
        external_refs: Vec::new(),
        source_info: None,
        comment: None,
    }
}

fn checksum(digest: &Digest) -> Checksum {
    match digest {
        Digest::Sha256(digest) => Checksum { algorithm: "SHA256", checksum_value: digest.to_string() },
        Digest::Sha512(digest) => Checksum { algorithm: "SHA512", checksum_value: digest.to_string() },
    }
}

/// An identifier of letters, digits, `.` and `-` only. If that loses characters, a few digits of a digest keep ids unique.
fn spdx_id(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let text: String = id.chars().map(plain).collect();
    let lost = id.chars().any(|c| !c.is_ascii_alphanumeric() && !".-:".contains(c));
    match lost {
        true => format!("SPDXRef-{text}-{}", &Sha256::of(id).to_string()[..8]),
        false => format!("SPDXRef-{text}"),
    }
}
