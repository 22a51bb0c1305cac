use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Reads documents with Python's parser (expat): each element as [name, attributes, text, children].
const READER: &str = r#"
import json, sys
import xml.etree.ElementTree as tree

def plain(node):
    children = [plain(child) for child in node]
    return [node.tag, node.attrib, None if children else node.text, children]

print(json.dumps([plain(tree.fromstring(text)) for text in json.load(sys.stdin)]))
"#;

/// An element from another parser.
#[derive(Debug, Clone, Copy)]
pub(in crate::cluster) struct Found<'a>(pub &'a Value);

impl<'a> Found<'a> {
    /// The elements at `path` below this one: `ip/dhcp/host`.
    pub(in crate::cluster) fn all(self, path: &str) -> Vec<Found<'a>> {
        path.split('/').fold(vec![self], |found, tag| {
            let children = found.iter().flat_map(|node| node.0[3].as_array().unwrap());
            children.filter(|child| child[0] == tag).map(Found).collect()
        })
    }

    /// The one element at `path`.
    pub(in crate::cluster) fn one(self, path: &str) -> Found<'a> {
        let all = self.all(path);
        assert_eq!(all.len(), 1, "{path} in {}", self.0);
        all[0]
    }

    /// The values of these attributes; an absent one is empty.
    pub(in crate::cluster) fn attributes<const N: usize>(self, names: [&str; N]) -> [String; N] {
        names.map(|name| self.0[1][name].as_str().unwrap_or_default().to_owned())
    }

    /// The text.
    pub(in crate::cluster) fn text(self) -> String {
        self.0[2].as_str().unwrap_or_default().to_owned()
    }
}

/// The elements that another parser finds in each of `documents`.
pub(in crate::cluster) fn expat(documents: &[String]) -> Vec<Value> {
    let mut python = Command::new("python3")
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|_| panic!("python3 is missing: run tests/setup.sh"));
    python.stdin.take().unwrap().write_all(&serde_json::to_vec(documents).unwrap()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "no XML: {documents:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn elements_are_laid_out_as_libvirt_does() {
    let document = Element::new("network")
        .child(Element::text("name", "a&b"))
        .child(Element::new("bridge").with("name", "br0").with_some("stp", Some("on")).with_some("delay", None::<u8>))
        .children(Some(Element::new("ip").child(Element::new("dhcp"))))
        .children(None)
        .document();
    let expected = "<network>\n  <name>a&amp;b</name>\n  <bridge name='br0' stp='on'/>\n  <ip>\n    <dhcp/>\n  </ip>\n</network>\n";
    assert_eq!(document, expected);
}

#[test]
fn what_xml_cannot_hold_is_replaced() {
    assert_eq!(Element::text("a", "\0\u{1f}\u{fffe}b\u{ffff}").document(), "<a>\u{fffd}\u{fffd}\u{fffd}b\u{fffd}</a>\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Any value survives a parser unchanged, and adds nothing.
    #[test]
    fn values_survive(values in prop::collection::vec("[\\PC\t\n\r]{0,20}|[<>&'\"\\]\\[!-]{1,20}| *", 60)) {
        let documents: Vec<String> =
            values.iter().map(|value| Element::new("a").with("b", value).child(Element::text("c", value)).document()).collect();
        let expected: Vec<Value> = values
            .iter()
            .map(|value| json!(["a", { "b": value }, null, [["c", {}, if value.is_empty() { Value::Null } else { json!(value) }, []]]]))
            .collect();
        prop_assert_eq!(expat(&documents), expected);
    }
}
