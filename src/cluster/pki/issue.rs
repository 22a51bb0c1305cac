//! Issue of certificates. Each is parsed and checked again before anyone gets it.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::crypto::ring::default_provider;
use secrecy::SecretSlice;

use super::certificate::Certificate;
use super::key::Key;
use super::wanted::Wanted;
use crate::common::error::{Error, Result};

/// Seconds by which a certificate's validity begins before its creation: clocks of fresh machines may be slow.
const EARLY: i64 = 3600;
/// A day in seconds.
pub(super) const DAY: i64 = 86_400;
/// The last second that a certificate can name (RFC 5280 section 4.1.2.5).
pub(super) const LAST: i64 = 253_402_300_799;

/// An authority that can sign.
#[derive(Clone, Copy)]
pub(super) struct Signer<'a> {
    pub certificate: &'a Certificate,
    pub key: &'a Key,
}

/// A new self-signed authority. It may sign certificates, and no further authorities (`pathlen:0`).
pub(super) fn authority(common_name: &str, key: &Key, days: u32, now: i64) -> Result<Certificate> {
    let mut params = params(now.saturating_sub(EARLY), now.saturating_add(i64::from(days) * DAY))?;
    params.distinguished_name = name(common_name, None);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let made = params.self_signed(key.pair()).map_err(|_| refused(common_name))?;
    let made = Certificate::from_der(made.der()).map_err(|_| refused(common_name))?;
    if made.is_named_as_issued_by(&made) && made.is_signed_by(&made) { Ok(made) } else { Err(refused(common_name)) }
}

/// A new certificate for `key`. It never outlives its authority; its dates show whether its validity was shortened for that.
pub(super) fn leaf(wanted: &Wanted, key: &Key, signer: Signer<'_>, days: u32, now: i64) -> Result<Certificate> {
    let ca = signer.certificate;
    let (from, to) = (now.saturating_sub(EARLY).max(ca.not_before), now.saturating_add(i64::from(days) * DAY).min(ca.not_after));
    let mut params = params(from, to)?;
    params.distinguished_name = name(&wanted.common_name, wanted.organization);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    if wanted.usage.server() {
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
    }
    if wanted.usage.client() {
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
    }
    let failed = || refused(&wanted.name.to_string());
    for dns in &wanted.dns {
        params.subject_alt_names.push(SanType::DnsName(dns.as_str().try_into().map_err(|_| failed())?));
    }
    params.subject_alt_names.extend(wanted.addresses.iter().map(|&address| SanType::IpAddress(address)));
    if !ca.plain_subject {
        return Err(failed());
    }
    let issuer = rcgen::Issuer::from_ca_cert_der(&ca.der.as_slice().into(), signer.key.pair()).map_err(|_| failed())?;
    let made = params.signed_by(key.pair(), &issuer).map_err(|_| failed())?;
    let made = Certificate::from_der(made.der()).map_err(|_| failed())?;
    // An imported authority's name may have a form that does not survive re-encoding.
    if made.is_named_as_issued_by(ca) && made.is_signed_by(ca) { Ok(made) } else { Err(failed()) }
}

/// Random bytes, from the generator that makes keys.
pub(super) fn random(count: usize) -> Result<SecretSlice<u8>> {
    let mut bytes = SecretSlice::from(vec![0; count]);
    let target = secrecy::ExposeSecretMut::expose_secret_mut(&mut bytes);
    default_provider().secure_random.fill(target).map_err(|_| Error::internal("the system provides no random numbers"))?;
    Ok(bytes)
}

fn params(from: i64, to: i64) -> Result<CertificateParams> {
    let time = |seconds: i64| {
        let seconds = u64::try_from(seconds).map_err(|_| Error::user("this host's clock is before 1970"))?;
        Ok(rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.min(LAST as u64)))
    };
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (time(from)?, time(to)?);
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// RFC 5280 section 4.1.2.2: positive, 20 bytes at most, and random, so that nobody can predict the signed content.
fn serial() -> Result<SerialNumber> {
    let random = random(16)?;
    let mut bytes = secrecy::ExposeSecret::expose_secret(&random).to_vec();
    // Neither negative nor shorter than the others.
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from(bytes))
}

fn name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn refused(what: &str) -> Error {
    Error::internal(format!("the certificate library cannot make the certificate `{what}`"))
}
