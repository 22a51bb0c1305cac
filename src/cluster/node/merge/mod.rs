//! Merge of a cluster's entries into a kubeconfig with other entries: nothing of the file is lost but comments.
//!
//! The file is read into a tree that keeps the spelling of every value (`yes`, `0644` and `"0644"` are three values whose types
//! depend on the version of YAML), with unknown fields and in the order of the file. JSON is YAML. The tree's texts are wiped;
//! the parser's own copies are out of reach.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use super::Caller;
use super::secret::written;
use crate::common::error::{Error, Result};
use crate::common::yaml::quote;

/// The maximum number of values, with aliases counted at each use.
const VALUES_MAX: usize = 200_000;
/// The maximum nesting depth.
const DEPTH_MAX: usize = 64;

/// A value of YAML.
#[derive(Clone, PartialEq, Eq)]
enum Tree {
    /// A scalar, and whether it is written without quotes.
    Scalar(Zeroizing<String>, bool),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
}

/// The three lists of a kubeconfig: the list's key, and the key of the mapping in each item.
const CLUSTERS: (&str, &str) = ("clusters", "cluster");
const USERS: (&str, &str) = ("users", "user");
const CONTEXTS: (&str, &str) = ("contexts", "context");

/// True if a kubeconfig has nothing but this cluster's own entries, so that another kubeconfig of the cluster may replace it.
///
/// # Errors
/// The reason why the text is not a kubeconfig.
pub(crate) fn is_kubeconfig_of(text: &SecretString, caller: &Caller) -> Result<bool> {
    let root = root(text.expose_secret())?;
    let clusters =
        root.items(CLUSTERS).all(|(name, value)| name == Some(caller.cluster) && value.is_some_and(|it| has_authority(it, caller)));
    let leads_here = |value: &Tree| value.text("cluster") == Some(caller.cluster);
    let contexts = root.items(CONTEXTS).all(|(_, value)| value.is_some_and(leads_here));
    let used = |name: &str| root.items(CONTEXTS).any(|(_, value)| value.and_then(|it| it.text("user")) == Some(name));
    let users = root.items(USERS).all(|(name, _)| name.is_some_and(used));
    Ok(clusters && contexts && users)
}

/// The kubeconfig `before` with the entries of `caller`: the cluster under its own name, user and context as `USER@CLUSTER`.
/// They replace this cluster's own earlier ones; the current context changes only if there is none.
///
/// # Errors
/// `before` is not a kubeconfig, or has entries of these names that belong to another cluster.
pub(crate) fn merged_kubeconfig(before: &SecretString, caller: &Caller) -> Result<SecretString> {
    let mut root = root(before.expose_secret())?;
    let name = format!("{}@{}", caller.user, caller.cluster);
    refuse_others(&root, caller, &name)?;
    let data = |bytes: &[u8]| Tree::quoted(&STANDARD.encode(bytes));
    for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        if root.get(key).is_none() {
            root.set(key, Tree::quoted(value));
        }
    }
    let cluster = root.item(CLUSTERS, caller.cluster)?;
    cluster.drop_keys(&["certificate-authority", "insecure-skip-tls-verify"]);
    cluster.set("certificate-authority-data", data(caller.authority.as_bytes()));
    cluster.set("server", Tree::quoted(caller.server));
    let user = root.item(USERS, &name)?;
    user.drop_keys(&["client-certificate", "client-key"]);
    user.set("client-certificate-data", data(caller.certificate.as_bytes()));
    user.set("client-key-data", data(caller.key.expose_secret().as_bytes()));
    let context = root.item(CONTEXTS, &name)?;
    context.set("cluster", Tree::quoted(caller.cluster));
    context.set("user", Tree::quoted(&name));
    if root.text("current-context").is_none_or(str::is_empty) {
        root.set("current-context", Tree::quoted(&name));
    }
    Ok(root.document())
}

/// Refuses entries of the same names that belong to another cluster.
fn refuse_others(root: &Tree, caller: &Caller, name: &str) -> Result<()> {
    let find = |list, name: &str| root.items(list).find(|(found, _)| *found == Some(name)).map(|(_, value)| value);
    let other = |what: &str, name: &str, why: &str, command: &str| {
        Err(Error::user(format!("the kubeconfig has another {what} `{name}` already: {why}"))
            .detail("the entry of an older authority of this cluster looks the same")
            .hint(format!(
                "if it is not needed any more: kubectl config {command} {name} --kubeconfig FILE; then run the same command again"
            )))
    };
    let cluster = find(CLUSTERS, caller.cluster);
    if cluster.is_some_and(|value| !value.is_some_and(|value| has_authority(value, caller))) {
        return other("cluster", caller.cluster, "its authority is not this cluster's", "delete-cluster");
    }
    if find(CONTEXTS, name).is_some_and(|value| value.and_then(|it| it.text("cluster")) != Some(caller.cluster)) {
        return other("context", name, "it leads to another cluster", "delete-context");
    }
    if cluster.is_none() && find(USERS, name).is_some() {
        return other("user", name, "its cluster is not in the file", "delete-user");
    }
    Ok(())
}

