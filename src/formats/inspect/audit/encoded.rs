//! Private keys as text: PEM, PEM in base64, PuTTY's and age's own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Kind;
use super::known::{KEY_CHARS, is_known_key};
use super::secret::{Found, Secret, run, value_after};

/// The shortest text of a key: Ed25519 in PKCS #8 has 64 characters. Examples in manuals are shorter.
const TEXT_MIN: usize = 64;
/// Bytes that may stand between the lines of a key that is quoted in a program, in JSON, or in a mail.
const BETWEEN: &[u8] = b" \t\r\n\\\"'+,>#*|;";

/// PEM: `-----BEGIN RSA PRIVATE KEY-----` and a text. The words alone are in every program that reads keys.
pub(super) fn pem(bytes: &[u8], at: usize) -> Option<Found> {
    let from = at.saturating_sub(40);
    let begin = from + bytes[from..at].windows(11).rposition(|window| window == b"-----BEGIN ")?;
    let end = at + b"PRIVATE KEY".len() + bytes[at + b"PRIVATE KEY".len()..].iter().take(12).position(|&byte| byte == b'-')?;
    let label = &bytes[begin + 11..end];
    let behind = bytes.get(end..)?.strip_prefix(b"-----")?;
    if label.len() > 40 || !label.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ') {
        return None;
    }
    let start = end + 5;
    let (text, len) = key_text(behind);
    if text.len() < TEXT_MIN || is_known_key(&text) {
        return None;
    }
    let what = format!("PEM, {}", String::from_utf8_lossy(label));
    Some(Found { start: begin, len: start - begin + len, secret: Secret { kind: Kind::PrivateKey, what } })
}

/// The base64 behind a key's first line, at most as much as its digest needs, and the number of bytes read. Skips headers
/// (RFC 1421's and OpenPGP's).
fn key_text(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut text = Vec::new();
    let mut at = 0;
    while at < bytes.len() && text.len() < KEY_CHARS {
        // Escaped line ends, as in JSON and programs.
        if bytes[at] == b'\\' && matches!(bytes.get(at + 1), Some(b'n' | b'r' | b't')) {
            at += 2;
        } else if BETWEEN.contains(&bytes[at]) {
            at += 1;
        } else if bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'/' | b'=') {
            let name = run(&bytes[at..], |byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if bytes.get(at + name) == Some(&b':') {
                at += bytes[at..].iter().position(|&byte| matches!(byte, b'\n' | b'\\')).unwrap_or(bytes.len() - at);
                continue;
            }
            let line = run(&bytes[at..], is_base64);
            text.extend_from_slice(&bytes[at..at + line]);
            at += line;
        } else {
            break;
        }
    }
    text.truncate(KEY_CHARS);
    (text, at)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// PEM in base64, as in kubeconfigs and Kubernetes' Secrets.
pub(super) fn wrapped_pem(bytes: &[u8], at: usize) -> Option<Found> {
    let len = run(&bytes[at..], is_base64);
    let head = &bytes[at..at + len.min(2048) / 4 * 4];
    let plain = STANDARD.decode(head).ok()?;
    let label = plain.windows(11).position(|window| window == b"PRIVATE KEY")?;
    // The words alone are no key.
    let inner = pem(&plain, label)?;
    let before = &bytes[at.saturating_sub(32)..at];
    let secret = match before.windows(16).any(|window| window == b"client-key-data:") || before.windows(15).any(|w| w == b"client-key-data")
    {
        true => Secret { kind: Kind::Kubeconfig, what: "client-key-data".into() },
        false => Secret { kind: Kind::PrivateKey, what: format!("base64 of {}", inner.secret.what) },
    };
    Some(Found { start: at, len, secret })
}

/// [age](https://age-encryption.org/v1): Bech32 in upper case.
pub(super) fn age(bytes: &[u8], at: usize) -> Option<Found> {
    let prefix = b"AGE-SECRET-KEY-".len();
    let len = run(&bytes[at + prefix..], |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-');
    // Examples in manuals are shorter, or have other letters.
    let secret = Secret { kind: Kind::PrivateKey, what: "age".into() };
    (len >= 59 && !is_known_key(&bytes[at..at + prefix + len])).then_some(Found { start: at, len: prefix + len, secret })
}

/// [PuTTY's format](https://the.earth.li/~sgtatham/putty/latest/htmldoc/AppendixC.html).
pub(super) fn putty(bytes: &[u8], at: usize) -> Option<Found> {
    let rest = &bytes[at + b"PuTTY-User-Key-File-".len()..];
    let (version, rest) = rest.split_first()?;
    let private = rest.windows(15).position(|window| window == b"Private-Lines: ")?;
    let secret = Secret { kind: Kind::PrivateKey, what: "PuTTY".into() };
    (version.is_ascii_digit() && rest.starts_with(b": ") && rest.get(private + 15)?.is_ascii_digit()).then_some(Found {
        start: at,
        len: private + 32,
        secret,
    })
}

/// minisign's and signify's: a comment, then one line of base64.
pub(super) fn signer(bytes: &[u8], at: usize) -> Option<Found> {
    let text = value_after(bytes, at + b"secret key".len(), b"\r\n", is_base64, 100)?;
    let secret = Secret { kind: Kind::PrivateKey, what: "minisign or signify".into() };
    (bytes[..at].ends_with(b"encrypted ") || bytes[..at].ends_with(b"signify ")).then_some(Found {
        start: at,
        len: 10 + text.len(),
        secret,
    })
}

/// [WireGuard](https://man7.org/linux/man-pages/man8/wg.8.html): 32 bytes in base64.
pub(super) fn wireguard(bytes: &[u8], at: usize) -> Option<Found> {
    let text = value_after(bytes, at + b"PrivateKey".len(), b" \t=", is_base64, 44)?;
    let secret = Secret { kind: Kind::PrivateKey, what: "WireGuard".into() };
    (text.len() == 44 && text.ends_with(b"=") && !is_known_key(text)).then_some(Found { start: at, len: 10 + text.len(), secret })
}
