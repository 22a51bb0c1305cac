//! Publishers' checksum files → the digest of one file.
//!
//! The formats are those of `sha256sum` (`HASH  NAME`, `HASH *NAME`) and of BSD's tools (`SHA256 (NAME) = HASH`), and the bare
//! hash of the file beside it, each also within an OpenPGP clear signature ([RFC 9580,
//! 7](https://www.rfc-editor.org/rfc/rfc9580#section-7)). The signature itself is not verified: only the text between its marks
//! counts, as a verifier would read it.

use std::collections::BTreeSet;

use crate::common::value::{Digest, Sha256, Sha512};

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// One line of a checksum file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line<'a> {
    digest: Digest,
    /// The file's name; none for a bare hash.
    name: Option<&'a str>,
}

/// The digest that the checksum file `text` has for the file at the address `url`.
///
/// # Errors
/// No line of that name, contradicting hashes, or a clear signature without an end. The reason is one sentence.
pub fn find(text: &str, url: &str) -> Result<Digest, String> {
    let signed = signed(text)?;
    let filled: Vec<&str> = signed.iter().map(|line| line.trim()).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let lines: Vec<Line<'_>> = filled.iter().filter_map(|line| parse(line)).collect();
    if let ([_], [Line { digest, name: None }]) = (&filled[..], &lines[..]) {
        return Ok(*digest);
    }
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let named = || lines.iter().filter_map(|line| line.name.map(|name| (clean(name), line.digest)));
    // `amd64/kubelet` and `arm64/kubelet` may both be listed. A path that matches the end of the address is certain; otherwise
    // a wrong folder before the name is accepted, since publishers have been seen to write one.
    let whole: BTreeSet<Digest> = named().filter(|(name, _)| ends_with(path, name)).map(|(_, digest)| digest).collect();
    let file = last(path);
    let loose: BTreeSet<Digest> = named().filter(|(name, _)| last(name) == file).map(|(_, digest)| digest).collect();
    let found = if whole.is_empty() { loose } else { whole };
    one(&found).map_err(|many| match many {
        true => format!("it has several hashes for `{file}` that disagree"),
        false => nothing(file, &filled, named().map(|(name, _)| name)),
    })
}

/// The only digest, the shorter kind before the longer one. The error: true if there are several.
fn one(found: &BTreeSet<Digest>) -> Result<Digest, bool> {
    let of_kind = |long: bool| found.iter().filter(|digest| matches!(digest, Digest::Sha512(_)) == long).copied().collect::<Vec<_>>();
    match (&of_kind(false)[..], &of_kind(true)[..]) {
        ([digest], [] | [_]) | ([], [digest]) => Ok(*digest),
        ([], []) => Err(false),
        _ => Err(true),
    }
}

/// The reason why no digest was found. The login page of a proxy is not quoted at length.
fn nothing<'a>(file: &str, filled: &[&str], names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.take(5).collect();
    match (filled.first(), &names[..]) {
        (None, _) => "it is empty".to_owned(),
        (Some(first), []) => {
            let start: String = first.chars().take(40).collect();
            format!("it is not a list of SHA-256 or SHA-512 checksums; it begins with `{}`", start.escape_debug())
        }
        (Some(_), names) => format!("it has nothing for `{file}`, but for {}", names.join(", ").escape_debug()),
    }
}

/// The relevant lines: all of them, or those within a clear signature.
fn signed(text: &str) -> Result<Vec<&str>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().skip_while(|line| line.trim_end() != BEGIN);
    if lines.next().is_none() {
        return Ok(text.lines().collect());
    }
    // Headers (`Hash: SHA256`) end with an empty line.
    let mut body = Vec::new();
    let mut ended = false;
    for line in lines.by_ref().skip_while(|line| !line.trim().is_empty()) {
        if line.trim_end() == SIGNATURE {
            ended = true;
            break;
        }
        // Lines that begin with a dash are escaped by `- `.
        body.push(line.strip_prefix("- ").unwrap_or(line));
    }
    if !ended {
        return Err("its OpenPGP clear signature has no end".to_owned());
    }
    if lines.any(|line| line.trim_end() == BEGIN) {
        return Err("it has more than one OpenPGP clear signature".to_owned());
    }
    Ok(body)
}

fn parse(line: &str) -> Option<Line<'_>> {
    if let Some((algorithm, rest)) = line.split_once(" (") {
        let (name, hash) = rest.rsplit_once(") = ")?;
        let digest = digest(hash)?;
        let fits = match digest {
            Digest::Sha256(_) => ["SHA256", "SHA2-256", "SHA-256"].contains(&algorithm),
            Digest::Sha512(_) => ["SHA512", "SHA2-512", "SHA-512"].contains(&algorithm),
        };
        return fits.then_some(Line { digest, name: Some(name) });
    }
    let (hash, name) = match line.split_once([' ', '\t']) {
        Some((hash, name)) => (hash, Some(name.trim_start())),
        None => (line, None),
    };
    let name = name.map(|name| name.strip_prefix('*').unwrap_or(name));
    Some(Line { digest: digest(hash)?, name })
}

/// A hash, by its length. Publishers also use capital digits.
pub(super) fn digest(text: &str) -> Option<Digest> {
    let lower = text.to_ascii_lowercase();
    match lower.len() {
        64 => lower.parse::<Sha256>().ok().map(Digest::Sha256),
        128 => lower.parse::<Sha512>().ok().map(Digest::Sha512),
        _ => None,
    }
}

fn clean(name: &str) -> &str {
    name.trim_start_matches("./")
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// True if the path ends with all of these components.
fn ends_with(path: &str, name: &str) -> bool {
    !name.is_empty() && path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}
