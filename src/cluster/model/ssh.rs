//! Public keys for logins, as in `ssh-keygen`'s output and `authorized_keys`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest accepted line, in bytes: four times an RSA key of 16384 bits.
const LINE_MAX: usize = 16 * 1024;

/// The smallest RSA key that sshd accepts, in bits (sshd_config(5), RequiredRSASize).
const RSA_MIN: usize = 1024;

/// One public key of any type in use: `TYPE BASE64 [COMMENT]` on one line, its parts consistent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey {
    kind: String,
    blob: String,
    comment: String,
}

impl SshKey {
    /// The key without its comment, which identifies it.
    pub(super) fn identity(&self) -> (&str, &str) {
        (&self.kind, &self.blob)
    }

    /// The key's type, such as `ssh-ed25519`.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

/// Recognises other texts that people mistake for a public key.
fn why_not_public(text: &str) -> Option<&'static str> {
    let text = text.trim_start();
    // RFC 4716 keys have four dashes and a space, PEM and OpenSSH ones five dashes.
    if text.starts_with("---- BEGIN SSH2 PUBLIC KEY") {
        return Some("this is a public key in RFC 4716 format; convert it with `ssh-keygen -i -f FILE`");
    }
    if text.starts_with("-----BEGIN ") && text.lines().next().is_some_and(|line| line.contains("PUBLIC KEY")) {
        return Some("this is a public key in PEM format; convert it with `ssh-keygen -i -m PKCS8 -f FILE`");
    }
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") || text.starts_with("SSH PRIVATE KEY FILE") {
        return Some("this is a PRIVATE key, which must never leave its owner; give the public key, the file that ends in `.pub`");
    }
    None
}

impl FromStr for SshKey {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let line = line.trim();
        if let Some(why) = why_not_public(line) {
            return Err(why.to_owned());
        }
        if line.len() > LINE_MAX {
            return Err(format!("a public key of {} bytes; {LINE_MAX} are allowed", line.len()));
        }
        if line.chars().any(|c| c.is_control() && c != '\t' || forbidden_in_yaml(c)) {
            return Err("a public key is one line without control characters".to_owned());
        }
        if let Some(why) = why_no_line(line) {
            return Err(why);
        }
        let mut parts = line.splitn(2, [' ', '\t']);
        let kind = parts.next().unwrap_or_default();
        let rest = parts.next().unwrap_or_default().trim_start();
        let (blob, comment) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        check_kind(kind)?;
        if blob.is_empty() {
            return Err(format!("after the key type `{kind}` the key itself is missing"));
        }
        let bytes = STANDARD.decode(blob).map_err(|_| "the key is not valid base64: part of it may be missing")?;
        check_blob(kind, &bytes)?;
        Ok(SshKey { kind: kind.to_owned(), blob: blob.to_owned(), comment: comment.trim().replace('\t', " ") })
    }
}

/// Characters that YAML forbids or takes for the end of a line, although Unicode does not class them as control characters.
fn forbidden_in_yaml(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A type's name as RFC 4251 section 6 has it; options in front of it are refused.
fn check_kind(kind: &str) -> Result<(), String> {
    if kind.is_empty() {
        return Err("the public key is empty".to_owned());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-.@".contains(c);
    if kind.len() > 64 || !kind.chars().all(allowed) {
        return Err("the line does not start with a key type such as `ssh-ed25519`; options in front of it are not supported".to_owned());
    }
    if kind.contains("-cert-v0") {
        return Err(format!("`{kind}` is a certificate; give the public key that it certifies"));
    }
    if kind == "ssh-dss" {
        return Err("`ssh-dss` is a DSA key, which OpenSSH no longer accepts; make another: `ssh-keygen -t ed25519`".to_owned());
    }
    Ok(())
}

/// Recognises other texts in place of a key's line: a file's name, and lines of authorized_keys with options.
fn why_no_line(line: &str) -> Option<String> {
    let word = line.split([' ', '\t']).next().unwrap_or_default();
    if word.ends_with(".pub") {
        return Some(format!("`{}` is the name of a file; put the line that is in it here: `cat {word}` shows it", word.escape_debug()));
    }
    // Not repeated: a part of a key may begin like a path.
    if word.starts_with(['~', '/', '.', '$']) {
        return Some("this is the name of a file; put the line that is in the one that ends in `.pub` here".to_owned());
    }
    let option = word.split(['=', ',']).next().unwrap_or_default();
    if option.eq_ignore_ascii_case("cert-authority") || line.starts_with("@cert-authority") {
        return Some("`cert-authority` names who may sign keys, which is not supported: give the public keys themselves".to_owned());
    }
    let options = ["command", "environment", "expiry-time", "from", "permitlisten", "permitopen", "principals", "restrict", "tunnel"];
    let is_option = options.iter().any(|known| option.eq_ignore_ascii_case(known)) || option.to_ascii_lowercase().starts_with("no-");
    is_option.then(|| {
        format!(
            "`{option}` is an option of authorized_keys; options in front of a key are not supported: give the line from the key's type on"
        )
    })
}

/// The blob repeats its type (RFC 4253 section 6.6), followed by length-prefixed fields to the end.
fn check_blob(kind: &str, bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return Err(CUT.to_owned()) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > after.len() {
            // A wrong first length is not an SSH key; a later one is a truncated key.
            let why = if fields.is_empty() { "the base64 text is not an SSH public key" } else { CUT };
            return Err(why.to_owned());
        }
        let (field, tail) = after.split_at(length);
        fields.push(field);
        rest = tail;
    }
    if kind == "ssh-rsa"
        && let [_, _, modulus] = fields.as_slice()
        && rsa_bits(modulus) < RSA_MIN
    {
        return Err(format!("an RSA key of {} bits; the nodes accept {RSA_MIN} and more", rsa_bits(modulus)));
    }
    match fields.as_slice() {
        [inner, _, ..] if *inner == kind.as_bytes() => Ok(()),
        [inner, ..] if *inner != kind.as_bytes() => {
            Err(format!("the line says `{kind}`, the key itself says `{}`", String::from_utf8_lossy(inner).escape_debug()))
        }
        _ => Err(CUT.to_owned()),
    }
}

/// The bits of a number on the wire (RFC 4251 section 5, mpint).
fn rsa_bits(modulus: &[u8]) -> usize {
    let digits = &modulus[modulus.iter().take_while(|&&byte| byte == 0).count()..];
    digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize)
}

const CUT: &str = "the key is truncated: copy the whole line";

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.blob)?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
    }
}
