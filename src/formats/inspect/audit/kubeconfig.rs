//! Finds users with a credential in a [kubeconfig](https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/), in YAML or
//! JSON, also quoted in another file. The list of users identifies it: its other parts can be far away.

use super::Kind;
use super::secret::{AHEAD, Found, Secret, run};

/// Names of a user's credentials, with the shortest value in bytes.
const CREDENTIALS: [(&[u8], usize); 3] = [(b"token", 1), (b"password", 1), (b"client-key-data", 40)];
/// The most bytes between a name's colon and its value: indents, a name of an anchor, a comment.
const GAP_MAX: usize = 256;
/// Placeholders for a missing or hidden value.
const NO_VALUES: [&[u8]; 5] = [b"~", b"null", b"REDACTED", b"DATA+OMITTED", b"string"];

/// A list of users in which one has a credential.
pub(super) fn users(bytes: &[u8], at: usize) -> Option<Found> {
    let rest = &bytes[..bytes.len().min(at + AHEAD)];
    let list = name_end(rest, at, b"users")?;
    // Text has no NUL, while programs have one behind most words.
    let rest = &rest[..list + run(&rest[list..], |byte| byte != 0)];
    let user = names(rest, list, b"user").find(|&end| is_mapping(&rest[end..]))?;
    CREDENTIALS.iter().find_map(|(word, least)| {
        let end = names(rest, user, word).find(|&end| scalar(&rest[end..]).is_some_and(|value| value.len() >= *least && is_real(value)))?;
        let secret = Secret { kind: Kind::Kubeconfig, what: String::from_utf8_lossy(word).into_owned() };
        Some(Found { start: at, len: end - at, secret })
    })
}

/// Offsets behind the colons of all names behind `from` that are this word.
fn names<'a>(bytes: &'a [u8], from: usize, word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let places = bytes[from..].windows(word.len()).enumerate().filter(move |(_, window)| *window == word);
    places.filter_map(move |(place, _)| name_end(bytes, from + place, word))
}

/// The offset behind the colon, when this word at `at` is a name in a mapping.
fn name_end(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let begins = match bytes[..at] {
        // An escaped line end.
        [.., b'\\', b'n' | b'r' | b't'] | [] => true,
        [.., before] => before.is_ascii_whitespace() || matches!(before, 0 | b'"' | b'\'' | b'{' | b','),
    };
    let end = at + word.len();
    let gap = bytes[end..].iter().take(8).position(|byte| !matches!(byte, b'\\' | b'"' | b'\'' | b' ' | b'\t'))?;
    (begins && bytes[end + gap] == b':').then_some(end + gap + 1)
}

/// True when a mapping follows the colon, not a single value.
fn is_mapping(bytes: &[u8]) -> bool {
    let blank = run(bytes, |byte| matches!(byte, b' ' | b'\t'));
    matches!(bytes.get(blank), Some(b'\r' | b'\n' | b'\\' | b'{' | b'&' | b'!' | b'#'))
}

/// The value behind a colon, up to its first white space: plain, in quotes, or in a block on lines of its own; none when empty.
fn scalar(bytes: &[u8]) -> Option<&[u8]> {
    let (mut at, mut is_block, mut is_below) = (0, false, false);
    let mut quote = None;
    while at < GAP_MAX && quote.is_none() {
        let rest = bytes.get(at..)?;
        at += match rest {
            [b' ' | b'\t', ..] => 1,
            [b'\n' | b'\r', ..] => {
                is_below = true;
                1
            }
            [b'\\', b'n' | b'r' | b't', ..] => {
                is_below = true;
                2
            }
            [b'|' | b'>', ..] if !is_block && !is_below => {
                is_block = true;
                run(rest, |byte| matches!(byte, b'|' | b'>' | b'-' | b'+' | b'0'..=b'9'))
            }
            // The names of an anchor and of a type.
            [b'&' | b'!', ..] if !is_block => run(rest, |byte| byte.is_ascii_graphic() && byte != b'\\'),
            [b'#', ..] if !is_block || !is_below => run(rest, |byte| byte != b'\n'),
            [b'\\', b'"' | b'\'', ..] if !is_block => {
                quote = Some(rest[1]);
                2
            }
            [b'"' | b'\'', ..] if !is_block => {
                quote = Some(rest[0]);
                1
            }
            _ => break,
        };
    }
    let rest = bytes.get(at..)?;
    let is_in_line = |byte: &u8| *byte > b' ' && *byte != 0x7f && !matches!(byte, b'"' | b'\'' | b',' | b'}');
    let value = match rest {
        // The end of a quoted string in a string.
        [b'\\', b'"' | b'\'', ..] => return None,
        _ => &rest[..rest.iter().position(|byte| !is_in_line(byte)).unwrap_or(rest.len())],
    };
    // Below an empty value is the next name, or the next user.
    let is_next = is_below && !is_block && quote.is_none_or(|quote| rest[value.len()..].starts_with(&[quote, b':']));
    let is_other = is_next && (quote.is_some() || value.ends_with(b":") || value == b"-" || value.starts_with(b"--"));
    (!value.is_empty() && !is_other).then_some(value)
}

/// False for a template's placeholder and for letters that hide a value.
fn is_real(value: &[u8]) -> bool {
    let has = |wanted: &[u8]| value.windows(wanted.len()).any(|window| window == wanted);
    let is_variable = value[0] == b'$' && value[1..].iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    let is_template = matches!(value[0], b'<' | b'{' | b'[' | b'(' | b'%') || has(b"{{") || has(b"${") || has(b"$(") || is_variable;
    let is_hidden = matches!(value[0], b'*' | b'.' | b'x' | b'X' | b'-') && value.iter().all(|byte| *byte == value[0]);
    !is_template && !is_hidden && !NO_VALUES.contains(&value)
}