fn has_authority(cluster: &Tree, caller: &Caller) -> bool {
    cluster.text("certificate-authority-data") == Some(STANDARD.encode(caller.authority).as_str())
}

fn root(text: &str) -> Result<Tree> {
    let refused = |why: &str| Error::user(format!("this is not a kubeconfig: {why}"));
    let root = match read(text).map_err(|why| refused(&why))? {
        Some(root @ Tree::Map(_)) => root,
        Some(Tree::Scalar(text, true)) if ["", "~", "null"].contains(&text.as_str()) => Tree::Map(Vec::new()),
        None => Tree::Map(Vec::new()),
        Some(_) => return Err(refused("it is not a mapping")),
    };
    if root.get("kind").is_some() && root.text("kind") != Some("Config") {
        return Err(refused("its `kind` is not Config"));
    }
    for (key, _) in [CLUSTERS, USERS, CONTEXTS] {
        if root.get(key).is_some_and(|list| !matches!(list, Tree::List(_)) && !list.is_null()) {
            return Err(refused(&format!("`{key}` is not a list")));
        }
    }
    Ok(root)
}

/// The only document of a text; none if it is empty.
fn read(text: &str) -> Result<Option<Tree>, String> {
    // JSON may be indented by tabs, and has escapes that YAML lacks.
    let json = serde_json::from_str::<serde_json::Value>(text).ok().map(|value| Zeroizing::new(value.to_string()));
    let text = json.as_ref().map_or(text, |json| json.as_str());
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), left: VALUES_MAX };
    let mut found = None;
    while let Some(event) = reader.next()? {
        match event {
            Event::StreamStart | Event::Nothing | Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamEnd => {}
            _ if found.is_some() => return Err("it has several documents".to_owned()),
            event => found = Some(reader.value(event, DEPTH_MAX)?),
        }
    }
    Ok(found)
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Tree>,
    /// The number of values that may still follow.
    left: usize,
}

impl<'a> Reader<'a> {
    /// The next event. The reason of an error repeats no text of the file: it has keys.
    fn next(&mut self) -> Result<Option<Event<'a>>, String> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, _))) => Ok(Some(event)),
            Some(Err(error)) => Err(format!("line {} cannot be read as YAML", error.marker().line())),
        }
    }

    fn value(&mut self, event: Event<'a>, depth: usize) -> Result<Tree, String> {
        let deeper = depth.checked_sub(1).ok_or("it is nested too deeply")?;
        self.count(1)?;
        let (anchor, tree) = match event {
            Event::Alias(anchor) => {
                let tree = self.anchors.get(&anchor).ok_or("it has a reference to nothing")?.clone();
                self.count(tree.size())?;
                return Ok(tree);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = is_text(tag.as_deref())?;
                (anchor, Tree::Scalar(Zeroizing::new(text.into_owned()), style == ScalarStyle::Plain && !is_text))
            }
            Event::SequenceStart(anchor, tag) => {
                is_text(tag.as_deref())?;
                let mut items = Vec::new();
                loop {
                    match self.next()?.ok_or("it is truncated")? {
                        Event::SequenceEnd => break (anchor, Tree::List(items)),
                        event => items.push(self.value(event, deeper)?),
                    }
                }
            }
            Event::MappingStart(anchor, tag) => {
                is_text(tag.as_deref())?;
                let mut pairs = Vec::new();
                loop {
                    let key = match self.next()?.ok_or("it is truncated")? {
                        Event::MappingEnd => break (anchor, Tree::Map(pairs)),
                        event => self.value(event, deeper)?,
                    };
                    if !matches!(key, Tree::Scalar(..)) {
                        return Err("it has a key that is not a text".to_owned());
                    }
                    let event = self.next()?.ok_or("it is truncated")?;
                    pairs.push((key, self.value(event, deeper)?));
                }
            }
            _ => return Err("it is truncated".to_owned()),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        Ok(tree)
    }

    fn count(&mut self, values: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(values).ok_or("it has too many values")?;
        Ok(())
    }
}

/// True if a tag makes its value a string. The other tags of YAML's core schema change nothing.
fn is_text(tag: Option<&Tag>) -> Result<bool, String> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix != "binary" => Ok(tag.suffix == "str"),
        Some(_) => Err("it has tags, which kubectl does not accept either".to_owned()),
    }
}

impl Tree {
    fn quoted(text: &str) -> Tree {
        Tree::Scalar(Zeroizing::new(text.to_owned()), false)
    }

    fn is_null(&self) -> bool {
        matches!(self, Tree::Scalar(text, true) if ["", "~", "null"].contains(&text.as_str()))
    }

