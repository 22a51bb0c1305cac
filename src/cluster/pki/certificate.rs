//! A certificate (RFC 5280), parsed once into plain values.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use secrecy::ExposeSecret as _;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

use super::key::header;
use super::pem;

/// RFC 3279 section 2.2.1: sha1WithRSAEncryption, and the older number for the same.
const SHA1: [&str; 2] = ["1.2.840.113549.1.1.5", "1.3.14.3.2.29"];

/// A certificate that could be parsed. Everything in it is public.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Its bytes.
    pub der: Vec<u8>,
    /// The subject's attributes in order: short name or number, and value.
    pub subject: Vec<(String, String)>,
    /// Subject and issuer as in the encoded bytes, which link a certificate to its issuer.
    subject_raw: Vec<u8>,
    issuer_raw: Vec<u8>,
    /// The issuer, for display.
    pub issuer: String,
    /// The public key, as [`super::key::Key::public`] gives it.
    pub public_key: Vec<u8>,
    /// Its subject alternative names.
    pub sans: Sans,
    /// The start of its validity, in seconds since 1970.
    pub not_before: i64,
    /// The last second of its validity, since 1970.
    pub not_after: i64,
    /// True for an authority's certificate.
    pub ca: bool,
    /// True if its key usage allows signing certificates (an authority's needs that).
    pub may_sign_certificates: bool,
    /// True if its key usage allows signatures, as TLS needs.
    pub may_sign: bool,
    /// Extended key usages; none when the extension is missing, which allows everything.
    pub usages: Option<Usages>,
    /// Limits on what an authority may sign, and extensions that not every library understands: ends of a sentence.
    pub limits: Vec<&'static str>,
    /// True if its subject can be reproduced by a library that signs in its name.
    pub plain_subject: bool,
}

/// Subject alternative names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sans {
    pub dns: BTreeSet<String>,
    pub addresses: BTreeSet<IpAddr>,
    /// The number of e-mail addresses, URIs and other names, which no certificate of a cluster has.
    pub others: usize,
}

/// Extended key usages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Usages {
    pub server: bool,
    pub client: bool,
    pub others: bool,
}

impl fmt::Display for Usages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [(self.server, "server"), (self.client, "client"), (self.others, "others")];
        let named: Vec<&str> = named.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
        f.write_str(&named.join("+"))
    }
}

impl Certificate {
    /// Parses the one certificate of a PEM text.
    ///
    /// # Errors
    /// Words that follow the file's name. They repeat none of its text: it may be a key by mistake.
    pub(super) fn parse(text: &str) -> Result<Certificate, &'static str> {
        let blocks = pem::blocks(text)?;
        let [block] = blocks.as_slice() else { return Err("is not one certificate in PEM") };
        if block.label.ends_with("PRIVATE KEY") {
            return Err("is a private key, where a certificate should be");
        }
        if block.label != "CERTIFICATE" {
            return Err("is not one certificate in PEM");
        }
        Certificate::from_der(block.der.expose_secret())
    }

    /// Parses the DER bytes of a certificate.
    pub(super) fn from_der(der: &[u8]) -> Result<Certificate, &'static str> {
        let damaged = "is damaged: it is not an X.509 certificate";
        let (rest, x509) = X509Certificate::from_der(der).map_err(|_| damaged)?;
        if !rest.is_empty() || !is_strict(der, &x509) {
            return Err(damaged);
        }
        let constraints = x509.basic_constraints().map_err(|_| damaged)?;
        let key_usage = x509.key_usage().map_err(|_| damaged)?.map(|found| found.value);
        let usages = x509.extended_key_usage().map_err(|_| damaged)?.map(|found| {
            let all = found.value;
            let others =
                all.any || all.code_signing || all.email_protection || all.time_stamping || all.ocsp_signing || !all.other.is_empty();
            Usages { server: all.server_auth, client: all.client_auth, others }
        });
        let mut limits = Vec::new();
        if x509.name_constraints().map_err(|_| damaged)?.is_some() {
            limits.push("may sign for some names only (name constraints), and kbake cannot tell whether the cluster's are among them");
        }
        if usages.as_ref().is_some_and(|usages: &Usages| !(usages.server && usages.client)) {
            limits.push("may not sign for both servers and clients (extended key usage)");
        }
        if x509.extensions().iter().any(|extension| extension.critical && !is_common(extension)) {
            limits.push("has a critical extension that TLS libraries need not know");
        }
        Ok(Certificate {
            limits,
            subject: attributes(x509.subject()),
            subject_raw: x509.subject().as_raw().to_vec(),
            issuer_raw: x509.issuer().as_raw().to_vec(),
            issuer: subject_text(&attributes(x509.issuer())),
            public_key: x509.public_key().subject_public_key.data.to_vec(),
            sans: sans(&x509).ok_or(damaged)?,
            not_before: x509.validity().not_before.timestamp(),
            not_after: x509.validity().not_after.timestamp(),
            ca: constraints.is_some_and(|found| found.value.ca),
            may_sign_certificates: key_usage.is_none_or(|usage| usage.key_cert_sign()),
            may_sign: key_usage.is_none_or(|usage| usage.digital_signature()),
            usages,
            plain_subject: is_plain(x509.subject()),
            der: der.to_vec(),
        })
    }

    /// The certificate as PEM.
    pub(super) fn pem(&self) -> String {
        pem::public("CERTIFICATE", &self.der)
    }

    /// The subject, for display.
    pub(super) fn subject_text(&self) -> String {
        subject_text(&self.subject)
    }

    /// True if its issuer's name is that of `issuer`.
    pub(super) fn is_named_as_issued_by(&self, issuer: &Certificate) -> bool {
        self.issuer_raw == issuer.subject_raw
    }

    /// True if `issuer`'s key has signed it, with an algorithm that Go's TLS accepts.
    pub(super) fn is_signed_by(&self, issuer: &Certificate) -> bool {
        let (Ok((_, ours)), Ok((_, theirs))) = (X509Certificate::from_der(&self.der), X509Certificate::from_der(&issuer.der)) else {
            return false;
        };
        // The library would accept RSA with SHA-1.
        !SHA1.contains(&ours.signature_algorithm.algorithm.to_id_string().as_str())
            && ours.verify_signature(Some(theirs.public_key())).is_ok()
    }
}

