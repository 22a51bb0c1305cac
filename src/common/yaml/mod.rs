//! A small YAML 1.1 writer for documents that people read and PyYAML parses.
//!
//! Every string is double-quoted or, when it is plain text of several lines, a literal block: no value parses as a
//! number, a boolean or a date (`no`, `0644`, `1:30`), and none can end its own quotes. Keys that are part of the format
//! are written plain. JSON would be as safe, but shows a file of many lines as one.
//!
//! The writer knows no secrets. A module that has some adds them as a [`Leaf`] type and writes with [`Yaml::write_to`].

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::{self, Write};

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

/// A scalar that a [`Leaf`] stands for.
pub(crate) enum Scalar<'v> {
    /// Any text.
    Text(&'v str),
    /// Bytes, as base64.
    Base64(&'v [u8]),
}

/// A kind of value that this module does not know, such as a secret. Its text is borrowed for the write only.
pub(crate) trait Leaf {
    /// The scalar to write.
    fn scalar(&self) -> Scalar<'_>;
}

/// Public documents have no further kind of value.
impl Leaf for Infallible {
    fn scalar(&self) -> Scalar<'_> {
        match *self {}
    }
}

/// A YAML value. Maps keep their order. `L` is a further kind of scalar; by default there is none.
#[derive(Debug, Clone)]
pub(crate) enum Yaml<'a, L = Infallible> {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(u32),
    /// A number of any kind, in JSON's notation.
    Number(String),
    /// Any text.
    Text(Cow<'a, str>),
    /// Bytes, as base64.
    Base64(&'a [u8]),
    /// A scalar of the caller's own kind.
    Leaf(L),
    /// A sequence.
    List(Vec<Yaml<'a, L>>),
    /// A mapping.
    Map(Vec<(&'static str, Yaml<'a, L>)>),
    /// A mapping of one key that is data, not part of the format.
    Named(String, Box<Yaml<'a, L>>),
    /// A mapping whose keys are data.
    Object(Vec<(String, Yaml<'a, L>)>),
    /// A template's placeholder for a number or a list, written verbatim.
    Plain(&'static str),
}

/// The text in front of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// None: the value is the document.
    Nothing,
    /// `key:`.
    Key,
    /// `-`.
    Dash,
}

impl Yaml<'_> {
    /// The document, ending in a newline. Only public values have one.
    pub(crate) fn document(&self) -> String {
        let mut out = String::new();
        self.write_to(&mut out);
        out
    }
}

impl<L> Yaml<'_, L> {
    /// A text.
    pub(crate) fn text(value: impl ToString) -> Self {
        Yaml::Text(Cow::Owned(value.to_string()))
    }

    /// A list of texts.
    pub(crate) fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Self {
        Yaml::List(values.into_iter().map(Self::text).collect())
    }
}

impl<L: Leaf> Yaml<'_, L> {
    /// Writes the document, ending in a newline.
    pub(crate) fn write_to(&self, out: &mut impl Write) {
        self.write(out, 0, After::Nothing);
    }

    /// Writes the value behind `after`, with its children indented by `indent` spaces.
    fn write(&self, out: &mut impl Write, indent: usize, after: After) {
        match self {
            Yaml::Bool(value) => line(out, after, |out| write!(out, "{value}")),
            Yaml::Int(value) => line(out, after, |out| write!(out, "{value}")),
            Yaml::Number(value) => line(out, after, |out| out.write_str(value)),
            Yaml::Text(text) => scalar(out, text, indent, after),
            Yaml::Base64(bytes) => base64(out, bytes, after),
            Yaml::Leaf(leaf) => match leaf.scalar() {
                Scalar::Text(text) => scalar(out, text, indent, after),
                Scalar::Base64(bytes) => base64(out, bytes, after),
            },
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

/// Writes; the writers of documents, strings and counters, never fail.
fn put(out: &mut impl Write, text: &str) {
    let _ = out.write_str(text);
}

fn pad(out: &mut impl Write, indent: usize) {
    for _ in 0..indent {
        put(out, " ");
    }
}

/// Starts a collection on a new line, except at the start of the document.
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

fn mapping<'v, 'a: 'v, L: Leaf + 'v>(
    out: &mut impl Write,
    indent: usize,
    after: After,
    pairs: impl ExactSizeIterator<Item = (&'v str, &'v Yaml<'a, L>)>,
) {
    if pairs.len() == 0 {
        return line(out, after, |out| out.write_str("{}"));
    }
    // In a list, a map starts on the line of the dash.
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

/// True for a key that parses as a text without quotes: not a number, and none of YAML 1.1's words for booleans and null.
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

/// True for a text that reads better as a literal block and parses to the same there: several lines of printable ASCII
/// that end in exactly one newline. A first line that is blank or starts with a space would set the indentation.
fn is_block(text: &str) -> bool {
    let printable = |c: u8| c == b'\n' || c == b' ' || c.is_ascii_graphic();
    text.len() > 1
        && text.bytes().all(printable)
        && text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n'])
        // Editors strip a line of spaces only, which differs from an empty one.
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
pub(crate) fn quote(out: &mut impl Write, text: &str) {
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
mod tests;
