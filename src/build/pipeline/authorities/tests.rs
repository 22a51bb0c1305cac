//! The bundle's certificates, compared with the results of Debian's and OpenSSL's own tools.

use std::process::Command;

use super::*;
use crate::common::testing::Blobs;
use crate::spec::plan::Owner;

fn openssl(args: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(args).output();
    let output = output.unwrap_or_else(|e| panic!("openssl is missing: run tests/setup.sh ({e})"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A certificate and its key, one text each.
fn certificate(subject: &str, ca: bool) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let [key, crt] = ["key", "crt"].map(|name| dir.path().join(name).display().to_string());
    let constraint = format!("basicConstraints=critical,CA:{}", if ca { "TRUE" } else { "FALSE" });
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "30",
        "-utf8",
        "-subj",
        subject,
        "-addext",
        &constraint,
        "-keyout",
        &key,
        "-out",
        &crt,
    ]);
    let read = |path: &str| crate::common::fsx::read_to_string(path.as_ref()).unwrap();
    (read(&crt), read(&key))
}

fn files(certificates: &[(&str, &str)]) -> BTreeMap<TreePath, PlannedNode> {
    let node = |text: &str| PlannedNode { mode: 0o644, owner: Owner::root(), kind: PlannedKind::File(text.as_bytes().into()) };
    let path = |name: &str| TreePath::fixed(&format!("{AUTHORITIES}/{name}"));
    certificates.iter().map(|(name, text)| (path(name), node(text))).collect()
}

fn base(bundle: bool) -> Tree {
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 1));
    let epoch = Epoch::from_seconds(1).unwrap();
    let path = TreePath::fixed(BUNDLE);
    make_parents(&mut tree, &path, epoch).unwrap();
    if bundle {
        let kind = Kind::File(Content::Inline(b"debian's\n".as_slice().into()));
        tree.insert(path, Node { meta: Meta::new(0o644, 0, 0, 1), kind, layer: Layer::Base }).unwrap();
    }
    tree
}

fn added(certificates: &[(&str, &str)], bundle: bool) -> Result<Tree> {
    let files = files(certificates);
    links(&files)?;
    add(base(bundle), &files, &Blobs::default(), Epoch::from_seconds(7).unwrap())
}

fn text(tree: &Tree) -> String {
    String::from_utf8(bytes_of(tree, &Blobs::default(), &TreePath::fixed(BUNDLE), BUNDLE_MAX).unwrap()).unwrap()
}

fn target(tree: &Tree, path: &str) -> Option<String> {
    match &tree.get(&TreePath::fixed(path))?.kind {
        Kind::Symlink(target) => Some(String::from_utf8(target.clone()).unwrap()),
        _ => None,
    }
}

#[test]
fn a_certificate_is_in_the_bundle_and_found_by_its_hash() {
    for subject in
        ["/CN=Corp Root", "/C=DE/O=Corp  &  Söhne/OU= Two words /CN=ROOT ca", "/DC=corp/DC=example/emailAddress=Ca@Corp.Example/CN=x"]
    {
        let (crt, _) = certificate(subject, true);
        let tree = added(&[("corp (1).crt", crt.trim_end())], true).unwrap();
        assert_eq!(text(&tree), format!("debian's\n{crt}"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("crt");
        crate::common::fsx::write_atomic(&path, 0o644, crt.as_bytes()).unwrap();
        let hash = String::from_utf8(openssl(&["x509", "-noout", "-subject_hash", "-in", path.to_str().unwrap()])).unwrap();
        let link = format!("{CERTS}/{}.0", hash.trim());
        assert_eq!(target(&tree, &link).as_deref(), Some("corp_=1=.pem"), "{subject}: {link}");
        let links = links(&files(&[("corp (1).crt", &crt)])).unwrap();
        let planned: Vec<_> = links.iter().map(|(path, node)| (path.to_string(), node.kind.clone())).collect();
        let there = PlannedKind::Symlink(format!("/{AUTHORITIES}/corp (1).crt").into_bytes());
        assert_eq!(planned, [("/etc/ssl/certs/corp_=1=.pem".to_owned(), there)]);
    }
}

#[test]
fn two_of_one_name_have_two_links_and_their_order_is_the_paths() {
    let [(one, _), (two, _)] = ["/CN=Corp", "/CN=Corp"].map(|subject| certificate(subject, true));
    let tree = added(&[("b.crt", &two), ("a.crt", &one)], true).unwrap();
    assert_eq!(text(&tree), format!("debian's\n{one}{two}"));
    let hashes: Vec<_> =
        tree.below(&TreePath::fixed(CERTS)).map(|(path, _)| path.to_string()).filter(|path| path.ends_with(['0', '1'])).collect();
    assert_eq!(hashes.len(), 2, "{hashes:?}");
}

#[test]
fn files_that_programs_would_not_trust_are_refused() {
    let ((ca, key), (leaf, _)) = (certificate("/CN=Corp", true), certificate("/CN=www", false));
    for (text, words) in [
        ("", "has 0 PEM blocks"),
        ("no certificate", "has 0 PEM blocks"),
        (&format!("{ca}{ca}"), "has 2 PEM blocks"),
        (&format!("{ca}{key}"), "contains a private key"),
        (&leaf, "CA:FALSE"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged certificate"),
    ] {
        let said = added(&[("corp.crt", text)], true).unwrap_err().to_string();
        assert!(said.contains(&format!("/{AUTHORITIES}/corp.crt ")) && said.contains(words), "{said}");
    }
    let twins = added(&[("a b.crt", &ca), ("a,b.crt", &ca)], true).unwrap_err();
    assert!(twins.message().contains("another CA certificate has this name"), "{twins}");
    let bare = added(&[("corp.crt", &ca)], false).unwrap_err().to_string();
    assert!(bare.contains("the base has no /etc/ssl/certs/ca-certificates.crt") && bare.contains("`ca-certificates`"), "{bare}");
    assert_eq!(text(&added(&[], true).unwrap()), "debian's\n");
}
