//! Private keys in DER (X.690), read element by element. Sizes of numbers differ from key to key, since an integer loses its leading
//! zeros: typical bytes are no evidence, lengths that add up to the byte are.

use super::Kind;
use super::known::is_known_key;
use super::secret::{Found, Secret};

/// Bytes of a key's structure, from its version on, that its digest covers: they include the start of a public number.
const DIGEST_BYTES: usize = 64;
/// The shortest modulus of a key in use, in bytes: 1024 bits. Programs test themselves with shorter ones.
const MODULUS_MIN: usize = 128;

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// An element with this tag: its content, and the offset behind it. Lengths must be in DER's shortest form (X.690, 10.1).
fn element(bytes: &[u8], at: usize, tag: u8) -> Option<(&[u8], usize)> {
    let (from, len) = match bytes.get(at..)? {
        [found, ..] if *found != tag => return None,
        [_, short @ 0..=0x7f, ..] => (at + 2, usize::from(*short)),
        [_, 0x81, long @ 0x80..=0xff, ..] => (at + 3, usize::from(*long)),
        [_, 0x82, high @ 1..=0xff, low, ..] => (at + 4, usize::from(*high) << 8 | usize::from(*low)),
        _ => return None,
    };
    Some((bytes.get(from..from + len)?, from + len))
}

/// A non-negative integer without its leading zero (X.690, 8.3).
fn integer(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (content, end) = element(bytes, at, INTEGER)?;
    match content {
        [] | [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => None,
        [0, rest @ ..] => Some((rest, end)),
        all => Some((all, end)),
    }
}

/// The sequences whose content may begin at `at`: start and end of each.
fn sequences(bytes: &[u8], at: usize) -> impl Iterator<Item = (usize, usize)> {
    [4, 3, 2].into_iter().filter_map(move |header| {
        let start = at.checked_sub(header)?;
        let (content, end) = element(bytes, start, SEQUENCE)?;
        (end - content.len() == at).then_some((start, end))
    })
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1)
}

/// The integers from `at` on, at most `most` and none behind `end`, and the offset behind the last one.
fn integers(bytes: &[u8], mut at: usize, end: usize, most: usize) -> (Vec<&[u8]>, usize) {
    let mut found = Vec::new();
    while at < end
        && found.len() < most
        && let Some((number, behind)) = integer(bytes, at)
    {
        found.push(number);
        at = behind;
    }
    (found, at)
}

fn found(start: usize, end: usize, what: &str) -> Found {
    Found { start, len: end - start, secret: Secret { kind: Kind::PrivateKey, what: format!("{what} in DER") } }
}

/// RSA (RFC 8017, A.1.2) and the DSA of OpenSSL's traditional format, also inside of PKCS #8: a version, then the numbers.
pub(super) fn rsa_or_dsa(bytes: &[u8], at: usize) -> Option<Found> {
    let fits = |(start, end)| {
        let (numbers, behind) = integers(bytes, at, end, 9);
        let what = match numbers[..] {
            [[], n, e, d, p, q, _, _, _] if behind == end => is_rsa(n, e, d, p, q).then_some("RSA"),
            // Keys of more than two primes have a sequence of the others.
            [[1], n, e, d, p, q, _, _, _] if element(bytes, behind, SEQUENCE)?.1 == end => are_rsa(n, e, d, p, q).then_some("RSA"),
            [[], p, q, g, y, x] if behind == end => is_dsa(p, q, g, y, x).then_some("DSA"),
            _ => None,
        }?;
        Some(found(start, end, what))
    };
    let key = sequences(bytes, at).find_map(fits)?;
    (!is_known_key(bytes.get(at..at + DIGEST_BYTES)?)).then_some(key)
}

/// Two primes are as long as their product, to a byte.
fn is_rsa(n: &[u8], e: &[u8], d: &[u8], p: &[u8], q: &[u8]) -> bool {
    let primes = p.len() + q.len();
    are_rsa(n, e, d, p, q) && (primes == n.len() || primes == n.len() + 1)
}

fn are_rsa(n: &[u8], e: &[u8], d: &[u8], p: &[u8], q: &[u8]) -> bool {
    n.len() >= MODULUS_MIN && e.len() <= n.len() && d.len() <= n.len() && [n, e, p, q].into_iter().all(is_odd)
}

fn is_dsa(p: &[u8], q: &[u8], g: &[u8], y: &[u8], x: &[u8]) -> bool {
    let fits = p.len() >= MODULUS_MIN && (20..=32).contains(&q.len()) && !x.is_empty() && x.len() <= q.len();
    fits && g.len() <= p.len() && y.len() <= p.len() && is_odd(p) && is_odd(q)
}

/// DSA in PKCS #8 (RFC 5958; RFC 3279, 2.3.2): the parameters, then one number. Certificates have the parameters, too.
pub(super) fn dsa(bytes: &[u8], at: usize) -> Option<Found> {
    let fits = |(start, end): (usize, usize)| {
        let version = start.checked_sub(3)?;
        let (secret, behind) = element(bytes, end, OCTETS)?;
        let (x, inner) = integer(secret, 0)?;
        let fits = bytes[version..start] == [INTEGER, 1, 0] && inner == secret.len() && (16..=32).contains(&x.len());
        (fits && !is_known_key(x)).then(|| found(version, behind, "DSA"))
    };
    sequences(bytes, at).find_map(fits)
}

/// A key of an elliptic curve (RFC 5915): version 1, the number, then the curve and the public key, or one of them, or neither.
pub(super) fn ec(bytes: &[u8], at: usize) -> Option<Found> {
    let (number, mut behind) = element(bytes, at + 3, OCTETS)?;
    for tag in [0xa0, 0xa1] {
        behind = element(bytes, behind, tag).map_or(behind, |(_, after)| after);
    }
    let (start, end) = sequences(bytes, at).find(|(_, end)| *end == behind)?;
    // 160 bits to 571; a program may have dropped leading zeros.
    let fits = (18..=72).contains(&number.len()) && is_random(number);
    (fits && !is_known_key(number)).then(|| found(start, end, "EC"))
}

/// Ed25519, Ed448, X25519 and X448 in PKCS #8 (RFC 8410), with the public key (version 1, RFC 5958) or without.
pub(super) fn edwards(bytes: &[u8], at: usize) -> Option<Found> {
    let (algorithm, behind) = element(bytes, at + 3, SEQUENCE)?;
    let (what, len) = match algorithm.last()? {
        0x6e => ("X25519", 32),
        0x6f => ("X448", 56),
        0x70 => ("Ed25519", 32),
        0x71 => ("Ed448", 57),
        _ => return None,
    };
    let (outer, end) = element(bytes, behind, OCTETS)?;
    let (number, inner) = element(outer, 0, OCTETS)?;
    let fits = number.len() == len && inner == outer.len() && is_random(number) && !is_known_key(number);
    fits.then(|| found(at, end, what))
}

/// A random number has mostly different bytes.
fn is_random(bytes: &[u8]) -> bool {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len() * 4 >= bytes.len() * 3
}

#[cfg(test)]
mod tests;
