//! Accounts that recipes ask for and no package creates: lines at the end of the base's account files.

use std::collections::BTreeMap;

use super::overlay::text_of;
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, ContentSource, Kind, Tree};
use crate::common::value::TreePath;
use crate::spec::plan::Account;

/// Adds these accounts to the tree. An existing account of the same name stays as it is.
///
/// # Errors
/// The number belongs to another account or group.
pub(crate) fn add(mut tree: Tree, users: &BTreeMap<String, Account>, source: &dyn ContentSource) -> Result<Tree> {
    for (name, account) in users {
        let files = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"].map(TreePath::fixed);
        let [passwd, group, ..] = &files;
        let (users, groups) = (text_of(&tree, source, passwd)?, text_of(&tree, source, group)?);
        if field(&users, 0, name).is_some() {
            continue;
        }
        let id = account.id.to_string();
        if let Some(other) = field(&users, 2, &id).or_else(|| field(&groups, 2, &id)).or_else(|| field(&groups, 0, name)) {
            return Err(Error::user(format!("the account `{name}` cannot have the id {id}: the base's `{other}` has it"))
                .hint("give the recipe's [[user]] another `id`"));
        }
        // No password, and a shell that refuses logins (passwd(5), shadow(5)). The days of the last change stay empty: they
        // would put a date into the image.
        let lines = [
            format!("{name}:x:{id}:{id}::{}:/usr/sbin/nologin\n", account.home),
            format!("{name}:x:{id}:\n"),
            format!("{name}:!*:::::::\n"),
            format!("{name}:!::\n"),
        ];
        for (path, line) in files.iter().zip(lines) {
            append(&mut tree, path, &line, source)?;
        }
    }
    Ok(tree)
}

/// The line whose field number `index` is `value`.
fn field<'a>(text: &'a str, index: usize, value: &str) -> Option<&'a str> {
    text.lines().find(|line| line.split(':').nth(index) == Some(value))
}

fn append(tree: &mut Tree, path: &TreePath, line: &str, source: &dyn ContentSource) -> Result<()> {
    let mut text = text_of(tree, source, path)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    let mut node = tree.get(path).cloned().ok_or_else(|| Error::internal(format!("the base tree has no {path}")))?;
    node.kind = Kind::File(Content::Inline(text.into_bytes().into()));
    tree.remove(path);
    tree.insert(path.clone(), node).map_err(|refused| Error::internal(format!("{path}: {refused}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::testing::Blobs;
    use crate::common::tree::{Layer, Meta, Node};

    fn tree() -> Tree {
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
        let mut put = |path: &str, kind, mode| {
            tree.insert(TreePath::fixed(path), Node { meta: Meta::new(mode, 0, 42, 7), kind, layer: Layer::Base }).unwrap();
        };
        put("etc", Kind::Dir, 0o755);
        for (path, text) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nold:x:101:101::/:/bin/false"),
            ("etc/group", "root:x:0:\nold:x:101:\ndisk:x:120:\n"),
            ("etc/shadow", "root:*:::::::\n"),
            ("etc/gshadow", "root:*::\n"),
        ] {
            put(path, Kind::File(Content::Inline(text.as_bytes().into())), 0o640);
        }
        tree
    }

    fn with(name: &str, id: u32) -> Result<Tree> {
        add(tree(), &BTreeMap::from([(name.to_owned(), Account { id, home: TreePath::fixed("var/lib/etcd") })]), &Blobs::default())
    }

    #[test]
    fn an_account_gets_its_lines() {
        let tree = with("etcd", 950).unwrap();
        let text = |path: &str| text_of(&tree, &Blobs::default(), &TreePath::fixed(path)).unwrap();
        assert!(text("etc/passwd").ends_with("/bin/false\netcd:x:950:950::/var/lib/etcd:/usr/sbin/nologin\n"));
        assert_eq!(text("etc/group").lines().last(), Some("etcd:x:950:"));
        assert_eq!((text("etc/shadow").lines().last(), text("etc/gshadow").lines().last()), (Some("etcd:!*:::::::"), Some("etcd:!::")));
        assert_eq!(tree.get(&TreePath::fixed("etc/shadow")).unwrap().meta, Meta::new(0o640, 0, 42, 7));
    }

    #[test]
    fn who_is_there_stays_and_numbers_are_not_shared() {
        assert_eq!(with("old", 950).unwrap().to_text(), tree().to_text());
        for id in [101, 120] {
            assert!(with("etcd", id).unwrap_err().message().contains(&format!("cannot have the id {id}")));
        }
        assert!(with("disk", 950).is_err(), "a group of that name has other members");
    }
}
