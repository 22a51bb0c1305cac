//! The text forms of keys and certificates: PEM (RFC 7468) and its base64, strict, and without copies of secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// RFC 7468 section 2: lines of 64 characters.
const WIDTH: usize = 64;

/// One block of a PEM text.
pub(super) struct Block<'a> {
    /// The label after `BEGIN`. It comes from the file: never show it.
    pub label: &'a str,
    /// The block's content.
    pub der: SecretSlice<u8>,
}

/// All blocks of a text; text around them is ignored, as by OpenSSL.
///
/// # Errors
/// The fault, in words that repeat none of the text.
pub(super) fn blocks(text: &str) -> Result<Vec<Block<'_>>, &'static str> {
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else { continue };
        let mut body = String::with_capacity(text.len());
        let closed = loop {
            match lines.next() {
                None => break None,
                Some(line) => match line.strip_prefix("-----END ") {
                    Some(end) => break end.strip_suffix("-----"),
                    None if line.contains(':') => {
                        body.zeroize();
                        return Err("is encrypted, or has headers that kbake does not know");
                    }
                    None => body.push_str(line),
                },
            }
        };
        let der = from_base64(&body);
        body.zeroize();
        if closed != Some(label) {
            return Err("is truncated: a PEM block has no end");
        }
        found.push(Block { label, der: der.ok_or("holds a PEM block that is not base64")? });
    }
    Ok(found)
}

/// A public block as text.
pub(super) fn public(label: &str, der: &[u8]) -> String {
    write(label, der)
}

/// A private block as text.
pub(super) fn private(label: &str, der: &[u8]) -> SecretString {
    SecretString::from(write(label, der))
}

fn write(label: &str, der: &[u8]) -> String {
    let mut encoded = to_base64(der);
    // With the exact capacity: a buffer that grows or shrinks leaves copies behind.
    let lines = encoded.len().div_ceil(WIDTH);
    let mut text = String::with_capacity(encoded.len() + lines + 2 * label.len() + "-----BEGIN -----\n-----END -----\n".len());
    text.extend(["-----BEGIN ", label, "-----\n"]);
    for start in (0..encoded.len()).step_by(WIDTH) {
        text.extend([&encoded[start..encoded.len().min(start + WIDTH)], "\n"]);
    }
    text.extend(["-----END ", label, "-----\n"]);
    encoded.zeroize();
    text
}

/// Bytes as base64 with padding (RFC 4648 section 4).
pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The inverse of [`to_base64`]: padded, canonical, without other characters.
pub(super) fn from_base64(text: &str) -> Option<SecretSlice<u8>> {
    // With the exact capacity: a buffer that shrinks leaves copies behind.
    let padding = text.bytes().rev().take_while(|&c| c == b'=').count();
    let mut bytes = SecretSlice::from(vec![0; (text.len() / 4 * 3).checked_sub(padding)?]);
    let target = secrecy::ExposeSecretMut::expose_secret_mut(&mut bytes);
    let size = STANDARD.decode_slice(text, target).ok()?;
    (size == target.len()).then_some(bytes)
}

/// Like [`to_base64`], for secrets.
pub(super) fn to_private_base64(bytes: &SecretSlice<u8>) -> SecretString {
    SecretString::from(to_base64(bytes.expose_secret()))
}