/// True if the part outside of the signature follows RFC 5280 section 4.1.1. The parser ignores wrong tags there, and TLS
/// libraries do not.
fn is_strict(der: &[u8], x509: &X509Certificate<'_>) -> bool {
    let (signed, signature) = (x509.tbs_certificate.as_ref(), &x509.signature_value.data);
    let mut end = header(0x03, signature.len() + 1);
    // No bit of the last byte is unused.
    end.push(0);
    end.extend_from_slice(signature);
    let Some(body) = der.strip_suffix(end.as_slice()) else { return false };
    let Some(at) = (2..=4).find(|&at| der.len() > at && body.starts_with(&header(0x30, der.len() - at))) else { return false };
    // The algorithm stands between the two, and is the same as inside.
    let algorithm = body.get(at..).and_then(|body| body.strip_prefix(signed));
    algorithm.is_some_and(|outside| !outside.is_empty() && signed.windows(outside.len()).any(|inside| inside == outside))
}

/// True if each part of a name is one attribute, with an assigned object identifier (X.660 section A.2): the library that
/// writes names panics on others.
fn is_plain(name: &X509Name<'_>) -> bool {
    let usual = |oid: &x509_parser::der_parser::Oid<'_>| {
        oid.iter().is_some_and(|mut arcs| matches!((arcs.next(), arcs.next()), (Some(0..=2), Some(0..=39))))
    };
    name.iter().next().is_some()
        && name.iter().all(|part| part.iter().count() == 1)
        && name.iter_attributes().all(|part| usual(part.attr_type()))
}

/// A name, for display.
pub(super) fn subject_text<'a>(attributes: impl IntoIterator<Item = &'a (String, String)>) -> String {
    let parts: Vec<String> = attributes.into_iter().map(|(name, value)| format!("{name}={}", value.escape_debug())).collect();
    parts.join(", ")
}

/// The attributes of a name: CN and O by these names, the others by object identifier.
fn attributes(name: &X509Name<'_>) -> Vec<(String, String)> {
    let known = |oid: String| match oid.as_str() {
        "2.5.4.3" => "CN".to_owned(),
        "2.5.4.10" => "O".to_owned(),
        "2.5.4.11" => "OU".to_owned(),
        "2.5.4.6" => "C".to_owned(),
        _ => oid,
    };
    let value = |text: Result<&str, _>| text.map_or_else(|_: x509_parser::error::X509Error| "(not text)".to_owned(), str::to_owned);
    name.iter_attributes().map(|part| (known(part.attr_type().to_id_string()), value(part.as_str()))).collect()
}

/// True for an extension that every library must understand (RFC 5280 section 4.2).
fn is_common(extension: &X509Extension<'_>) -> bool {
    use ParsedExtension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAlternativeName};
    matches!(
        extension.parsed_extension(),
        BasicConstraints(_) | KeyUsage(_) | ExtendedKeyUsage(_) | NameConstraints(_) | SubjectAlternativeName(_)
    )
}

/// The subject alternative names; none if an address has a wrong length.
fn sans(x509: &X509Certificate<'_>) -> Option<Sans> {
    let mut all = Sans::default();
    let found = x509.subject_alternative_name().ok()?;
    for name in found.iter().flat_map(|found| &found.value.general_names) {
        match name {
            GeneralName::DNSName(name) => _ = all.dns.insert((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
                let v6 = <[u8; 16]>::try_from(*bytes).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
                all.addresses.insert(v4.or(v6).ok()?);
            }
            _ => all.others += 1,
        }
    }
    Some(all)
}
