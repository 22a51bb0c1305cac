//! Blobs that an import takes, images that it trusts, bundles that it refuses.

use std::fs;
use std::path::PathBuf;

use super::super::bundle::leave_out;
use super::*;
use crate::Class;
use crate::build::testing::offline;
use crate::common::value::{Arch, Cancel, Digest, Sha512};
use crate::spec::project::expected_lines;
use crate::storage::store::gc::Limits;
use crate::storage::store::{Access, Store, StoreSource};

const FILE: (&str, &[u8]) = ("recipes/base.toml", b"description = \"base\"\n");
const DEB: &[u8] = b"a package";

struct Case {
    dir: tempfile::TempDir,
    store: Store,
    cancel: Cancel,
    expected: Expected,
    expect: Option<Sha256>,
    project_to: Option<PathBuf>,
}

fn case() -> Case {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).unwrap();
    Case { dir, store, cancel: Cancel::new(), expected: Expected::default(), expect: None, project_to: None }
}

impl Case {
    fn import(&self, bundle: &[u8]) -> Result<Imported> {
        let owner = |channel: &str, role: &RoleName, _: &Sha256| {
            Some(Owner { project: self.project_to.clone(), channel: channel.to_owned(), role: role.clone() })
        };
        let how = Importing { expect: self.expect, expected: &self.expected, project_to: self.project_to.as_deref(), owner: &owner };
        offline(&self.store, &self.cancel).import(&mut &*bundle, &how)
    }

    #[track_caller]
    fn refuses(&self, bundle: &[u8], class: Class, words: &[&str]) {
        let error = self.import(bundle).expect_err("it was taken");
        for word in words {
            assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
        }
        assert_eq!(error.class(), class, "{error}");
        assert!(self.store.blobs().unwrap().is_empty() && self.store.claims().unwrap().is_empty(), "nothing is taken");
        assert!(self.store.actions().unwrap().is_empty() && self.store.roots().unwrap().is_empty());
    }

    /// Collects garbage.
    fn collect(self) -> Case {
        let Case { dir, store, cancel, expected, expect, project_to } = self;
        drop(store);
        let open = |access| Store::open(&dir.path().join("store"), access, &cancel, &|| {}).unwrap();
        open(Access::Exclusive).gc(&Limits::default(), &cancel, &mut |_| ()).unwrap();
        let store = open(Access::Shared);
        Case { dir, store, cancel, expected, expect, project_to }
    }

    fn claim(&self) -> Option<Sha256> {
        self.store.claim(&plan()).unwrap().map(|claim| claim.image)
    }

    fn known(&self) -> Option<Sha256> {
        match self.store.action(StepKind::Image.word(), &plan()) {
            Lookup::Hit(action) => Some(action.outputs["image"].digest),
            Lookup::Miss(_) => None,
        }
    }
}

fn plan() -> Sha256 {
    Sha256::of("plan")
}

fn result() -> (Sha256, Sha256) {
    (Sha256::of("tree"), Sha256::of("image"))
}

fn role() -> RoleName {
    "etcd".parse().unwrap()
}

/// A content, with its blobs in `store`.
fn content(store: &Store) -> Content {
    let description = Description { role: role(), channel: "debian".into(), arch: Arch::Amd64, plan: plan(), result: result() };
    let part = |kind, title: &str, bytes: &[u8]| {
        let blob = store.insert(bytes).unwrap();
        Part { kind, title: title.to_owned(), digest: blob.digest, size: blob.size, sha512: None, left_out: false }
    };
    let parts = vec![
        part(Kind::Plan, "plan", b"plan"),
        part(Kind::File, FILE.0, FILE.1),
        part(Kind::Package, "pool/main/d/deb/deb_1_all.deb", DEB),
        part(Kind::Image, "etcd.qcow2", b"image"),
        part(Kind::Tree, "tree", b"tree"),
    ];
    Content { name: role(), config: description.bytes().unwrap(), parts }
}

