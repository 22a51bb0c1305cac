//! Certificates of the user's own authorities, for nodes to trust.

use secrecy::ExposeSecret as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::pem;

/// The certificates of a PEM text, one text each, without the text around the blocks.
///
/// # Errors
/// The fault, as the predicate of a sentence whose subject is the file's name. It repeats none of the text.
pub(crate) fn authorities(text: &str) -> Result<Vec<String>, &'static str> {
    let blocks = pem::blocks(text)?;
    if blocks.iter().any(|block| block.label.ends_with("PRIVATE KEY")) {
        return Err("holds a private key, which nodes do not need to trust an authority");
    }
    let certificate = |block: &pem::Block<'_>| {
        let der = block.der.expose_secret();
        let whole = X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
        let is_one = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"].contains(&block.label) && whole;
        is_one.then(|| pem::public("CERTIFICATE", der)).ok_or("holds a PEM block that is not an X.509 certificate")
    };
    match blocks.is_empty() {
        true => Err("holds no certificate in PEM form"),
        false => blocks.iter().map(certificate).collect(),
    }
}
