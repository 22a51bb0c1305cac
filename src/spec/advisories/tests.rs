use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::common::error::{Class, Result};
use crate::common::value::Epoch;
use crate::formats::archive::zip::tests::zipped;
use crate::spec::lock::Lock;

/// A source package, locked in a version.
fn package(source: &str, version: &str) -> Package {
    Package {
        product: source.to_owned(),
        source: source.to_owned(),
        version: version.parse().unwrap(),
        release: "trixie".to_owned(),
        is_locked: true,
        purls: [format!("pkg:deb/debian/{source}@{version}")].into(),
    }
}

/// A module of the artifact `product` in version 1.5.0.
fn module(product: &str, path: &str, version: &str) -> Module {
    let inside = Inside::Release(Some("1.5.0".to_owned()));
    let purl = format!("pkg:golang/{path}@v{version}");
    Module { product: product.to_owned(), path: path.to_owned(), version: version.to_owned(), purl, inside }
}

fn software(packages: Vec<Package>, modules: Vec<Module>) -> Software {
    Software { packages, modules, unknown: BTreeSet::new() }
}

/// The tracker's file with one source package.
fn tracker_of(source: &str, issues: Value) -> Value {
    json!({"another": {"CVE-2000-1": {"releases": {"trixie": {"status": "open", "urgency": "high"}}}}, source: issues})
}

fn read(software: &Software, tracker: Option<&Value>, osv: Option<&[u8]>) -> Result<Advisories> {
    let (mut advisories, wanted) = (Advisories::default(), Wanted::of([software]));
    if let Some(tracker) = tracker {
        advisories.add(Format::DebianTracker, "debian", tracker.to_string().as_bytes(), &wanted)?;
    }
    if let Some(osv) = osv {
        advisories.add(Format::Osv, "go", osv, &wanted)?;
    }
    Ok(advisories)
}

/// The findings as lines.
fn lines(report: &Report) -> Vec<String> {
    let line = |finding: &Finding| {
        let parts: Vec<String> =
            finding.parts.iter().map(|part| format!("{} {}>{}", part.name, part.version, part.fixed.as_deref().unwrap_or("-"))).collect();
        let reason = finding.reason.as_deref().unwrap_or("-");
        format!("{} {} {} {} [{}] {reason}", finding.id, finding.severity, finding.product, finding.status, parts.join(", "))
    };
    report.findings.iter().map(line).collect()
}

fn debian(version: &str, state: Value) -> Vec<String> {
    let software = software(vec![package("openssl", version)], Vec::new());
    let file = tracker_of(
        "openssl",
        json!({"CVE-2026-1": {"description": "d", "scope": "remote", "releases": {"trixie": state, "sid": {"status": "open"}}}}),
    );
    lines(&report(&software, &read(&software, Some(&file), None).unwrap()))
}

#[test]
fn a_package_is_judged_by_its_release() {
    let state = |status: &str, fixed: Option<&str>, urgency: &str, nodsa: Option<&str>| {
        let mut state =
            json!({"status": status, "urgency": urgency, "repositories": {"trixie": "3.5.1-1", "trixie-security": "3.5.4-1~deb13u1"}});
        fixed.iter().for_each(|fixed| state["fixed_version"] = json!(fixed));
        if let Some(reason) = nodsa {
            state["nodsa"] = json!("Minor issue");
            state["nodsa_reason"] = json!(reason);
        }
        state
    };
    let fix = Some("3.5.4-1~deb13u1");
    for (version, state, expected) in [
        ("3.5.1-1", state("resolved", fix, "high", None), Some("high openssl fixable [openssl 3.5.1-1>3.5.4-1~deb13u1] -")),
        ("3.5.4-1~deb13u1", state("resolved", fix, "high", None), None),
        ("3.5.5-1", state("resolved", fix, "high", None), None),
        ("3.5.1-1", state("resolved", Some("3.5.9-1"), "medium**", None), Some("medium openssl open [openssl 3.5.1-1>3.5.9-1] -")),
        ("3.5.1-1", state("open", None, "not yet assigned", None), Some("unknown openssl open [openssl 3.5.1-1>-] -")),
        ("3.5.1-1", state("open", Some(""), "low", Some("postponed")), Some("low openssl open [openssl 3.5.1-1>-] postponed")),
        ("3.5.1-1", state("open", None, "low", Some("ignored")), Some("low openssl open [openssl 3.5.1-1>-] ignored")),
        ("3.5.1-1", state("open", None, "low", Some("")), Some("low openssl open [openssl 3.5.1-1>-] no-dsa")),
        ("3.5.1-1", state("open", None, "end-of-life", None), Some("unknown openssl open [openssl 3.5.1-1>-] end-of-life")),
        ("3.5.1-1", state("undetermined", None, "low", None), Some("low openssl open [openssl 3.5.1-1>-] undetermined")),
        ("3.5.1-1", state("a new word", None, "a new one", None), Some("unknown openssl open [openssl 3.5.1-1>-] -")),
        (
            "3.5.1-1",
            state("resolved", Some("0"), "high", None),
            Some("high openssl not applicable [openssl 3.5.1-1>-] Debian: this release is not affected"),
        ),
        (
            "3.5.1-1",
            state("open", None, "unimportant", None),
            Some("unknown openssl not applicable [openssl 3.5.1-1>-] Debian: unimportant, without impact on security"),
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|rest| format!("CVE-2026-1 {rest}")).collect();
        assert_eq!(debian(version, state.clone()), expected, "{version}: {state}");
    }
}