/// A bundle of the content, changed by `change`, for stores that have `since`.
fn bundle_since(since: &[(Outline, Sha256)], change: impl FnOnce(&mut Content)) -> (Vec<u8>, Outline) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).unwrap();
    let mut contents = [content(&store)];
    change(&mut contents[0]);
    leave_out(&mut contents, since);
    let outline = Outline::new(contents.to_vec(), since.iter().map(|(_, digest)| *digest).collect()).unwrap();
    let mut bytes = Vec::new();
    bundle::write(&outline, &StoreSource(&store), &mut bytes, &Cancel::new(), &|_| ()).unwrap();
    (bytes, outline)
}

/// A bundle of the content, changed by `change`.
fn bundle(change: impl FnOnce(&mut Content)) -> (Vec<u8>, Sha256) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).unwrap();
    let mut content = content(&store);
    change(&mut content);
    let left_out = content.parts.iter().any(|part| part.left_out);
    let since = if left_out { [Sha256::of("old")].into() } else { BTreeSet::new() };
    let outline = Outline::new(vec![content], since).unwrap();
    let mut bytes = Vec::new();
    // A part whose bytes are missing: the documents before it suffice for a refusal.
    let _ = bundle::write(&outline, &StoreSource(&store), &mut bytes, &Cancel::new(), &|_| ());
    (bytes, outline.digest())
}

fn expected(result: (Sha256, Sha256)) -> Expected {
    Expected::parse("e.toml", &expected_lines(&role(), &plan(), &result.0, &result.1)).unwrap()
}

#[test]
fn an_image_is_trusted_when_the_user_or_the_project_approves_it() {
    let (bytes, digest) = bundle(|_| ());
    let (inputs, inputs_digest) = bundle(|content| content.parts.retain(|part| part.kind != Kind::Image && part.kind != Kind::Tree));
    type Setup<'a> = &'a dyn Fn(&mut Case);
    let nobody: Setup = &|_| ();
    let user: Setup = &|case| case.expect = Some(digest);
    let user_of_inputs: Setup = &|case| case.expect = Some(inputs_digest);
    let project: Setup = &|case| case.expected = expected(result());
    let other_plan: Setup = &|case| {
        case.expected = Expected::parse("e.toml", &expected_lines(&role(), &Sha256::of("other"), &result().0, &result().1)).unwrap();
    };
    for (what, setup, bytes, trust) in [
        ("nobody", nobody, &bytes, ImageTrust::Claimed),
        ("the digest", user, &bytes, ImageTrust::Expected),
        ("the project", project, &bytes, ImageTrust::Recorded),
        ("a project with another plan", other_plan, &bytes, ImageTrust::Claimed),
        ("the digest, and the image is not in it", user_of_inputs, &inputs, ImageTrust::Claimed),
        ("the project, and the image is not in it", project, &inputs, ImageTrust::Claimed),
    ] {
        let mut case = case();
        setup(&mut case);
        let imported = case.import(bytes).unwrap();
        assert_eq!(imported.roles[0].trust, trust, "{what}");
        let (known, claimed) = if trust == ImageTrust::Claimed { (None, Some(result().1)) } else { (Some(result().1), None) };
        assert_eq!((case.known(), case.claim()), (known, claimed), "{what}");
        // A second import has the same result, except for images that the store knows by now.
        let again = case.import(bytes).unwrap();
        assert_eq!(again.new, (0, 0));
        assert_eq!(again.roles[0].trust, if trust == ImageTrust::Claimed { trust } else { ImageTrust::Known }, "{what}");
        assert_eq!((case.known(), case.claim()), (known, claimed), "{what}");
    }
}

#[test]
fn a_claim_is_trusted_once_the_user_or_the_project_approves_it() {
    let (bytes, digest) = bundle(|_| ());
    let mut case = case();
    case.import(&bytes).unwrap();
    assert_eq!(case.claim(), Some(result().1));
    case.expect = Some(digest);
    assert_eq!(case.import(&bytes).unwrap().roles[0].trust, ImageTrust::Expected);
    assert_eq!((case.known(), case.claim()), (Some(result().1), None));
}

