//! A small YAML 1.1 writer for documents that people read and PyYAML parses.
//!
//! Every string is double-quoted or, when it is plain text of several lines, a literal block. So no value can be
//! taken for a number, a boolean or a date (`no`, `0644`, `1:30`), and none can end its own quotes. Keys are
//! spelt in kbake's code and written plain. JSON would be as safe, but shows a file of many lines as one.

use std::borrow::Cow;
use std::fmt::{self, Write};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

/// A YAML value. Maps keep the order in which they are written.
#[derive(Debug, Clone)]
pub(super) enum Yaml<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(u32),
    /// A number of any kind, in JSON's notation.
    Number(String),
    /// Any text.
    Text(Cow<'a, str>),
    /// A text that nobody else may see. It is copied once, to where the document is.
    Private(&'a SecretString),
    /// Bytes, as base64.
    Base64(&'a [u8]),
    /// A text that nobody else may see, as base64.
    PrivateBase64(&'a SecretString),
    /// A sequence.
    List(Vec<Yaml<'a>>),
    /// A mapping.
    Map(Vec<(&'static str, Yaml<'a>)>),
    /// A mapping of one key that is data, not part of the format.
    Named(String, Box<Yaml<'a>>),
    /// A mapping whose keys are data.
    Object(Vec<(String, Yaml<'a>)>),
    /// What stands in the place of a number or a list in a template. Written as it is.
    Plain(&'static str),
}

/// What a value comes after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Nothing: it is the document.
    Nothing,
    /// `key:`.
    Key,
    /// `-`.
    Dash,
}

/// Counts instead of writing.
pub(super) struct Length(pub(super) usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

impl<'a> Yaml<'a> {
    /// A text.
    pub(super) fn text(value: impl ToString) -> Self {
        Yaml::Text(Cow::Owned(value.to_string()))
    }

    /// A list of texts.
    pub(super) fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Self {
        Yaml::List(values.into_iter().map(Self::text).collect())
    }

    /// The document, ending in a newline. Of values that are all public.
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0, After::Nothing);
        out
    }

    /// The document behind `head`, which is lines of its own.
    ///
    /// The writer runs twice, first to count: a text that grows or shrinks would leave copies of secrets behind.
    pub(super) fn private_document(&self, head: &str) -> SecretString {
        let mut length = Length(head.len());
        self.write(&mut length, 0, After::Nothing);
        let mut out = String::with_capacity(length.0);
        out.push_str(head);
        self.write(&mut out, 0, After::Nothing);
        SecretString::from(out)
    }

    /// Writes the value behind what it comes `after`, with its children indented by `indent` spaces.
    fn write(&self, out: &mut impl Write, indent: usize, after: After) {
        match self {
            Yaml::Bool(value) => line(out, after, |out| write!(out, "{value}")),
            Yaml::Int(value) => line(out, after, |out| write!(out, "{value}")),
            Yaml::Number(value) => line(out, after, |out| out.write_str(value)),
            Yaml::Text(text) => scalar(out, text, indent, after),
            Yaml::Private(secret) => scalar(out, secret.expose_secret(), indent, after),
            Yaml::Base64(bytes) => base64(out, bytes, after),
            Yaml::PrivateBase64(secret) => base64(out, secret.expose_secret().as_bytes(), after),
            Yaml::List(items) if items.is_empty() => line(out, after, |out| out.write_str("[]")),
            Yaml::List(items) => {
                break_line(out, after);
                for item in items {
                    pad(out, indent);
                    put(out, "-");
                    item.write(out, indent + 2, After::Dash);
                }
            }
            Yaml::Map(pairs) => mapping(out, indent, after, pairs.iter().map(|(key, value)| (*key, value))),
            Yaml::Object(pairs) => mapping(out, indent, after, pairs.iter().map(|(key, value)| (key.as_str(), value))),
            Yaml::Plain(text) => line(out, after, |out| out.write_str(text)),
            Yaml::Named(name, value) => {
                break_line(out, after);
                pad(out, indent);
                quote(out, name);
                put(out, ":");
                value.write(out, indent + 2, After::Key);
            }
        }
    }
}

/// Neither a String nor a count can fail.
fn put(out: &mut impl Write, text: &str) {
    let _ = out.write_str(text);
}

fn pad(out: &mut impl Write, indent: usize) {
    for _ in 0..indent {
        put(out, " ");
    }
}

/// A collection starts on a new line of its own, which the document does not need.
fn break_line(out: &mut impl Write, after: After) {
    put(out, if after == After::Nothing { "" } else { "\n" });
}

fn space(out: &mut impl Write, after: After) {
    put(out, if after == After::Nothing { "" } else { " " });
}

fn line<W: Write>(out: &mut W, after: After, value: impl FnOnce(&mut W) -> fmt::Result) {
    space(out, after);
    let _ = value(out);
    put(out, "\n");
}

fn mapping<'v, 'a: 'v>(out: &mut impl Write, indent: usize, after: After, pairs: impl ExactSizeIterator<Item = (&'v str, &'v Yaml<'a>)>) {
    if pairs.len() == 0 {
        return line(out, after, |out| out.write_str("{}"));
    }
    // In a list, a map starts on the dash's own line.
    if after == After::Dash {
        put(out, " ");
    } else {
        break_line(out, after);
    }
    for (place, (key, value)) in pairs.enumerate() {
        pad(out, if after == After::Dash && place == 0 { 0 } else { indent });
        if is_plain_key(key) {
            put(out, key);
        } else {
            quote(out, key);
        }
        put(out, ":");
        value.write(out, indent + 2, After::Key);
    }
}

/// Whether a key can be nothing but a text when it is written without quotes: no number, and none of the words that
/// YAML 1.1 takes for something else.
fn is_plain_key(key: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|c| c.is_ascii_alphanumeric() || b"._/-".contains(&c))
        && !WORDS.contains(&key.to_ascii_lowercase().as_str())
}

fn scalar(out: &mut impl Write, text: &str, indent: usize, after: After) {
    space(out, after);
    if is_block(text) {
        block(out, text, indent);
    } else {
        quote(out, text);
        put(out, "\n");
    }
}

fn base64(out: &mut impl Write, bytes: &[u8], after: After) {
    line(out, after, |out| write!(out, "\"{}\"", Base64Display::new(bytes, &STANDARD)));
}

/// Whether a text is better shown as a literal block, and means the same there: several lines of printable ASCII
/// that end in exactly one newline. A first line that is blank or starts with a space would set the indentation.
fn is_block(text: &str) -> bool {
    let printable = |c: u8| c == b'\n' || c == b' ' || c.is_ascii_graphic();
    text.len() > 1
        && text.bytes().all(printable)
        && text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n'])
        // A line of nothing but spaces would be folded away by editors, and differs from an empty one.
        && !text.lines().any(|line| line.ends_with(' '))
}

/// YAML 1.1 section 9.3.5: literal style, "clip" chomping.
fn block(out: &mut impl Write, text: &str, indent: usize) {
    put(out, "|\n");
    for line in text.lines() {
        if !line.is_empty() {
            // A top-level block would have no indentation at all.
            pad(out, indent.max(2));
            put(out, line);
        }
        put(out, "\n");
    }
}

/// YAML 1.1 section 5.7: double quotes, with everything but printable ASCII escaped.
pub(super) fn quote(out: &mut impl Write, text: &str) {
    put(out, "\"");
    for c in text.chars() {
        let _ = match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            ' '..='~' => out.write_char(c),
            _ if u32::from(c) <= 0xff => write!(out, "\\x{:02x}", u32::from(c)),
            _ if u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c)),
            _ => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    put(out, "\"");
}

#[cfg(test)]
pub(super) mod tests;
