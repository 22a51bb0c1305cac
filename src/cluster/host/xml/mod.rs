//! A small XML 1.0 writer for libvirt's documents: elements with attributes and either text or children.
//!
//! Names are literals in kbake's code; values may be anything, and none can end its own quotes. The layout is libvirt's own
//! (two spaces, single quotes), so that both can be compared line by line.

use std::fmt::Write;

/// An element. Attributes and children keep the order in which they are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Text(String),
    /// Written as an empty element when there are none.
    Children(Vec<Element>),
}

impl Element {
    /// An empty element.
    pub(super) fn new(name: &'static str) -> Self {
        Element { name, attributes: Vec::new(), content: Content::Children(Vec::new()) }
    }

    /// An element that holds `text` and nothing else.
    pub(super) fn text(name: &'static str, text: impl ToString) -> Self {
        Element { name, attributes: Vec::new(), content: Content::Text(text.to_string()) }
    }

    /// Adds an attribute.
    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// Adds an attribute, if there is a value.
    pub(super) fn with_some(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a child. libvirt has no mixed content: a text is replaced.
    pub(super) fn child(self, child: Element) -> Self {
        self.children([child])
    }

    /// Adds children, in order; an `Option` is none or one.
    pub(super) fn children(mut self, more: impl IntoIterator<Item = Element>) -> Self {
        match &mut self.content {
            Content::Children(children) => children.extend(more),
            Content::Text(_) => self.content = Content::Children(more.into_iter().collect()),
        }
        self
    }

    /// The document with this root, ending in a newline. It has no declaration, which means UTF-8 (section 4.3.3).
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        pad(out, depth);
        out.push('<');
        out.push_str(self.name);
        for (name, value) in &self.attributes {
            // Writing to a String cannot fail.
            let _ = write!(out, " {name}='{}'", escape(value));
        }
        match &self.content {
            Content::Text(text) => {
                let _ = writeln!(out, ">{}</{}>", escape(text), self.name);
            }
            Content::Children(children) if children.is_empty() => out.push_str("/>\n"),
            Content::Children(children) => {
                out.push_str(">\n");
                for child in children {
                    child.write(out, depth + 1);
                }
                pad(out, depth);
                let _ = writeln!(out, "</{}>", self.name);
            }
        }
    }
}

fn pad(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// [XML 1.0](https://www.w3.org/TR/xml/) sections 2.4 and 3.3.3: markup as references, and white space that a parser would
/// normalise away too. A character that XML cannot hold at all (section 2.2) becomes U+FFFD; kbake's types refuse those
/// earlier.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests;