#[test]
fn a_bundle_that_contradicts_a_known_image_is_refused() {
    let (bytes, digest) = bundle(|_| ());
    let other = (Sha256::of("tree"), Sha256::of("other"));
    let mut recorded = case();
    recorded.expected = expected(other);
    let words = ["images/expected.toml records", &result().1.to_string(), &other.1.to_string()];
    recorded.refuses(&bytes, Class::Integrity, &words);
    recorded.expect = Some(digest);
    recorded.refuses(&bytes, Class::Integrity, &words);

    let mut known = case();
    let [tree, image] = ["tree", "other"].map(|text| known.store.insert(text.as_bytes()).unwrap());
    let outputs = [("image".to_owned(), image), ("tree".to_owned(), tree)].into();
    known.store.put_action(StepKind::Image.word(), &plan(), &Action { outputs }).unwrap();
    known.expect = Some(digest);
    let error = known.import(&bytes).unwrap_err();
    assert!(error.to_string().contains("is not the one that this store has for the same plan"), "{error}");
    assert_eq!(known.known(), Some(other.1));

    let mut claimed = case();
    claimed.store.put_claim(&ImageClaim { plan: plan(), tree: other.0, image: other.1 }).unwrap();
    let error = claimed.import(&bytes).unwrap_err();
    assert!(error.to_string().contains("is not the one that another bundle claims"), "{error}");
    assert_eq!(claimed.claim(), Some(other.1));
    claimed.expect = Some(digest);
    claimed.import(&bytes).unwrap();
    assert_eq!((claimed.known(), claimed.claim()), (Some(result().1), None), "who vouches has the last word");
}

#[test]
fn another_bundle_than_the_expected_one_is_refused_before_anything_is_taken() {
    let mut case = case();
    let (bytes, digest) = bundle(|_| ());
    case.expect = Some(Sha256::of("other"));
    case.refuses(&bytes, Class::Integrity, &["the bundle's digest is not the expected one", &digest.to_string()]);
}

#[test]
fn descriptions_are_held_against_their_parts() {
    let text = |content: &mut Content, old: &str, new: &str| {
        let config = String::from_utf8(content.config.clone()).unwrap();
        assert!(config.contains(old));
        content.config = config.replacen(old, new, 1).into_bytes();
    };
    let other = Sha256::of("other").to_string();
    type Change<'a> = &'a dyn Fn(&mut Content);
    let cases: [(&str, Change, &str); 9] = [
        ("another role", &|c| text(c, "\"etcd\"", "\"worker\""), "it is about `worker`"),
        ("another plan", &|c| text(c, &plan().to_string(), &other), "one Plan"),
        ("another image", &|c| text(c, &result().1.to_string(), &other), "one Image"),
        ("another tree", &|c| text(c, &result().0.to_string(), &other), "one Tree"),
        ("no plan", &|c| drop(c.parts.remove(0)), "one Plan"),
        ("two images", &|c| c.parts.push(c.parts[3].clone()), "one Image"),
        ("a hostile channel", &|c| text(c, "\"debian\"", "\"../../x\""), "description of `etcd`"),
        ("more", &|c| text(c, "{", "{\"more\":1,"), "unknown field"),
        ("newer", &|c| text(c, "\"format\":1", "\"format\":2"), "its format is 2"),
    ];
    for (what, change, word) in cases {
        println!("{what}");
        case().refuses(&bundle(change).0, Class::Integrity, &[word]);
    }
}

#[test]
fn project_files_stay_in_their_folder() {
    for title in [
        "../recipes/x.toml",
        "/etc/passwd",
        "recipes/../../x",
        "recipes/./x",
        "recipes//x",
        "recipes/",
        "recipes",
        "images/expected.toml",
        "cluster.toml",
        ".git/hooks/post-checkout",
        "recipesx/x",
        "lockfiles/..",
    ] {
        let mut case = case();
        case.project_to = Some(case.dir.path().join("project"));
        println!("{title}");
        case.refuses(
            &bundle(|content| content.parts[1].title = title.into()).0,
            Class::Integrity,
            &["a file of its project cannot be used"],
        );
        assert!(!case.dir.path().join("project").exists());
    }
    let two = |title: &str| {
        bundle(|content| {
            let mut part = content.parts[2].clone();
            (part.kind, part.title) = (Kind::File, title.to_owned());
            content.parts.push(part);
        })
    };
    case().refuses(&two(FILE.0).0, Class::Integrity, &["is two different files"]);
    case().refuses(&two("recipes/base.toml/x").0, Class::Integrity, &["is a file, and a folder of"]);
}

