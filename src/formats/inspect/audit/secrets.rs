//! Secrets that are known by their contents. Each has an anchor, bytes that are rare elsewhere; a test then reads closely, since
//! programs and manuals are full of anchors.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Kind;
use super::der;
use super::encoded;
use super::known::is_example;
use super::kubeconfig;
use super::secret::{Found, Secret, run, value_after};

/// Reads closely the bytes at an anchor.
type Test = fn(&[u8], usize) -> Option<Found>;

/// Anchors, each with the test of its secret.
pub(super) const ANCHORS: &[(&[u8], Test)] = &[
    (b"PRIVATE KEY", encoded::pem),
    (b"LS0tLS1CRUdJTi", encoded::wrapped_pem),
    (b"AGE-SECRET-KEY-", encoded::age),
    (b"PuTTY-User-Key-File-", encoded::putty),
    (b"secret key\n", encoded::signer),
    (b"PrivateKey", encoded::wireguard),
    (b"\x02\x01\x00\x02\x81", der::rsa_or_dsa),
    (b"\x02\x01\x00\x02\x82", der::rsa_or_dsa),
    (b"\x02\x01\x01\x02\x81", der::rsa_or_dsa),
    (b"\x02\x01\x01\x02\x82", der::rsa_or_dsa),
    (b"\x06\x07\x2a\x86\x48\xce\x38\x04\x01", der::dsa),
    (b"\x02\x01\x01\x04", der::ec),
    (b"\x02\x01\x00\x30\x05\x06\x03\x2b\x65", der::edwards),
    (b"\x02\x01\x01\x30\x05\x06\x03\x2b\x65", der::edwards),
    (b"eyJ", jwt),
    (b"\"d\"", jwk),
    (b"token", bootstrap_token),
    (b"TOKEN", bootstrap_token),
    (b"K10", k3s_token),
    (b"users", kubeconfig::users),
    (b"EncryptionConfig", encryption_key),
    (b"\"auth\"", registry_login),
    (b"machine ", netrc),
    (b"AKIA", |bytes, at| whole_word(bytes, at, 4, 16..=16, is_upper, "AWS access key")),
    (b"ASIA", |bytes, at| whole_word(bytes, at, 4, 16..=16, is_upper, "AWS access key")),
    (b"aws_secret_access_key", aws_secret),
    (b"AWS_SECRET_ACCESS_KEY", aws_secret),
    (b"SecretAccessKey", aws_secret),
    (b"AccountKey=", |bytes, at| whole_word(bytes, at, 11, 86..=88, is_base64, "Azure storage key")),
    (b"AIza", |bytes, at| whole_word(bytes, at, 4, 35..=35, is_url_safe, "Google API key")),
    (b"ya29.", |bytes, at| whole_word(bytes, at, 5, 40..=2048, is_url_safe, "Google token")),
    (b"ghp_", |bytes, at| whole_word(bytes, at, 4, 36..=255, is_letter, "GitHub token")),
    (b"gho_", |bytes, at| whole_word(bytes, at, 4, 36..=255, is_letter, "GitHub token")),
    (b"ghu_", |bytes, at| whole_word(bytes, at, 4, 36..=255, is_letter, "GitHub token")),
    (b"ghs_", |bytes, at| whole_word(bytes, at, 4, 36..=255, is_letter, "GitHub token")),
    (b"ghr_", |bytes, at| whole_word(bytes, at, 4, 36..=255, is_letter, "GitHub token")),
    (b"github_pat_", |bytes, at| whole_word(bytes, at, 11, 40..=255, is_url_safe, "GitHub token")),
    (b"glpat-", |bytes, at| whole_word(bytes, at, 6, 20..=64, is_url_safe, "GitLab token")),
    (b"xoxb-", |bytes, at| whole_word(bytes, at, 5, 24..=255, is_url_safe, "Slack token")),
    (b"xoxp-", |bytes, at| whole_word(bytes, at, 5, 24..=255, is_url_safe, "Slack token")),
    (b"dckr_pat_", |bytes, at| whole_word(bytes, at, 9, 20..=64, is_url_safe, "Docker token")),
    (b"hvs.", |bytes, at| whole_word(bytes, at, 4, 24..=255, is_url_safe, "Vault token")),
    (b"npm_", |bytes, at| whole_word(bytes, at, 4, 36..=36, is_letter, "npm token")),
    (b"dop_v1_", |bytes, at| whole_word(bytes, at, 7, 64..=64, is_hex, "DigitalOcean token")),
    (b"sk_live_", |bytes, at| whole_word(bytes, at, 8, 24..=255, is_letter, "Stripe key")),
    (b":$", password_hash),
    (b"[wifi-security]", wifi),
];

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The letters of a password; those of templates are left out.
fn is_value(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'<' | b'>' | b'$' | b'"' | b'\'' | b',' | b'(' | b')' | b'%')
}

