//! An administrator's CA certificates in the image's bundle, as `update-ca-certificates` would put them there: a link in
//! `/etc/ssl/certs`, the text at the end of the bundle, and a link by the subject's hash, by which OpenSSL looks.

use std::collections::BTreeMap;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use x509_parser::asn1_rs::{Any, FromDer as _, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;

use super::overlay::{bytes_of, make_parents};
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, ContentSource, Kind, Layer, Meta, Node, Tree};
use crate::common::value::{Epoch, TreePath};
use crate::spec::plan::{PlannedKind, PlannedNode};
use crate::spec::recipe::AUTHORITIES;

/// The folder in which programs look for certificates.
const CERTS: &str = "etc/ssl/certs";
/// All certificates in one file.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
/// The largest bundle that is read, in bytes. Debian's has 220 KiB.
const BUNDLE_MAX: u64 = 16 << 20;

/// True when a file at this path is a certificate to add to the bundle.
pub(crate) fn is_authority(path: &TreePath) -> bool {
    path.is_within(&TreePath::fixed(AUTHORITIES)) && path.name().ends_with(b".crt")
}

/// True when [`add`] writes this path and no plan has it: a hash link, or the bundle.
pub(crate) fn is_made(path: &TreePath, kind: &Kind) -> bool {
    path.is_within(&TreePath::fixed(CERTS)) && matches!(kind, Kind::File(_) | Kind::Symlink(_))
}

/// The links of the plan's certificates. They are part of the plan, so that an image that trusts them has another plan than
/// one that does not.
///
/// # Errors
/// A file that is not a certificate, or two of one name.
pub(crate) fn links(files: &BTreeMap<TreePath, PlannedNode>) -> Result<BTreeMap<TreePath, PlannedNode>> {
    let mut links = BTreeMap::new();
    for (path, node) in files.iter().filter(|(path, _)| is_authority(path)) {
        match &node.kind {
            PlannedKind::File(text) => subject(text).map_err(|why| not_one(path, &why))?,
            PlannedKind::Named { .. } => return Err(not_one(path, "is too large for a certificate")),
            _ => continue,
        };
        let link = link_path(path)?;
        let target = [b"/", path.as_bytes()].concat();
        if links.insert(link.clone(), PlannedNode::symlink(target)).is_some() {
            return Err(Error::user(format!("{path}: another CA certificate has this name already"))
                .detail(format!("both would be {link}"))
                .hint("rename one of the files"));
        }
    }
    Ok(links)
}

fn not_one(path: &TreePath, why: &str) -> Error {
    Error::user(format!("{path} {why}"))
        .detail("expected one certificate of an authority in PEM: -----BEGIN CERTIFICATE-----")
        .hint("split a file that has several; convert DER with `openssl x509 -inform der -in FILE -out FILE.pem`")
}

/// `/usr/local/share/ca-certificates/a b.crt` → `/etc/ssl/certs/a_b.pem`.
fn link_path(path: &TreePath) -> Result<TreePath> {
    let name = path.name().strip_suffix(b".crt").unwrap_or(path.name());
    let tame = |&byte: &u8| match byte {
        b' ' | b',' => b'_',
        b'(' | b')' => b'=',
        other => other,
    };
    let name: Vec<u8> = name.iter().map(tame).collect();
    TreePath::parse(&[CERTS.as_bytes(), b"/", &name, b".pem"].concat(), false).map_err(Error::internal)
}

/// The certificate's subject, DER.
fn subject(text: &[u8]) -> Result<Vec<u8>, String> {
    let blocks: Vec<Pem> = Pem::iter_from_buffer(text).collect::<Result<_, _>>().map_err(|_| "is not PEM text".to_owned())?;
    if blocks.iter().any(|block| block.label.contains("PRIVATE KEY")) {
        return Err("contains a private key; no image may have one".to_owned());
    }
    let [block] = &blocks[..] else { return Err(format!("has {} PEM blocks", blocks.len())) };
    if block.label != "CERTIFICATE" {
        return Err(format!("has a block `{}`", block.label.escape_debug()));
    }
    let (rest, certificate) = X509Certificate::from_der(&block.contents).map_err(|_| "has a damaged certificate".to_owned())?;
    if !rest.is_empty() {
        return Err("has trailing data after its certificate".to_owned());
    }
    if !certificate.is_ca() && certificate.version().0 == 2 {
        return Err("is not a CA certificate (CA:FALSE)".to_owned());
    }
    Ok(certificate.subject().as_raw().to_vec())
}

