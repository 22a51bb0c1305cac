//! Roots: written and read back; damage is detected.

use std::os::unix::ffi::OsStringExt as _;

use super::*;

fn owner(project: Option<&[u8]>) -> Owner {
    let project = project.map(|bytes| std::ffi::OsString::from_vec(bytes.to_vec()).into());
    Owner { project, channel: "debian".into(), role: "etcd".parse().unwrap() }
}

fn root(owner: Owner, plan: Blob) -> Root {
    Root {
        owner,
        current: Generation {
            history: History { plan, causes: Some(Blob { digest: Sha256::of("causes"), size: 6 }) },
            actions: [("image".to_owned(), plan.digest), ("base".to_owned(), Sha256::of("base"))].into(),
            inputs: [Sha256::of("one"), Sha256::of("two")].into(),
        },
        previous: Some(History { plan: Blob { digest: Sha256::of("old"), size: 3 }, causes: None }),
        outputs: ["/srv/images/etcd.qcow2".into(), "/home/a b/etcd.qcow2".into()].into(),
    }
}

#[test]
fn a_root_is_read_back_by_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let plan = store.insert(b"plan").unwrap();
    // Folders may have any name.
    let owners = [owner(None), owner(Some(b"/srv/project")), owner(Some(b"/srv/pro\xffject \\ \n"))];
    let written: Vec<Root> = owners.iter().map(|owner| root(owner.clone(), plan)).collect();
    for root in &written {
        store.put_root(root).unwrap();
        store.put_root(root).unwrap();
    }
    for (owner, root) in owners.iter().zip(&written) {
        assert_eq!(store.root_of(owner).unwrap().as_ref(), Some(root));
    }
    assert_eq!(store.root_of(&Owner { channel: "upstream".into(), ..owner(None) }).unwrap(), None);
    let mut all = store.roots().unwrap();
    all.sort_by(|a, b| a.owner.cmp(&b.owner));
    assert_eq!(all, written);
}

#[test]
fn a_changed_root_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let plan = store.insert(b"plan").unwrap();
    store.put_root(&root(owner(None), plan)).unwrap();
    let [name] = &names(&store.root().join("roots"))[..] else { panic!("one root has one file") };
    let path = store.root().join("roots").join(name);
    let good = fs::read_to_string(&path).unwrap();
    for (from, to) in [("debian", "debiao"), ("/srv/images", "/srv/imagez"), ("\"previous\"", "\"previouz\""), ("{", "["), ("root", "")] {
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        assert_eq!(store.root_of(&owner(None)).unwrap(), None, "{from} → {to}");
        assert_eq!(store.roots().unwrap(), [], "{from} → {to}");
    }
    // A root under another owner's file name is ignored.
    let other = owner(Some(b"/elsewhere"));
    fs::write(store.root_path(&other.key()), &good).unwrap();
    assert_eq!(store.root_of(&other).unwrap(), None);
}