fn credential(start: usize, len: usize, what: &str) -> Option<Found> {
    Some(Found { start, len, secret: Secret { kind: Kind::Credential, what: what.into() } })
}

/// True at the start of a word.
fn begins(bytes: &[u8], at: usize) -> bool {
    at == 0 || !(is_url_safe(bytes[at - 1]) || matches!(bytes[at - 1], b'+' | b'/' | b'.'))
}

/// A prefix and a number of characters of a sort, as one word with digits and letters in it.
fn whole_word(
    bytes: &[u8],
    at: usize,
    prefix: usize,
    len: std::ops::RangeInclusive<usize>,
    is: fn(u8) -> bool,
    what: &str,
) -> Option<Found> {
    let found = run(&bytes[at + prefix..], is);
    let word = &bytes[at..at + prefix + found];
    let ends = bytes.get(at + prefix + found).is_none_or(|&byte| !is_base64(byte) && !is_url_safe(byte));
    let secret = &word[prefix..];
    let real = secret.iter().any(u8::is_ascii_digit) && secret.iter().any(u8::is_ascii_alphabetic) && !is_example(word);
    (begins(bytes, at) && len.contains(&found) && ends && real).then(|| credential(at, word.len(), what)).flatten()
}

/// [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519), signed: service accounts' tokens, and most others.
fn jwt(bytes: &[u8], at: usize) -> Option<Found> {
    let header = &bytes[at..at + run(&bytes[at..], is_url_safe)];
    let rest = bytes[at + header.len()..].strip_prefix(b".eyJ")?;
    let payload = run(rest, is_url_safe);
    let signature = run(rest.get(payload..)?.strip_prefix(b".")?, is_url_safe);
    let plain = URL_SAFE_NO_PAD.decode(header).ok()?;
    let len = header.len() + 4 + payload + 1 + signature;
    let sound = plain.windows(5).any(|window| window == b"\"alg\"") && signature >= 20 && !is_example(&bytes[at..at + len]);
    (begins(bytes, at) && sound).then(|| credential(at, len, "JSON web token")).flatten()
}

/// [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517): `d` is the private part.
fn jwk(bytes: &[u8], at: usize) -> Option<Found> {
    let value = value_after(bytes, at + 3, b" \t\n:\"", is_url_safe, 42)?;
    let near = &bytes[at.saturating_sub(512)..bytes.len().min(at + 2048)];
    let secret = Secret { kind: Kind::PrivateKey, what: "JSON web key".into() };
    near.windows(5).any(|window| window == b"\"kty\"").then_some(Found { start: at, len: value.len() + 3, secret })
}