#[test]
fn a_package_in_a_container_image_is_open_until_there_is_a_new_image() {
    let inner = Package { product: "coredns".to_owned(), is_locked: false, ..package("openssl", "1-1") };
    let software = software(vec![inner], Vec::new());
    let state = json!({"status": "resolved", "fixed_version": "1-2", "urgency": "low", "repositories": {"trixie": "1-2"}});
    let file = tracker_of("openssl", json!({"CVE-2026-1": {"releases": {"trixie": state}}}));
    let found = lines(&report(&software, &read(&software, Some(&file), None).unwrap()));
    assert_eq!(found, ["CVE-2026-1 low coredns open [openssl 1-1>1-2] needs an image with the fixed package"]);
}

/// A release that no advisory covers would look as if it had no holes.
#[test]
fn parts_without_advisories_are_named() {
    let mut one = package("openssl", "1-1");
    one.release = "noble".to_owned();
    let software = software(vec![one], vec![module("etcd", "a.test/x", "1.0.0")]);
    let file = tracker_of("openssl", json!({"CVE-2026-1": {"releases": {"trixie": {"status": "open"}}}}));
    let unknown =
        |tracker, osv| report(&software, &read(&software, tracker, osv).unwrap()).unknown.into_iter().collect::<Vec<_>>().join("; ");
    assert_eq!(unknown(Some(&file), Some(b"[]")), "packages of `noble`: Debian's security tracker does not know the release");
    let none = unknown(None, None);
    assert!(none.contains("debian-security-tracker are given") && none.contains("osv are given"), "{none}");
}