#[test]
fn project_files_are_written_once_and_never_over_others() {
    let mut case = case();
    let folder = case.dir.path().join("new/project");
    case.project_to = Some(folder.clone());
    let (bytes, _) = bundle(|_| ());
    for _ in 0..2 {
        case.import(&bytes).unwrap();
        assert_eq!(fs::read(folder.join(FILE.0)).unwrap(), FILE.1);
    }
    let root = case.store.roots().unwrap().pop().unwrap();
    assert_eq!(root.owner.project, Some(folder.clone()));
    assert!(root.current.inputs.contains(&Sha256::of(DEB)) && root.current.history.plan.digest == plan());

    let mut other = self::case();
    fs::create_dir_all(other.dir.path().join("recipes")).unwrap();
    fs::write(other.dir.path().join(FILE.0), "mine").unwrap();
    other.project_to = Some(other.dir.path().to_owned());
    other.refuses(&bytes, Class::User, &["base.toml is a different file", "name a new folder"]);
}

#[test]
fn blobs_that_a_bundle_leaves_out_must_be_in_the_store() {
    let (bytes, _) = bundle(|content| content.parts[2].left_out = true);
    let case = case();
    case.refuses(&bytes, Class::User, &["leaves out 1 blobs", "missing: pool/", &Sha256::of("old").to_string()]);
    case.store.insert(DEB).unwrap();
    case.import(&bytes).unwrap();
}

#[test]
fn a_disk_that_is_too_small_is_known_before_anything_is_written() {
    let (bytes, _) = bundle(|content| content.parts[2].size = 1 << 40);
    case().refuses(&bytes, Class::NoSpace, &["not enough space for the store", "needed 1.0 TiB"]);
}

#[test]
fn a_stop_is_heeded_and_gone_on_from() {
    let (bytes, _) = bundle(|_| ());
    let mut case = case();
    case.cancel.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    case.refuses(&bytes, Class::Interrupted, &["interrupted"]);
    case.cancel = Cancel::new();
    case.import(&bytes).unwrap();
}

#[test]
fn a_cut_bundle_leaves_blobs_only_and_is_gone_on_with() {
    let (bytes, _) = bundle(|_| ());
    for cut in (0..bytes.len()).step_by(509) {
        let case = case();
        case.import(&bytes[..cut]).expect_err("it was cut");
        assert!(case.store.claims().unwrap().is_empty() && case.store.actions().unwrap().is_empty(), "cut at {cut}");
        let there = case.store.blobs().unwrap().len();
        for blob in case.store.blobs().unwrap() {
            case.store.blob(&blob.digest).unwrap().unwrap().verify().unwrap();
        }
        let imported = case.import(&bytes).unwrap();
        assert_eq!((imported.known, imported.new.0), (there, 5 - there), "cut at {cut}");
    }
}

#[test]
fn a_longer_digest_leads_to_its_blob_and_a_lie_does_not() {
    for (bytes, is_true) in [(DEB, true), (&b"other"[..], false)] {
        let digest = Sha512::of(bytes);
        let case = case();
        case.import(&bundle(|content| content.parts[2].sha512 = Some(digest)).0).unwrap();
        let found = case.store.resolve(&Digest::Sha512(digest), None).unwrap();
        assert_eq!(found.map(|blob| blob.digest), is_true.then(|| Sha256::of(DEB)));
    }
}

fn is_output(part: &Part) -> bool {
    matches!(part.kind, Kind::Image | Kind::Tree)
}

fn left_out(outline: &Outline) -> BTreeSet<String> {
    outline.left_out().iter().map(|part| part.title.clone()).collect()
}

#[test]
fn a_differential_bundle_can_be_imported_after_a_collection() {
    let (first, outline) = bundle_since(&[], |_| ());
    let since = [(outline.clone(), outline.digest())];
    let (second, outline) = bundle_since(&since, |_| ());
    assert_eq!(left_out(&outline), ["pool/main/d/deb/deb_1_all.deb", "etcd.qcow2", "tree"].map(str::to_owned).into());
    // A blob with the bytes of a project file is in the bundle, whatever its kind.
    let (_, twice) = bundle_since(&since, |content| {
        content.parts.push(Part { kind: Kind::File, title: "recipes/deb".into(), ..content.parts[2].clone() });
    });
    assert_eq!(left_out(&twice), ["etcd.qcow2", "tree"].map(str::to_owned).into());

    let case = case();
    case.import(&first).unwrap();
    let case = case.collect();
    assert!(!case.store.contains(&Sha256::of(FILE.1)).unwrap(), "nobody keeps the recipes");
    let imported = case.import(&second).unwrap();
    assert_eq!(imported.new.0, 1);
}

