//! Unique names of static pods in an image: of two with one name the kubelet would run only one, and not always the same.
//!
//! Kubelets read every file of the folder without a leading dot
//! (<https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/>), as YAML or JSON. Only the pod's name and namespace
//! are parsed; a file that hides them from so simple a search is refused.

use std::collections::BTreeMap;

use crate::common::error::{Error, Result};
use crate::common::value::TreePath;

/// The kubelet's folder in kbake's configuration.
const FOLDER: &str = "etc/kubernetes/manifests";
/// The folder of templates, by group, which are filled in at boot.
const TEMPLATES: &str = "usr/share/kbake/templates/";

/// Checks the static pods among the `files` of an image, including templates, for clashes.
///
/// # Errors
/// Two files that become one, two pods of one name, or a file without a pod's name that can be found.
pub(crate) fn static_pod_clashes<'a>(files: impl IntoIterator<Item = (&'a TreePath, &'a [u8])>) -> Result<()> {
    let (mut places, mut pods) = (BTreeMap::new(), BTreeMap::new());
    for (path, bytes) in files {
        let Some(place) = becomes(path) else { continue };
        if let Some(first) = places.insert(place.clone(), path) {
            return Err(Error::user(format!("two files become /{place} on the node"))
                .detail(format!("{first}"))
                .detail(format!("{path}"))
                .hint("give your manifest another name; to change a pod of kbake's, put your own file at the template's path"));
        }
        let pod = std::str::from_utf8(bytes).ok().and_then(pod).ok_or_else(|| {
            Error::user(format!("{path}: kbake finds no pod name in this static pod's manifest"))
                .hint("write `metadata:` at the beginning of a line, and `name:` indented on one of the next")
        })?;
        if let Some(first) = pods.insert(pod.clone(), path) {
            let (namespace, name) = pod;
            return Err(Error::user(format!("two static pods are called `{name}` in the namespace `{namespace}`"))
                .detail(format!("{first}"))
                .detail(format!("{path}"))
                .hint("rename one of them, or leave out the part of the role that brings the other"));
        }
    }
    Ok(())
}

/// The path of a static pod's manifest on the running node, if the file is or becomes one.
fn becomes(path: &TreePath) -> Option<String> {
    let path = std::str::from_utf8(path.as_bytes()).ok()?;
    let place = path.strip_prefix(TEMPLATES).and_then(|rest| rest.split_once('/')).map_or(path, |(_, place)| place);
    let name = place.strip_prefix(FOLDER)?.strip_prefix('/')?;
    (!name.contains('/') && !name.starts_with('.')).then(|| place.to_owned())
}

/// The pod's namespace and name.
fn pod(text: &str) -> Option<(String, String)> {
    let (namespace, name) = if text.trim_start().starts_with('{') { of_json(text)? } else { of_yaml(text)? };
    Some((namespace.unwrap_or_else(|| "default".to_owned()), name))
}

fn of_json(text: &str) -> Option<(Option<String>, String)> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let of = |key: &str| value.get("metadata")?.get(key)?.as_str().map(str::to_owned);
    Some((of("namespace"), of("name")?))
}

/// Name and namespace in block style, the usual one: the lines below `metadata:` with the first one's indentation.
fn of_yaml(text: &str) -> Option<(Option<String>, String)> {
    let is_content = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let mut lines = text
        .lines()
        .filter(is_content)
        .skip_while(|line| key_value(line).is_none_or(|(key, value)| key != "metadata" || !value.is_empty()));
    lines.next()?;
    let below: Vec<&str> = lines.take_while(|line| line.starts_with(' ')).collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(below.first()?);
    let of = |wanted: &str| {
        let mut pairs = below.iter().filter(|line| indent(line) == depth).filter_map(|line| key_value(&line[depth..]));
        pairs.find(|(key, _)| *key == wanted).map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty())
    };
    Some((of("namespace"), of("name")?))
}