/// Records on one vulnerability by two publishers, and others.
fn records() -> Vec<Value> {
    let affected = |module: &str, events: Value| json!({"package": {"ecosystem": "Go", "name": module}, "ranges": [{"type": "SEMVER", "events": events}]});
    vec![
        json!({"id": "GO-2026-1", "aliases": ["CVE-2026-7", "GHSA-aaaa"], "affected": [affected("stdlib", json!([
            {"introduced": "0"}, {"fixed": "1.25.8"}, {"introduced": "1.26.0-0"}, {"fixed": "1.26.2"}]))]}),
        json!({"id": "GHSA-bbbb", "aliases": ["CVE-2026-8"], "database_specific": {"severity": "MODERATE"},
            "affected": [affected("golang.org/x/net", json!([{"introduced": "0"}, {"fixed": "0.38.0"}])),
                {"package": {"ecosystem": "npm", "name": "golang.org/x/net"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}]}),
        json!({"id": "GO-2026-2", "aliases": ["GHSA-bbbb"], "affected": [affected("golang.org/x/net", json!([{"introduced": "0"}, {"fixed": "0.36.0"}]))]}),
        json!({"id": "GHSA-cccc", "aliases": [], "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
            "affected": [affected("k8s.io/kubernetes", json!([{"introduced": "0"}, {"last_affected": "1.5.0"}]))]}),
        json!({"id": "GO-2026-3", "withdrawn": "2026-01-01T00:00:00Z", "affected": [affected("stdlib", json!([{"introduced": "0"}]))]}),
        json!({"id": "GO-2026-4", "affected": [affected("k8s.io/kubernetes", json!([{"introduced": "0"}, {"fixed": "1.5.1"}]))]}),
        json!({"id": "CVE-2026-1", "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]}),
        json!({"id": "GO-2026-5", "affected": [{"package": {"ecosystem": "Go", "name": "a.test/listed"}, "versions": ["v0.1.0", "0.3.0"]}]}),
    ]
}

fn programs() -> Software {
    software(
        Vec::new(),
        vec![
            module("kubelet", "stdlib", "1.26.1"),
            module("kubelet", "golang.org/x/net", "0.35.0"),
            module("kubelet", "k8s.io/kubernetes", "1.5.0"),
            module("etcd", "stdlib", "1.25.8"),
            module("etcd", "golang.org/x/net", "0.37.0"),
            module("etcd", "a.test/listed", "0.3.0"),
            module("etcd", "a.test/listed", "0.2.0"),
        ],
    )
}

fn of_programs(osv: &[u8]) -> Vec<String> {
    let software = programs();
    lines(&report(&software, &read(&software, None, Some(osv)).unwrap()))
}

#[test]
fn a_module_is_affected_by_its_version() {
    let expected = [
        "GHSA-cccc critical kubelet open [k8s.io/kubernetes 1.5.0>-] -",
        "CVE-2026-8 medium etcd open [golang.org/x/net 0.37.0>0.38.0] needs a release with the fixed module",
        "CVE-2026-8 medium kubelet open [golang.org/x/net 0.35.0>0.38.0] needs a release with the fixed module",
        "CVE-2026-7 unknown kubelet open [stdlib 1.26.1>1.26.2] needs a release with the fixed module",
        "GO-2026-4 unknown kubelet fixable [k8s.io/kubernetes 1.5.0>1.5.1] -",
        "GO-2026-5 unknown etcd open [a.test/listed 0.3.0>-] -",
    ];
    let list = json!(records()).to_string();
    assert_eq!(of_programs(list.as_bytes()), expected, "a list");
    let names: Vec<String> = (0..).map(|number| format!("{number}.json")).take(records().len()).collect();
    let texts: Vec<String> = records().iter().map(Value::to_string).collect();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(texts.iter().map(String::as_bytes)).collect();
    files.push(("README.md", b"no record"));
    assert_eq!(of_programs(&zipped(&files)), expected, "a zip archive");
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, bytes) in files.iter().rev() {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, format!("osv/{name}"), *bytes).unwrap();
    }
    assert_eq!(of_programs(&tar.into_inner().unwrap().finish().unwrap()), expected, "a tar archive, in another order");
    assert_eq!(of_programs(records()[5].to_string().as_bytes()), expected[4..5], "one record");
}

/// Modules whose tags do not follow Go's rules have ranges of the product's own versions beside the module's.
#[test]
fn a_product_s_own_ranges_narrow_those_of_its_module() {
    let specific = json!({"custom_ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.4.0"}, {"fixed": "1.4.9"}]}]});
    let record = json!({"id": "GO-2026-1", "affected": [{"package": {"ecosystem": "Go", "name": "a.test/x"}, "ecosystem_specific": specific,
        "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}]});
    for (version, expected) in
        [("1.3.0", None), ("1.4.1", Some("1.4.9")), ("1.5.0", None), ("0.0.0-20260101000000-abcdef123456", Some("-")), ("devel", Some("-"))]
    {
        let software = software(Vec::new(), vec![module("x", "a.test/x", version)]);
        let found = report(&software, &read(&software, None, Some(record.to_string().as_bytes())).unwrap()).findings;
        let fixed = found.first().map(|finding| finding.parts[0].fixed.clone().unwrap_or_else(|| "-".to_owned()));
        assert_eq!(fixed.as_deref(), expected, "{version}");
    }
}

#[test]
fn debian_and_osv_complete_each_other() {
    let mut inner = module("containerd", "stdlib", "1.26.1");
    inner.inside = Inside::Debian { source: "containerd".to_owned(), release: "trixie".to_owned() };
    let software = software(vec![package("containerd", "1-1")], vec![inner, module("kubelet", "stdlib", "1.26.1")]);
    let state = |status: &str, fixed: Option<&str>, urgency: &str| json!({"releases": {"trixie": {"status": status, "fixed_version": fixed, "urgency": urgency, "repositories": {}}}});
    let found = |issues: Value| {
        let file = tracker_of("containerd", issues);
        lines(&report(&software, &read(&software, Some(&file), Some(json!(records()).to_string().as_bytes())).unwrap()))
    };
    assert_eq!(
        found(json!({"CVE-2026-1": state("open", None, "not yet assigned"), "CVE-2026-7": state("resolved", Some("1-1"), "high")})),
        [
            "CVE-2026-1 high containerd open [containerd 1-1>-] -",
            "CVE-2026-7 high kubelet open [stdlib 1.26.1>1.26.2] needs a release with the fixed module",
        ],
        "a severity from the other's record; Debian's word on its own package comes first"
    );
    assert_eq!(
        found(json!({}))[..1],
        ["CVE-2026-7 unknown containerd open [stdlib 1.26.1>1.26.2] needs a release with the fixed module"],
        "Debian says nothing about it"
    );
}

const VEX: &str = r#"
[[statement]]
vulnerability = "GHSA-bbbb"
products = ["kubelet", "nothing"]
status = "not_affected"
justification = "vulnerable_code_not_in_execute_path"
reason = "no HTTP/2 server"

[[statement]]
vulnerability = "CVE-2026-7"
products = ["kubelet"]
status = "under_investigation"

[[statement]]
vulnerability = "CVE-2026-7"
products = ["etcd"]
status = "fixed"
"#;

fn judged() -> (Report, BTreeSet<usize>) {
    let software = programs();
    let mut report = report(&software, &read(&software, None, Some(json!(records()).to_string().as_bytes())).unwrap());
    let matched = Vex::parse("vex.toml", VEX).unwrap().apply(&mut report);
    (report, matched)
}

#[test]
fn statements_judge_the_findings_that_they_name() {
    let (report, matched) = judged();
    assert_eq!(matched, [0, 1].into(), "the last one matches nothing");
    let found = lines(&report);
    for line in [
        "CVE-2026-8 medium kubelet not applicable [golang.org/x/net 0.35.0>0.38.0] not_affected: vulnerable_code_not_in_execute_path",
        "CVE-2026-8 medium etcd open [golang.org/x/net 0.37.0>0.38.0] needs a release with the fixed module",
        "CVE-2026-7 unknown kubelet open [stdlib 1.26.1>1.26.2] under_investigation",
    ] {
        assert!(found.iter().any(|found| found == line), "{line} is not in {found:#?}");
    }
    assert_eq!([Status::Fixable, Status::Open, Status::NotApplicable].map(|status| report.count(status)), [1, 4, 1]);
}

#[test]
fn mistakes_in_statements_name_their_place() {
    for (from, to, words) in [
        ("justification = \"vulnerable_code_not_in_execute_path\"\n", "", "has no key `justification`"),
        (
            "vulnerable_code_not_in_execute_path",
            "because",
            "bad `justification`: `because` is not a justification: expected component_not_present",
        ),
        ("\"not_affected\"", "\"not affected\"", "expected not_affected, fixed, under_investigation, affected"),
        (
            "status = \"fixed\"",
            "status = \"fixed\"\njustification = \"component_not_present\"",
            "belongs to the status `not_affected` only",
        ),
        ("products = [\"etcd\"]\n", "", "has no key `products`"),
        ("vulnerability = \"GHSA", "vulnerabilty = \"GHSA", "did you mean `vulnerability`?"),
        ("\"no HTTP/2 server\"", "\"a\\nb\"", "one line of text"),
    ] {
        let text = VEX.replacen(from, to, 1);
        assert_ne!(text, VEX, "{from}");
        let error = Vex::parse("vex.toml", &text).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("vex.toml:"), "{words} is not in {error}");
    }
}

#[test]
fn an_openvex_document_has_every_finding_once() {
    let (report, _) = judged();
    let epoch = Epoch::from_seconds(1_767_225_600).unwrap();
    let document = openvex([&report, &report], epoch);
    assert_eq!(document, openvex([&report], epoch), "roles share packages");
    assert_eq!((&document["@context"], &document["timestamp"]), (&json!("https://openvex.dev/ns/v0.2.0"), &json!("2026-01-01T00:00:00Z")));
    assert!(document["@id"].as_str().unwrap().starts_with("urn:uuid:"));
    let statements = document["statements"].as_array().unwrap();
    assert_eq!(statements.len(), report.findings.len());
    let of = |id: &str, product: &str| {
        let has = |statement: &&Value| statement["vulnerability"]["name"] == id && statement["products"].to_string().contains(product);
        statements.iter().find(has).unwrap_or_else(|| panic!("{id} {product}: {document:#}"))
    };
    assert_eq!(
        *of("CVE-2026-8", "0.35.0"),
        json!({
            "vulnerability": {"name": "CVE-2026-8", "aliases": ["GHSA-bbbb", "GO-2026-2"]},
            "products": [{"@id": "pkg:golang/golang.org/x/net@v0.35.0", "identifiers": {"purl": "pkg:golang/golang.org/x/net@v0.35.0"}}],
            "status": "not_affected",
            "justification": "vulnerable_code_not_in_execute_path",
            "impact_statement": "no HTTP/2 server",
        })
    );
    assert_eq!(of("CVE-2026-7", "1.26.1")["status"], "under_investigation");
    let fixable = of("GO-2026-4", "kubernetes");
    assert_eq!((&fixable["status"], &fixable["action_statement"]), (&json!("affected"), &json!("update kubelet to 1.5.1")));
    for statement in statements {
        let needs = match statement["status"].as_str().unwrap() {
            "not_affected" => "impact_statement",
            "affected" => "action_statement",
            _ => continue,
        };
        assert!(statement[needs].is_string(), "OpenVEX demands `{needs}`: {statement}");
    }
}

#[test]
fn a_move_fixes_what_the_new_lock_does_not_have() {
    let shipped = include_str!("../../../lockfiles/upstream.lock");
    let old = Lock::parse(shipped, "old").unwrap();
    let entry = old.entries().find(|entry| entry.source_name() == "openssl").unwrap();
    let (source, version) = ("openssl", entry.version.to_string());
    let newer = format!("{version}+fix");
    let kubernetes =
        old.artifacts.values().find(|artifact| artifact.name.as_str() == "kubelet").unwrap().version.clone().unwrap().to_string();
    let text = shipped.replace(&format!("version = \"{version}\""), &format!("version = \"{newer}\""));
    let text = text.replace(&format!("version = \"{kubernetes}\""), "version = \"99.0.0\"");
    let new = Lock::parse(&text, "new").unwrap();
    let state = |fixed: Option<&str>| json!({"releases": {old.codename().to_owned(): {"status": "open", "fixed_version": fixed, "urgency": "low"}}});
    let file = tracker_of(
        source,
        json!({
            "CVE-2026-1": state(Some(&newer)), "CVE-2026-2": state(None), "CVE-2026-3": state(Some(&version)), "CVE-2026-4": state(Some("0")),
        }),
    );
    let record = json!({"id": "GO-2026-1", "aliases": ["CVE-2026-9"], "affected": [{"package": {"ecosystem": "Go", "name": "k8s.io/kubernetes"},
        "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "99.0.0"}]}]}]});
    let wanted = Wanted::of(&[super::software(&old), super::software(&new)]);
    let mut advisories = Advisories::default();
    advisories.add(Format::DebianTracker, "debian", file.to_string().as_bytes(), &wanted).unwrap();
    advisories.add(Format::Osv, "go", record.to_string().as_bytes(), &wanted).unwrap();
    let fixed: Vec<String> = fixed_by(&advisories, &old, &new).iter().map(Fixed::to_string).collect();
    assert!(fixed.contains(&"fixes   openssl: CVE-2026-1".to_owned()), "{fixed:?}");
    assert!(fixed.contains(&"fixes   kubelet: CVE-2026-9".to_owned()), "{fixed:?}");
    assert_eq!(fixed_by(&advisories, &old, &old), [], "nothing has moved");
    assert_eq!(fixed_by(&advisories, &new, &old), [], "a step back fixes nothing");
}

#[test]
fn hostile_files_are_refused_and_unknown_ones_tolerated() {
    let software = software(vec![package("openssl", "1-1")], vec![module("x", "a.test/x", "1.0.0")]);
    let wanted = Wanted::of([&software]);
    let add = |format, bytes: &[u8]| Advisories::default().add(format, "the file", bytes, &wanted);
    let deep = "[".repeat(1 << 20);
    let state = |text: &str| format!(r#"{{"openssl": {{"CVE-2026-1": {{"releases": {{"trixie": {text}}}}}}}}}"#);
    let record = |text: &str| format!(r#"[{{"id": "GO-1"}}, {{"id": "GO-2", {text}}}]"#);
    for (format, text, words) in [
        (Format::DebianTracker, String::new(), "EOF"),
        (Format::DebianTracker, "[]".to_owned(), "an object of source packages"),
        (Format::DebianTracker, r#"{"openssl": []}"#.to_owned(), "an object of vulnerabilities of openssl"),
        (Format::DebianTracker, r#"{"openssl": {"CVE-2026-1": {}}}"#.to_owned(), "CVE-2026-1 of openssl: missing field `releases`"),
        (Format::DebianTracker, state(r#"{"urgency": "low"}"#), "CVE-2026-1 of openssl: missing field `status`"),
        (
            Format::DebianTracker,
            state(r#"{"status": "open", "fixed_version": "a b"}"#),
            "CVE-2026-1 of openssl: `a b` is not a Debian version",
        ),
        (Format::DebianTracker, state(r#"{"status": 1}"#), "CVE-2026-1 of openssl: invalid type"),
        (Format::DebianTracker, state(&format!(r#"{{"status": "open", "x": {deep}"#)), "CVE-2026-1 of openssl: "),
        (Format::DebianTracker, format!(r#"{{"other": {deep}"#), "the file is not the JSON"),
        (Format::DebianTracker, "{} {}".to_owned(), "trailing characters"),
        (Format::Osv, deep.clone(), "recursion limit"),
        (Format::Osv, "[{}]".to_owned(), "a record without an id cannot be read"),
        (Format::Osv, "{\"id\": \"GO-1\"".to_owned(), "EOF"),
        (Format::Osv, record(r#""affected": [{"package": {"name": "x"}}]"#), "the record GO-2 cannot be read\n  missing field `ecosystem`"),
        (Format::Osv, record(r#""affected": [{"ranges": [{"events": []}]}]"#), "the record GO-2 cannot be read\n  missing field `type`"),
        (Format::Osv, record(r#""aliases": "x""#), "the record GO-2 cannot be read"),
    ] {
        let error = add(format, text.as_bytes()).unwrap_err();
        let said = error.to_string();
        assert_eq!(error.class(), Class::User, "{said}");
        assert!(said.contains("the file") && said.contains(words), "{words} is not in {said}");
    }
    for (format, bytes) in [(Format::DebianTracker, &b"{\"openssl\": {\"CVE-\xff\": {}}}"[..]), (Format::Osv, b"{\"id\": \"\xff\"}")] {
        assert!(add(format, bytes).unwrap_err().message().contains("the file"));
    }
    let bomb = zipped(&[("a.json", &vec![b' '; 17 << 20])]);
    assert!(add(Format::Osv, &bomb).unwrap_err().to_string().contains("bomb"));
    assert!(add(Format::Osv, &zipped(&[("/a.json", b"{}")])).unwrap_err().to_string().contains("relative path"));
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(17 << 20);
    tar.append_data(&mut header, "a.json", &vec![b' '; 17 << 20][..]).unwrap();
    let bomb = tar.into_inner().unwrap().finish().unwrap();
    assert_eq!(add(Format::Osv, &bomb).unwrap_err().class(), Class::Integrity);
    assert!(add(Format::Osv, b"neither of them").is_err());
    for (format, text) in [
        (
            Format::DebianTracker,
            state(r#"{"status": "new", "x": [1], "urgency": null, "repositories": null, "nodsa": null, "fixed_version": null}"#),
        ),
        (Format::DebianTracker, "{}".to_owned()),
        (
            Format::Osv,
            record(r#""aliases": null, "affected": [{"x": 1}, {"package": {"ecosystem": "Go", "name": "x"}, "versions": null}], "y": {}"#),
        ),
        (
            Format::Osv,
            record(
                r#""affected": [{"package": {"ecosystem": "Go", "name": "x"}, "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}, {"type": "NEW", "events": [{"limit": 1}]}]}]"#,
            ),
        ),
    ] {
        add(format, text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
}

/// A range that cannot be understood may hold every version.
#[test]
fn a_version_that_cannot_be_ordered_counts_as_affected() {
    let software = software(Vec::new(), vec![module("x", "a.test/x", "1.0.0")]);
    for events in [json!([{"introduced": "one"}]), json!([{"introduced": "0"}, {"fixed": 1}])] {
        let record = json!({"id": "GO-1", "affected": [{"package": {"ecosystem": "Go", "name": "a.test/x"}, "ranges": [{"type": "SEMVER", "events": events}]}]});
        let found = report(&software, &read(&software, None, Some(record.to_string().as_bytes())).unwrap());
        assert_eq!(found.findings.len(), 1, "{record}");
    }
}