    fn size(&self) -> usize {
        match self {
            Tree::Scalar(..) => 1,
            Tree::List(items) => 1 + items.iter().map(Tree::size).sum::<usize>(),
            Tree::Map(pairs) => 1 + pairs.iter().map(|(key, value)| key.size() + value.size()).sum::<usize>(),
        }
    }

    fn is(&self, text: &str) -> bool {
        matches!(self, Tree::Scalar(found, _) if found.as_str() == text)
    }

    fn get(&self, key: &str) -> Option<&Tree> {
        let Tree::Map(pairs) = self else { return None };
        pairs.iter().find(|(found, _)| found.is(key)).map(|(_, value)| value)
    }

    /// A text in a mapping.
    fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Tree::Scalar(text, _) if !self.get(key)?.is_null() => Some(text),
            _ => None,
        }
    }

    fn set(&mut self, key: &str, value: Tree) {
        let Tree::Map(pairs) = self else { return };
        match pairs.iter_mut().find(|(found, _)| found.is(key)) {
            Some((_, old)) => *old = value,
            None => pairs.push((Tree::Scalar(Zeroizing::new(key.to_owned()), true), value)),
        }
    }

    fn drop_keys(&mut self, keys: &[&str]) {
        let Tree::Map(pairs) = self else { return };
        pairs.retain(|(found, _)| !keys.iter().any(|key| found.is(key)));
    }

    /// The items of one of the lists: their names and mappings.
    fn items<'t>(&'t self, (list, key): (&str, &'static str)) -> impl Iterator<Item = (Option<&'t str>, Option<&'t Tree>)> {
        let items = match self.get(list) {
            Some(Tree::List(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter().map(move |item| (item.text("name"), item.get(key)))
    }

    /// The mapping under `key` in the item of this name, added if it is missing.
    fn item(&mut self, (list, key): (&str, &str), name: &str) -> Result<&mut Tree> {
        if self.get(list).is_none_or(Tree::is_null) {
            self.set(list, Tree::List(Vec::new()));
        }
        let gone = || Error::internal("a kubeconfig without the list that it was just given");
        let Tree::Map(pairs) = self else { return Err(gone()) };
        let Some((_, Tree::List(items))) = pairs.iter_mut().find(|(found, _)| found.is(list)) else { return Err(gone()) };
        let place = items.iter().position(|item| item.text("name") == Some(name)).unwrap_or(items.len());
        if place == items.len() {
            let mut item = Tree::Map(Vec::new());
            item.set("name", Tree::quoted(name));
            items.push(item);
        }
        let item = &mut items[place];
        if !matches!(item.get(key), Some(Tree::Map(_))) {
            item.set(key, Tree::Map(Vec::new()));
        }
        let Tree::Map(pairs) = item else { return Err(gone()) };
        pairs.iter_mut().find(|(found, _)| found.is(key)).map(|(_, value)| value).ok_or_else(gone)
    }

    /// The document.
    fn document(&self) -> SecretString {
        written(|mut out| self.write(&mut out, 0, false))
    }

    /// Writes the value, with its lines indented by `indent` spaces. `inline`: its first line follows a dash.
    fn write(&self, out: &mut impl Write, indent: usize, inline: bool) {
        // Neither a String nor a counter can fail.
        let pad = |out: &mut _, first: bool| {
            if !(first && inline) {
                put(out, &" ".repeat(indent))
            }
        };
        match self {
            Tree::Scalar(..) => {
                self.write_scalar(out);
                put(out, "\n");
            }
            Tree::List(items) if items.is_empty() => put(out, "[]\n"),
            Tree::Map(pairs) if pairs.is_empty() => put(out, "{}\n"),
            Tree::List(items) => {
                for (place, item) in items.iter().enumerate() {
                    pad(out, place == 0);
                    put(out, "- ");
                    item.write(out, indent + 2, true);
                }
            }
            Tree::Map(pairs) => {
                for (place, (key, value)) in pairs.iter().enumerate() {
                    pad(out, place == 0);
                    key.write_scalar(out);
                    let is_below =
                        matches!(value, Tree::List(items) if !items.is_empty()) || matches!(value, Tree::Map(pairs) if !pairs.is_empty());
                    put(out, if is_below { ":\n" } else { ": " });
                    value.write(out, indent + 2, false);
                }
            }
        }
    }

    fn write_scalar(&self, out: &mut impl Write) {
        match self {
            // A text that was plain on one line is plain anywhere. An empty one would make readers take the next line as its
            // value.
            Tree::Scalar(text, true) if text.is_empty() => put(out, "null"),
            Tree::Scalar(text, true) if !text.contains('\n') => put(out, text),
            Tree::Scalar(text, _) => quote(out, text),
            _ => {}
        }
    }
}

fn put(out: &mut impl Write, text: &str) {
    let _ = out.write_str(text);
}

#[cfg(test)]
mod tests;