/// `key: value`, without quotes and comment. Names of objects have neither blanks nor escapes.
fn key_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let value = value.split(" #").next().unwrap_or_default().trim();
    let bare = |text: &str, quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)).map(str::len);
    let unquoted = |text| if bare(text, '"').or(bare(text, '\'')).is_some() { &text[1..text.len() - 1] } else { text };
    Some((unquoted(key), unquoted(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETCD: &str = "# ours\napiVersion: \"v1\"\nkind: \"Pod\"\nmetadata:\n  labels:\n    name: \"x\"\n  name: \"etcd\"\n  namespace: \"kube-system\"\nspec:\n  a: 1\n";

    fn check(files: &[(&str, &str)]) -> Result<()> {
        let files: Vec<(TreePath, &[u8])> = files.iter().map(|(path, text)| (TreePath::fixed(path), text.as_bytes())).collect();
        static_pod_clashes(files.iter().map(|(path, bytes)| (path, *bytes)))
    }

    const TEMPLATE: &str = "usr/share/kbake/templates/stacked-etcd/etc/kubernetes/manifests/etcd.yaml";

    #[test]
    fn names_that_meet_are_refused() {
        let json = r#"{ "kind": "Pod", "metadata": { "name": "etcd", "namespace": "kube-system" } }"#;
        for mine in [
            "metadata: # here\n\n    # and there\n    namespace: kube-system\n    name: 'etcd' # mine\n",
            "kind: Pod\n\"metadata\":\n  \"name\": etcd\n  namespace: kube-system\n",
            json,
        ] {
            let error = check(&[(TEMPLATE, ETCD), ("etc/kubernetes/manifests/mine.yaml", mine)]).unwrap_err();
            assert_eq!(error.message(), "two static pods are called `etcd` in the namespace `kube-system`");
            let shown = error.to_string();
            assert!(shown.contains("stacked-etcd/etc/kubernetes/manifests/etcd.yaml") && shown.contains("/mine.yaml"), "{shown}");
            assert!(shown.contains("rename one of them"), "{shown}");
        }
    }

    #[test]
    fn files_that_become_one_are_refused() {
        let error = check(&[(TEMPLATE, ETCD), ("etc/kubernetes/manifests/etcd.yaml", "metadata:\n  name: other\n")]).unwrap_err();
        assert_eq!(error.message(), "two files become /etc/kubernetes/manifests/etcd.yaml on the node");
    }

    #[test]
    fn what_differs_is_taken() {
        check(&[
            (TEMPLATE, ETCD),
            ("etc/kubernetes/manifests/a.yaml", "metadata:\n  name: etcd\n"),
            ("etc/kubernetes/manifests/b.json", r#"{"metadata":{"name":"etcd","namespace":"other"}}"#),
            // Kubelets read neither.
            ("etc/kubernetes/manifests/.etcd.yaml", "nothing"),
            ("etc/kubernetes/manifests/old/etcd.yaml", "nothing"),
            ("etc/kubernetes/other.yaml", "nothing"),
            ("usr/share/kbake/templates/etc/kubernetes/manifests/x.yaml", "nothing"),
        ])
        .unwrap();
    }

    #[test]
    fn a_name_that_cannot_be_found_is_refused() {
        for text in [
            "",
            "metadata: { name: etcd }\n",
            "metadata:\n  generateName: x\n",
            "metadata:\nname: etcd\n",
            "metadata:\n  name:\n",
            "metadata:\n  labels:\n    name: x\n",
            "metadata: &a\n  name: x\n",
            "{ \"metadata\": 1 }",
            "{ not json",
            "\u{feff}",
        ] {
            let error = check(&[("etc/kubernetes/manifests/x.yaml", text)]).unwrap_err();
            assert!(error.message().ends_with("kbake finds no pod name in this static pod's manifest"), "{text}: {error}");
        }
        let path = TreePath::fixed("etc/kubernetes/manifests/x");
        assert!(static_pod_clashes([(&path, b"metadata:\n  name: \xff\n".as_slice())]).is_err());
    }
}