/// Adds the plan's certificates to the tree's bundle. The certificate files and the plan's links are in the tree already.
///
/// # Errors
/// The base has no bundle, because the package `ca-certificates` is not in it.
pub(crate) fn add(mut tree: Tree, files: &BTreeMap<TreePath, PlannedNode>, source: &dyn ContentSource, epoch: Epoch) -> Result<Tree> {
    let texts: Vec<(&TreePath, &[u8])> = files
        .iter()
        .filter_map(|(path, node)| match &node.kind {
            PlannedKind::File(text) if is_authority(path) => Some((path, &text[..])),
            _ => None,
        })
        .collect();
    if texts.is_empty() {
        return Ok(tree);
    }
    let bundle = TreePath::fixed(BUNDLE);
    let Some(Kind::File(_)) = tree.get(&bundle).map(|node| &node.kind) else {
        return Err(Error::user(format!("{} cannot be trusted: the base has no {bundle}", texts[0].0))
            .hint("add `ca-certificates` to the base's `packages`"));
    };
    let mut bytes = bytes_of(&tree, source, &bundle, BUNDLE_MAX)?;
    for (path, text) in texts {
        bytes.extend_from_slice(text);
        if !text.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        let subject = subject(text).map_err(|why| not_one(path, &why))?;
        let link = free_hash(&tree, name_hash(&subject).ok_or_else(|| not_one(path, "has a damaged subject"))?)?;
        make_parents(&mut tree, &link, epoch)?;
        let kind = Kind::Symlink(link_path(path)?.name().to_vec());
        let node = Node { meta: Meta::new(0o777, 0, 0, i64::from(epoch.seconds())), kind, layer: Layer::Role };
        tree.insert(link, node).map_err(|refused| Error::user(format!("a certificate's link cannot be made: {refused}")))?;
    }
    let mut meta = tree.get(&bundle).map(|node| node.meta.clone()).unwrap_or_else(|| Meta::new(0o644, 0, 0, 0));
    meta.mtime = i64::from(epoch.seconds());
    tree.remove(&bundle);
    let node = Node { meta, kind: Kind::File(Content::Inline(bytes.into())), layer: Layer::Role };
    tree.insert(bundle, node).map_err(|refused| Error::internal(format!("the bundle cannot be replaced: {refused}")))?;
    Ok(tree)
}

/// The first `HASH.N` that is free.
fn free_hash(tree: &Tree, hash: u32) -> Result<TreePath> {
    let at = |number: u32| TreePath::parse(format!("{CERTS}/{hash:08x}.{number}").as_bytes(), false);
    let free = (0..u32::MAX).find_map(|number| at(number).ok().filter(|path| tree.get(path).is_none()));
    free.ok_or_else(|| Error::internal("no name is free for a link to a CA certificate"))
}

/// The hash that names files in OpenSSL's certificate folders: a hash of the subject in canonical form, with lower-case
/// letters, single spaces and UTF-8 strings (`X509_NAME_hash` of OpenSSL 1.0 and later). None when the name is damaged.
fn name_hash(subject: &[u8]) -> Option<u32> {
    let (_, name) = Any::from_der(subject).ok()?;
    let mut canonical = Vec::new();
    for set in elements(name.data)? {
        let mut pairs = Vec::new();
        for pair in elements(set.data)? {
            let [kind, value] = &elements(pair.data)?[..] else { return None };
            pairs.push(der(0x30, &[der(0x06, kind.data), canonical_value(value)].concat()));
        }
        pairs.sort();
        canonical.extend(der(0x31, &pairs.concat()));
    }
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &canonical);
    hash.as_ref().first_chunk().map(|first| u32::from_le_bytes(*first))
}

fn elements(mut bytes: &[u8]) -> Option<Vec<Any<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (rest, one) = Any::from_der(bytes).ok()?;
        found.push(one);
        bytes = rest;
    }
    Some(found)
}

fn canonical_value(value: &Any<'_>) -> Vec<u8> {
    let wide = |width: usize| {
        let units = value.data.chunks(width).map(|unit| unit.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)));
        units.filter_map(char::from_u32).collect::<String>()
    };
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => String::from_utf8_lossy(value.data).into_owned(),
        // OpenSSL reads a string that is tagged T.61 as Latin-1.
        Tag::T61String => value.data.iter().map(|&byte| char::from(byte)).collect(),
        Tag::BmpString => wide(2),
        Tag::UniversalString => wide(4),
        // Other kinds stay as they are.
        other => return der(u8::try_from(other.0).unwrap_or_default(), value.data),
    };
    let words = text.split(|c: char| c.is_ascii_whitespace() || c == '\u{b}').filter(|word| !word.is_empty());
    let text = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join(" ");
    der(0x0c, text.as_bytes())
}

/// Tag, length and contents ([X.690](https://www.itu.int/rec/T-REC-X.690), section 8.1).
fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = contents.len();
    let mut bytes = vec![tag];
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let digits: Vec<u8> = len.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend(digits);
        }
    }
    bytes.extend_from_slice(contents);
    bytes
}

#[cfg(test)]
mod tests;
