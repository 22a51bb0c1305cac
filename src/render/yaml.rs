//! A small YAML 1.1 writer for documents that people read and PyYAML parses.
//!
//! Every string is double-quoted or, when it is plain text of several lines, a literal block. So no value can be
//! taken for a number, a boolean or a date (`no`, `0644`, `1:30`), and none can end its own quotes. Keys are
//! spelt in kbake's code and written plain. JSON would be as safe, but shows a file of many lines as one.

use std::fmt::Write;

/// A YAML value. Maps keep the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Yaml {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(u32),
    /// Any text.
    Text(String),
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping.
    Map(Vec<(&'static str, Yaml)>),
    /// A mapping of one key that is data, not part of the format.
    Named(String, Box<Yaml>),
}

impl Yaml {
    /// A text.
    pub(super) fn text(value: impl ToString) -> Self {
        Yaml::Text(value.to_string())
    }

    /// A list of texts.
    pub(super) fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Self {
        Yaml::List(values.into_iter().map(Self::text).collect())
    }

    /// The document, ending in a newline.
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        // A collection starts on a new line of its own, which the document does not need.
        out.strip_prefix('\n').unwrap_or(&out).trim_start_matches(' ').to_owned()
    }

    /// Writes the value behind a `key:` or `-` whose children are indented by `indent` spaces.
    fn write(&self, out: &mut String, indent: usize) {
        match self {
            Yaml::Bool(value) => line(out, &value.to_string()),
            Yaml::Int(value) => line(out, &value.to_string()),
            Yaml::Text(text) if is_block(text) => block(out, text, indent),
            Yaml::Text(text) => line(out, &quote(text)),
            Yaml::List(items) if items.is_empty() => line(out, "[]"),
            Yaml::List(items) => {
                out.push('\n');
                for item in items {
                    pad(out, indent);
                    out.push('-');
                    item.write_in_list(out, indent + 2);
                }
            }
            Yaml::Map(pairs) if pairs.is_empty() => line(out, "{}"),
            Yaml::Map(pairs) => {
                out.push('\n');
                for (key, value) in pairs {
                    pair(out, indent, key, value);
                }
            }
            Yaml::Named(name, value) => {
                out.push('\n');
                pair(out, indent, &quote(name), value);
            }
        }
    }

    /// As [`write`](Self::write), but a map starts on the dash's own line.
    fn write_in_list(&self, out: &mut String, indent: usize) {
        let start = out.len();
        self.write(out, indent);
        if let Yaml::Map(pairs) = self
            && !pairs.is_empty()
        {
            // Newline and indentation give way to the one space behind the dash.
            out.replace_range(start..start + 1 + indent, " ");
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn line(out: &mut String, text: &str) {
    out.push(' ');
    out.push_str(text);
    out.push('\n');
}

fn pair(out: &mut String, indent: usize, key: &str, value: &Yaml) {
    pad(out, indent);
    out.push_str(key);
    out.push(':');
    value.write(out, indent + 2);
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
fn block(out: &mut String, text: &str, indent: usize) {
    out.push_str(" |\n");
    for line in text.lines() {
        if !line.is_empty() {
            // A top-level block would have no indentation at all.
            pad(out, indent.max(2));
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// YAML 1.1 section 5.7: double quotes, with everything but printable ASCII escaped.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        // Writing to a String cannot fail.
        let _ = match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            ' '..='~' => write!(out, "{c}"),
            _ if u32::from(c) <= 0xff => write!(out, "\\x{:02x}", u32::from(c)),
            _ if u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c)),
            _ => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    out.push('"');
    out
}

#[cfg(test)]
pub(super) mod tests;
