//! Comparison of a certificate with the one that the cluster needs: differences in words, for people.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::certificate::{Certificate, subject_text};
use super::issue::DAY;
use super::key::Key;
use super::wanted::Wanted;

/// The word for an address in problems.
const ADDRESS: &str = "address";

/// Days before the end of a certificate from which on a warning is shown.
pub(crate) const SOON_DAYS: i64 = 30;

/// The date in UTC.
pub(crate) fn date(seconds: i64) -> String {
    let time = x509_parser::time::ASN1Time::from_timestamp(seconds).map(|time| time.to_datetime());
    time.map_or_else(|_| "(no date)".to_owned(), |time| format!("{:04}-{:02}-{:02}", time.year(), u8::from(time.month()), time.day()))
}

/// The defect of a certificate's dates.
pub(super) fn dates(certificate: &Certificate, now: i64) -> Option<String> {
    if now < certificate.not_before {
        return Some(format!("is valid from {} on only: is this host's clock right?", date(certificate.not_before)));
    }
    (now > certificate.not_after).then(|| format!("has expired on {}", date(certificate.not_after)))
}

/// The number of whole days left, if they are few.
pub(super) fn expiring(certificate: &Certificate, now: i64) -> Option<i64> {
    let left = (certificate.not_after.saturating_sub(now)).div_euclid(DAY);
    (left < SOON_DAYS).then_some(left)
}

/// The defects of an authority, except for its dates.
pub(super) fn authority(certificate: &Certificate, key: Option<&Key>) -> Vec<String> {
    let mut found = Vec::new();
    if !certificate.ca {
        found.push("is not an authority: its certificate may not sign others (CA:FALSE)".to_owned());
    } else if !certificate.may_sign_certificates {
        found.push("is not an authority: its key usage does not allow signing certificates".to_owned());
    }
    if !certificate.is_named_as_issued_by(certificate) {
        found.push(format!(
            "is an intermediate authority, issued by {}: clients that use OpenSSL (haproxy, curl) trust roots only",
            certificate.issuer
        ));
    } else if !certificate.is_signed_by(certificate) {
        found.push("is not signed by its own key, or in a way that is not safe (SHA-1, RSA below 2048 bits, unknown curves)".to_owned());
    }
    found.extend(certificate.limits.iter().map(|&what| what.to_owned()));
    if !certificate.plain_subject {
        found.push("has a subject that kbake cannot reproduce in certificates".to_owned());
    }
    if key.is_some_and(|key| key.public() != certificate.public_key) {
        found.push("has a key that does not belong to its certificate".to_owned());
    }
    found
}

/// The defects of a certificate, except for its dates. `issuer` is none if it is not usable itself. A certificate of an earlier
/// version's form has none.
pub(super) fn leaf(wanted: &Wanted, certificate: &Certificate, key: Option<&Key>, issuer: Option<&Certificate>) -> Vec<String> {
    let found = differences(wanted, certificate, key, issuer);
    let fits = |earlier: &Wanted| differences(earlier, certificate, key, issuer).is_empty();
    if !found.is_empty() && wanted.earlier().as_ref().is_some_and(fits) { Vec::new() } else { found }
}

/// True if the certificate is in the required group.
pub(super) fn has_group(wanted: &Wanted, certificate: &Certificate) -> bool {
    let group = wanted.organization.map(|group| ("O".to_owned(), group.to_owned()));
    certificate.subject.iter().find(|(attribute, _)| attribute == "O") == group.as_ref()
}

fn differences(wanted: &Wanted, certificate: &Certificate, key: Option<&Key>, issuer: Option<&Certificate>) -> Vec<String> {
    let mut found = Vec::new();
    let mut differs = |what: &str, expected: &dyn Display, is: &dyn Display| {
        found.push(format!("has another {what}: expected {expected}, found {is}"));
    };
    // Pair by pair: as one text, a group named `x, CN=y` would look like a group and a name.
    let name = |attribute: &str, value: &str| (attribute.to_owned(), value.to_owned());
    let group = wanted.organization.map(|group| name("O", group));
    let expected: BTreeSet<_> = group.into_iter().chain([name("CN", &wanted.common_name)]).collect();
    if certificate.subject.len() != expected.len() || !certificate.subject.iter().all(|part| expected.contains(part)) {
        differs("subject", &subject_text(expected.iter().rev()), &certificate.subject_text());
    }
    match &certificate.usages {
        Some(usages) if usages.to_string() == wanted.usage.to_string() => {}
        Some(usages) => differs("use", &wanted.usage, usages),
        None => differs("use", &wanted.usage, &"everything (it has no extended key usage)"),
    }
    if certificate.ca {
        found.push("is an authority, and should be none".to_owned());
    }
    if !certificate.may_sign {
        found.push("has a key usage that does not allow TLS (digitalSignature is missing)".to_owned());
    }
    found.extend(set("name", &wanted.dns, &certificate.sans.dns));
    found.extend(set(ADDRESS, &wanted.addresses, &certificate.sans.addresses));
    if certificate.sans.others > 0 {
        found.push("answers for more than names and addresses".to_owned());
    }
    if key.is_some_and(|key| key.public() != certificate.public_key) {
        found.push("has a key that does not belong to its certificate".to_owned());
    }
    if issuer.is_some_and(|issuer| !certificate.is_named_as_issued_by(issuer) || !certificate.is_signed_by(issuer)) {
        found.push(format!("is not issued by the present `{}`, but by {}", wanted.issuer.name(), certificate.issuer));
    }
    found
}

/// True if the defect is about a certificate's addresses.
pub(super) fn is_about_addresses(what: &str) -> bool {
    what.contains(&format!("the {ADDRESS} "))
}

/// The names that only one of both sets has.
fn set<T: Ord + Display>(what: &str, wanted: &BTreeSet<T>, found: &BTreeSet<T>) -> Vec<String> {
    let list = |these: Vec<&T>| these.iter().map(|one| format!("`{}`", one.to_string().escape_debug())).collect::<Vec<_>>().join(", ");
    let (missing, extra): (Vec<_>, Vec<_>) = (wanted.difference(found).collect(), found.difference(wanted).collect());
    let mut lines = Vec::new();
    if !missing.is_empty() {
        lines.push(format!("lacks the {what} {}", list(missing)));
    }
    if !extra.is_empty() {
        lines.push(format!("has the {what} {} that it should not have", list(extra)));
    }
    lines
}
