//! The outline of a `#cloud-config` document: its keys, and the files that it writes. Nothing else is read, so nothing depends
//! on differences between YAML 1.1 and 1.2.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser};

/// Keys and paths with their lines, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) keys: Vec<(usize, String)>,
    /// The paths of the items of `write_files`.
    pub(super) paths: Vec<(usize, String)>,
}

/// A line, and the fault in it, in words that repeat none of the text.
pub(super) type Refused = (usize, &'static str);

/// A value, as far as it matters here.
enum Node {
    Text(usize, String),
    List(Vec<Node>),
    Map(usize, Vec<(Node, Node)>),
    /// An alias of a value elsewhere in the text.
    Alias(usize),
}

/// The maximum nesting depth.
const DEPTH_MAX: usize = 64;

/// Parses the text, which is one mapping.
pub(super) fn outline(text: &str) -> Result<Outline, Refused> {
    let mut events = Events { parser: Parser::new_from_str(text) };
    let root = events.document()?;
    let Node::Map(_, pairs) = root else { return Err((1, "it is not a mapping of keys, such as `packages: [nfs-common]`")) };
    let mut found = Outline::default();
    let mut seen = BTreeSet::new();
    for (key, value) in pairs {
        let (line, key) = match key {
            // A merge key or an alias would add keys that are not visible here.
            Node::Text(line, key) if key != "<<" => (line, key),
            Node::Text(line, _) | Node::Alias(line) | Node::Map(line, _) => return Err((line, "its keys must be words")),
            Node::List(_) => return Err((1, "its keys must be words")),
        };
        if !seen.insert(key.clone()) {
            return Err((line, "a key is repeated, and cloud-init would use only the last one"));
        }
        if key == "write_files" {
            found.paths = paths(line, &value)?;
        }
        found.keys.push((line, key));
    }
    Ok(found)
}

fn paths(line: usize, value: &Node) -> Result<Vec<(usize, String)>, Refused> {
    let Node::List(items) = value else { return Err((line, "`write_files` must be a list")) };
    items.iter().map(|item| path(line, item)).collect()
}

fn path(line: usize, item: &Node) -> Result<(usize, String), Refused> {
    let Node::Map(line, pairs) = item else { return Err((line, "each item of `write_files` must be a mapping with a `path`")) };
    let is_path = |key: &Node| matches!(key, Node::Text(_, key) if key == "path");
    match pairs.iter().find(|(key, _)| is_path(key)) {
        Some((_, Node::Text(line, path))) => Ok((*line, path.clone())),
        _ => Err((*line, "an item of `write_files` has no `path` that is a text")),
    }
}

struct Events<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
}

impl<'t> Events<'t> {
    fn next(&mut self) -> Result<(usize, Event<'t>), Refused> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((span.start.line(), event)),
            Some(Err(error)) => Err((error.marker().line(), "it is not valid YAML")),
            None => Err((1, "it ends too early")),
        }
    }

    /// The only document of the text.
    fn document(&mut self) -> Result<Node, Refused> {
        let mut root = None;
        loop {
            match self.next()? {
                (_, Event::StreamEnd) => return root.ok_or((1, "it is empty")),
                (line, Event::DocumentStart(_)) if root.is_some() => {
                    return Err((line, "a second document begins, which cloud-init would not read"));
                }
                (_, Event::DocumentStart(_)) => root = Some(self.node(0)?),
                _ => {}
            }
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, Refused> {
        let (line, event) = self.next()?;
        let kind = match event {
            Event::Scalar(text, ..) => return Ok(Node::Text(line, text.into_owned())),
            Event::Alias(_) => return Ok(Node::Alias(line)),
            Event::SequenceStart(..) => Some(false),
            Event::MappingStart(..) => Some(true),
            _ => None,
        };
        match kind {
            _ if depth > DEPTH_MAX => Err((line, "it is nested too deeply")),
            Some(true) => self.map(line, depth + 1),
            Some(false) => self.list(depth + 1),
            None => Err((line, "it is not valid YAML")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Node, Refused> {
        let mut items = Vec::new();
        while !self.is_next(&Event::SequenceEnd)? {
            items.push(self.node(depth)?);
        }
        self.next()?;
        Ok(Node::List(items))
    }

    fn map(&mut self, line: usize, depth: usize) -> Result<Node, Refused> {
        let mut pairs = Vec::new();
        while !self.is_next(&Event::MappingEnd)? {
            pairs.push((self.node(depth)?, self.node(depth)?));
        }
        self.next()?;
        Ok(Node::Map(line, pairs))
    }

    fn is_next(&mut self, wanted: &Event<'t>) -> Result<bool, Refused> {
        match self.parser.peek() {
            Some(Ok((event, _))) => Ok(event == wanted),
            Some(Err(error)) => Err((error.marker().line(), "it is not valid YAML")),
            None => Err((1, "it ends too early")),
        }
    }
}

#[cfg(test)]
mod tests;
