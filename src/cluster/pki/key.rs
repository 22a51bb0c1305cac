//! Private keys: generated, parsed in the formats that other tools write, and never shown.

use rcgen::{KeyPair, PublicKeyData as _};
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use super::pem;
use crate::common::error::{Error, Result};

/// A private key and its PKCS#8 text. No `Debug`, no `Clone`.
pub(super) struct Key {
    pair: KeyPair,
    pem: SecretString,
}

impl Drop for Key {
    fn drop(&mut self) {
        // The library's copy of the bytes. The numbers that it derived from them are out of reach, and vanish with the process.
        self.pair.zeroize();
    }
}

/// The accepted keys, for messages.
pub(super) const TAKEN: &str = "an unencrypted RSA key of 2048 to 4096 bits, or an EC key on P-256 or P-384";

/// RFC 5280 and RFC 5480: the algorithm identifiers of PKCS#8 (RFC 5958 section 2).
const RSA: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const P256: &[u8] =
    &[0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

impl Key {
    /// A new ECDSA key on P-256: what kubeadm, Go's TLS and every browser take, in 200 bytes.
    pub(super) fn generate() -> Result<Key> {
        let pair = KeyPair::generate().map_err(|_| Error::internal("the system provides no random numbers for a new key"))?;
        Ok(Key::of(pair))
    }

    fn of(pair: KeyPair) -> Key {
        let pem = pem::private("PRIVATE KEY", pair.serialized_der());
        Key { pair, pem }
    }

    /// Parses PKCS#8, or PKCS#1 (RFC 8017) and SEC 1 (RFC 5915), which older tools write.
    ///
    /// # Errors
    /// Words that follow the file's name and repeat none of its text.
    pub(super) fn parse(text: &SecretString) -> Result<Key, &'static str> {
        let blocks = pem::blocks(text.expose_secret())?;
        // `openssl ecparam -genkey` puts the curve into a block of its own, in front.
        let mut keys = blocks.iter().filter(|block| block.label != "EC PARAMETERS" && block.label != "CERTIFICATE");
        let (Some(block), None) = (keys.next(), keys.next()) else { return Err("is not one private key in PEM") };
        let wrapped;
        let der = match block.label {
            "PRIVATE KEY" => block.der.expose_secret(),
            "RSA PRIVATE KEY" => {
                wrapped = pkcs8(RSA, block.der.expose_secret());
                wrapped.expose_secret()
            }
            "EC PRIVATE KEY" => {
                wrapped = pkcs8(curve(block.der.expose_secret()), block.der.expose_secret());
                wrapped.expose_secret()
            }
            "ENCRYPTED PRIVATE KEY" => return Err("is encrypted"),
            _ => return Err("is not one private key in PEM"),
        };
        let pair = KeyPair::try_from(der).map_err(|_| "is damaged, or of a kind that kbake does not take")?;
        if pair.algorithm() == &rcgen::PKCS_ED25519 {
            return Err("is an Ed25519 key, which kbake does not accept");
        }
        Ok(Key::of(pair))
    }

    /// The key itself, for signing.
    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// The private half as PKCS#8 PEM.
    pub(super) fn pem(&self) -> &SecretString {
        &self.pem
    }

    /// The private text alone; the key itself is dropped.
    pub(super) fn into_pem(mut self) -> SecretString {
        std::mem::take(&mut self.pem)
    }

    /// The public half, as in a certificate's key field.
    pub(super) fn public(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    /// The public half as SPKI PEM.
    pub(super) fn public_pem(&self) -> String {
        pem::public("PUBLIC KEY", &self.pair.subject_public_key_info())
    }
}

/// The curve of a SEC 1 key, by the length of its private number. A wrong guess fails when the whole key is parsed.
fn curve(der: &[u8]) -> &'static [u8] {
    // SEQUENCE { INTEGER 1, OCTET STRING of 32 or 48 bytes, …
    let p384 = der.windows(5).take(8).any(|window| window == [0x02, 0x01, 0x01, 0x04, 48]);
    if p384 { P384 } else { P256 }
}

/// `PrivateKeyInfo` (RFC 5958 section 2): version 0, the algorithm, the key as octets.
fn pkcs8(algorithm: &[u8], key: &[u8]) -> SecretSlice<u8> {
    let octets = header(0x04, key.len());
    let body = 3 + algorithm.len() + octets.len() + key.len();
    let outer = header(0x30, body);
    // With the exact capacity: no copy of the key is left behind.
    let mut der = Vec::with_capacity(outer.len() + body);
    der.extend(outer);
    der.extend([0x02, 0x01, 0x00]);
    der.extend(algorithm);
    der.extend(octets);
    der.extend(key);
    SecretSlice::from(der)
}

/// A DER tag and length (X.690 section 8.1.3); a key has less than 64 KiB.
pub(super) fn header(tag: u8, length: usize) -> Vec<u8> {
    let [.., high, low] = length.to_be_bytes();
    match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    }
}
