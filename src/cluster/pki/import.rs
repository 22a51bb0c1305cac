//! Import of an authority that was made by openssl, cfssl, kubeadm, or a company.

use secrecy::{ExposeSecret as _, SecretString};

use super::certificate::Certificate;
use super::contents::{self, Found, Lacks};
use super::key::{Key, TAKEN};
use super::wanted::{Authority, Name, Usage, Wanted};
use super::{Pki, check, issue};
use crate::common::error::{Error, Result};

/// The outcome of [`Pki::import`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// The authority is the cluster's from now on.
    Taken,
    /// The certificate was the cluster's already; its key is new here.
    KeyBroughtBack,
    /// Certificate and key were the cluster's already.
    WasThere,
}

impl Pki {
    /// Imports an authority for the cluster. `certificate` and `key` are PEM; the key is PKCS#8, PKCS#1 or SEC 1, not
    /// encrypted.
    ///
    /// # Errors
    /// The certificate is not an authority's, has expired, does not match its key, or cannot sign certificates that nodes
    /// accept; or the cluster has another authority already.
    pub fn import(&self, authority: Authority, certificate: &str, key: &SecretString, now: i64) -> Result<Imported> {
        let name = authority.name();
        let key = Key::parse(key).map_err(|why| {
            Error::user(format!("the key for `{name}` {why}"))
                .detail(format!("expected {TAKEN}"))
                .hint("`openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW` removes a password and writes the expected format")
        })?;
        let certificate = Certificate::parse(certificate).map_err(|why| {
            Error::user(format!("the certificate for `{name}` {why}"))
                .hint("`openssl x509 -in CERTIFICATE -out NEW` writes the expected format")
        })?;
        let mut wrong = check::authority(&certificate, Some(&key));
        wrong.extend(check::dates(&certificate, now));
        if !wrong.is_empty() {
            let error = Error::user(format!("this certificate and key cannot be the cluster's `{name}`"));
            return Err(wrong.into_iter().fold(error, |error, what| error.detail(format!("it {what}"))));
        }
        try_out(&certificate, &key, now)?;
        let _lock = self.begin()?;
        let contents = contents::read(&self.folder, &self.inventory, now)?;
        self.put(authority, contents.authority(authority), &certificate, &key)
    }

    fn put(&self, authority: Authority, there: &Found, certificate: &Certificate, key: &Key) -> Result<Imported> {
        let stem = self.folder.root().join(authority.name());
        let (crt, private) = (stem.with_extension("crt"), stem.with_extension("key"));
        let other_key = there.key.as_ref().is_some_and(|found| found.public() != key.public());
        let other = there.certificate.as_ref().is_some_and(|found| found.der != certificate.der);
        // A file that cannot be parsed counts as another authority, too.
        if other || other_key || !there.problems.is_empty() {
            return Err(Error::user(format!("the cluster has another `{}` already: {}", authority.name(), crt.display()))
                .detail("replacing it invalidates every certificate it signed")
                .hint("to start over: move the cluster's folder away, import again, then `kbake pki init`"));
        }
        if there.key.is_none() {
            self.folder.write_new(&private, key.pem().expose_secret())?;
        }
        if there.lacks != Lacks::Nothing {
            self.folder.write_new(&crt, &certificate.pem())?;
            return Ok(Imported::Taken);
        }
        Ok(if there.key.is_none() { Imported::KeyBroughtBack } else { Imported::WasThere })
    }
}

/// Signs a test certificate, to detect an unusable authority before anything depends on it.
fn try_out(certificate: &Certificate, key: &Key, now: i64) -> Result<()> {
    let wanted = Wanted {
        name: Name::Admin,
        issuer: Authority::Cluster,
        common_name: "a trial".to_owned(),
        organization: None,
        dns: Default::default(),
        addresses: Default::default(),
        usage: Usage::Client,
    };
    issue::leaf(&wanted, &Key::generate()?, issue::Signer { certificate, key }, 1, now).map(drop).map_err(|_| {
        Error::user("certificates that this authority signs are not valid")
            .detail("its subject or its key has a form that kbake cannot reproduce in certificates")
            .hint(format!("make one with a plain subject, such as `/CN=NAME`, and {TAKEN}"))
    })
}