/// [Bootstrap tokens](https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/): `abcdef.0123456789abcdef`
/// behind the word, or the secret half of one behind `token-secret`.
fn bootstrap_token(bytes: &[u8], at: usize) -> Option<Found> {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if bytes[at..].starts_with(b"token-secret") {
        let value = value_after(bytes, at + 12, b" \t\"':=", is_base64, 16)?;
        return matches!(value.len(), 16 | 24).then(|| credential(at, 12 + value.len(), "bootstrap token")).flatten();
    }
    let value =
        value_after(bytes, at + 5, b" \t\"'=:[-\\n", |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.', 23)?;
    let (id, secret) = (value.get(..6)?, value.get(7..)?);
    let sound = value.len() == 23 && value[6] == b'.' && id.iter().chain(secret).all(|&byte| lower(byte));
    (sound && value.iter().any(u8::is_ascii_digit) && !is_example(value)).then(|| credential(at, 28, "bootstrap token")).flatten()
}

/// K3s and RKE2: the digest of the CA, then the name and the secret.
fn k3s_token(bytes: &[u8], at: usize) -> Option<Found> {
    let digest = run(&bytes[at + 3..], is_hex);
    let rest = &bytes[at + 3 + digest..];
    (digest == 64 && rest.starts_with(b"::") && begins(bytes, at)).then(|| credential(at, 80, "cluster token")).flatten()
}

/// [Encryption at rest](https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/).
fn encryption_key(bytes: &[u8], at: usize) -> Option<Found> {
    let rest = &bytes[at..bytes.len().min(at + 2048)];
    let place = rest.windows(6).position(|window| window == b"secret")?;
    let mut from = place;
    loop {
        if let Some(value) = value_after(rest, from + 6, b" \t\":", is_base64, 20).filter(|value| !is_example(value)) {
            return credential(at, from + value.len(), "encryption key of a cluster");
        }
        from += 6 + rest[from + 6..].windows(6).position(|window| window == b"secret")?;
    }
}

/// docker's and podman's configuration: name and password in base64.
fn registry_login(bytes: &[u8], at: usize) -> Option<Found> {
    let value = value_after(bytes, at + 6, b" \t\n:\"", is_base64, 8)?;
    let text = value.strip_suffix(b"==").or(value.strip_suffix(b"=")).unwrap_or(value);
    let plain = STANDARD_NO_PAD.decode(text).ok()?;
    let sound = plain.contains(&b':') && plain.iter().all(|byte| (0x20..0x7f).contains(byte));
    sound.then(|| credential(at, 6 + value.len(), "registry login")).flatten()
}

/// netrc(5), also apt's.
fn netrc(bytes: &[u8], at: usize) -> Option<Found> {
    let rest = &bytes[at..bytes.len().min(at + 512)];
    let mut words = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(2);
    let named = words.next()? == b"login" && !words.next()?.is_empty() && words.next()? == b"password";
    let password = words.next().filter(|word| word.iter().all(|&byte| is_value(byte) || byte == b'$'))?;
    let real = ![&b"password"[..], b"secret", b"debian", b"PASSWORD", b"string"].contains(&password);
    (begins(bytes, at) && named && real).then(|| credential(at, 8, "netrc")).flatten()
}

fn aws_secret(bytes: &[u8], at: usize) -> Option<Found> {
    let name = run(&bytes[at..], |byte| byte.is_ascii_alphabetic() || byte == b'_');
    let value = value_after(bytes, at + name, b" \t\"'=:", is_base64, 40)?;
    (value.len() == 40 && !is_example(value)).then(|| credential(at, name + 40, "AWS secret key")).flatten()
}

/// [crypt(5)](https://manpages.debian.org/bookworm/libcrypt-dev/crypt.5.en.html), as a field of `/etc/shadow`.
fn password_hash(bytes: &[u8], at: usize) -> Option<Found> {
    const METHODS: [&[u8]; 9] = [b"1$", b"5$", b"6$", b"7$", b"y$", b"gy$", b"2a$", b"2b$", b"2y$"];
    let rest = &bytes[at + 2..];
    let method = METHODS.iter().find(|method| rest.starts_with(method))?;
    let len = run(rest, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'$' | b'=' | b','));
    let behind = rest.get(len..)?;
    let field = behind.first() == Some(&b':') && behind.get(1).is_some_and(|byte| byte.is_ascii_digit() || *byte == b':');
    let named = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'-'));
    let secret = Secret { kind: Kind::PasswordHash, what: String::new() };
    (field && named && len >= method.len() + 22).then_some(Found { start: at, len, secret })
}

/// A connection of NetworkManager's.
fn wifi(bytes: &[u8], at: usize) -> Option<Found> {
    let rest = &bytes[at..bytes.len().min(at + 512)];
    let place = rest.windows(5).position(|window| window == b"\npsk=")?;
    let len = run(&rest[place + 5..], is_value);
    let secret = Secret { kind: Kind::NetworkSecret, what: "wireless network".into() };
    (len >= 8).then_some(Found { start: at, len: place + 5 + len, secret })
}