#[test]
fn a_collection_keeps_what_came_in_two_bundles() {
    let (inputs, _) = bundle(|content| content.parts.retain(|part| !is_output(part)));
    let (outputs, digest) = bundle(|content| content.parts.retain(|part| part.kind != Kind::Package));
    type Expect = Option<Sha256>;
    let (promised, trusted_files): ([(&[u8], Expect); 2], _) =
        ([(&inputs, None), (&outputs, None)], [(&inputs[..], None), (&outputs, Some(digest))]);
    let turned = |[a, b]: [_; 2]| [b, a];
    for order in [promised, trusted_files, turned(promised), turned(trusted_files)] {
        let mut case = case();
        for (bytes, expect) in order {
            case.expect = expect;
            case.import(bytes).unwrap();
        }
        let mut case = case.collect();
        for needed in [b"plan", DEB, b"image", b"tree"] {
            assert!(case.store.contains(&Sha256::of(needed)).unwrap(), "{}", String::from_utf8_lossy(needed));
        }
        // A second import changes nothing, and drops nothing that a build has recorded.
        let mut root = case.store.roots().unwrap().pop().unwrap();
        root.current.history.causes = Some(root.current.history.plan);
        root.current.actions.insert(("base".to_owned(), plan()));
        root.outputs.insert(case.dir.path().to_owned());
        case.store.put_root(&root).unwrap();
        for (bytes, expect) in order {
            case.expect = expect;
            case.import(bytes).unwrap();
        }
        assert_eq!(case.store.roots().unwrap(), [root]);
    }
}

#[test]
fn an_image_whose_file_is_gone_does_not_end_the_keeping_of_an_import() {
    let (bytes, _) = bundle(|_| ());
    let case = case();
    case.import(&bytes).unwrap();
    let mut root = case.store.roots().unwrap().pop().unwrap();
    root.outputs.insert(case.dir.path().join("gone.qcow2"));
    case.store.put_root(&root).unwrap();
    case.import(&bytes).unwrap();
    let case = case.collect();
    assert!(case.store.contains(&Sha256::of(DEB)).unwrap());
}

#[test]
fn trusted_images_are_verified() {
    let (bytes, digest) = bundle(|_| ());
    let damage = |case: &Case, good: &[u8]| {
        let path = case.store.path(&case.store.insert(good).unwrap().digest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, vec![b'X'; good.len()]).unwrap();
    };
    let recorded = |case: &mut Case| case.expected = expected(result());
    let trusted = |case: &mut Case| case.expect = Some(digest);
    type Setup<'a> = &'a dyn Fn(&mut Case);
    for (setup, trust) in [(&recorded as Setup, ImageTrust::Recorded), (&trusted, ImageTrust::Expected)] {
        for good in [&b"image"[..], b"tree"] {
            let mut case = case();
            setup(&mut case);
            damage(&case, good);
            let imported = case.import(&bytes).unwrap();
            assert_eq!((imported.roles[0].trust, imported.known), (trust, 0));
            case.store.blob(&Sha256::of(good)).unwrap().unwrap().verify().unwrap();
            // Also once the image is known.
            damage(&case, good);
            let imported = case.import(&bytes).unwrap();
            assert_eq!((imported.roles[0].trust, imported.new.0), (ImageTrust::Known, 1));
            case.store.blob(&Sha256::of(good)).unwrap().unwrap().verify().unwrap();
        }
    }
    // A part that is left out is missing.
    let (rest, digest) = bundle(|content| content.parts[3].left_out = true);
    let mut case = case();
    case.expect = Some(digest);
    damage(&case, b"image");
    case.refuses(&rest, Class::User, &["leaves out 1 blobs", "missing: etcd.qcow2"]);
}
