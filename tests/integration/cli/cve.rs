//! `kbake cve`: advisories on loopback, pinned and read from local files.

use serde_json::{Value, json};

use super::*;
use crate::support::shared::go::go_program;
use crate::support::site::store_of;

/// A package with a Go program, and one without.
fn packages() -> [(&'static str, Vec<u8>); 3] {
    let program = go_program("path\ta.test/tool\nmod\ta.test/tool\tv1.0.0\th1:x=\ndep\tgolang.org/x/net\tv0.35.0\th1:y=\n");
    let mut data = ::tar::Builder::new(Vec::new());
    for (folder, kind) in [("./", ::tar::EntryType::Directory), ("./usr/", ::tar::EntryType::Directory)] {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(0);
        data.append_data(&mut header, folder, &b""[..]).unwrap();
    }
    let mut header = ::tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    data.append_data(&mut header, "./usr/tool", &program[..]).unwrap();
    let control = |name: &str| format!("Package: {name}\nVersion: 1\nArchitecture: all\n");
    [
        (ONE, deb(&control("one"), &tar(&[("./", ::tar::EntryType::Directory, "")]))),
        (TWO, deb(&control("two"), &data.into_inner().unwrap())),
        (TOOL, contents(TOOL)),
    ]
}

/// The tracker's file: `one` can be updated in one case.
fn tracker() -> String {
    let state = |status: &str, fixed: Option<&str>, urgency: &str| {
        json!({"releases": {"bookworm": {"status": status, "fixed_version": fixed, "urgency": urgency, "nodsa": "Minor issue",
            "nodsa_reason": "postponed", "repositories": {"bookworm": "1", "bookworm-security": "1+deb12u1"}}}})
    };
    json!({"one": {
        "CVE-2026-1": state("resolved", Some("1+deb12u1"), "high"),
        "CVE-2026-2": state("open", None, "low"),
        "CVE-2026-3": state("resolved", Some("0"), "high"),
        "CVE-2026-4": state("resolved", Some("1"), "high"),
    }})
    .to_string()
}

fn records() -> String {
    json!([{"id": "GHSA-aaaa", "aliases": ["CVE-2026-5"], "database_specific": {"severity": "CRITICAL"}, "affected": [
        {"package": {"ecosystem": "Go", "name": "golang.org/x/net"},
         "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "0.38.0"}]}]}]}])
    .to_string()
}

/// A site whose packages are fetched, and the server of its advisories, which are not pinned yet.
fn site() -> (Site, Web) {
    let (site, web) = (Site::new(), Web::start());
    let packages = packages();
    site.lock(&packages.each_ref().map(|(path, bytes)| (*path, &bytes[..])));
    for (path, bytes) in packages {
        web.answer(path, Answer::File(bytes));
    }
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    let base = &web.base;
    site.write(
        "recipes/advisories.toml",
        &format!("[advisories.debian]\nformat = \"debian-security-tracker\"\nurl = \"{base}tracker.json\"\n\n[advisories.go]\nformat = \"osv\"\nurl = \"{base}go.json\"\n"),
    );
    publish(&web, &tracker(), &records());
    (site, web)
}

fn publish(web: &Web, tracker: &str, records: &str) {
    web.answer("tracker.json", Answer::File(tracker.into()));
    web.answer("go.json", Answer::File(records.into()));
}

const TABLE: &str = "\
VULNERABILITY  SEVERITY  PRODUCT: STATE
CVE-2026-5     critical  two: open: golang.org/x/net 0.35.0 → 0.38.0; needs a
                         release with the fixed module
CVE-2026-1     high      one: fixable: 1 → 1+deb12u1
CVE-2026-2     low       one: open: 1; postponed

etcd: 1 fixable, 2 open, 1 not applicable
";

#[test]
fn pinned_advisories_answer_for_a_role_without_network() {
    let (site, web) = site();
    says(
        &site.fails(1, &["cve", "etcd"]),
        &[
            "the advisories `debian` are not pinned in lockfiles/advisories.lock",
            "hint: `kbake cve --update --channel debian` fetches",
            "hint: or read a local file: `kbake cve etcd --advisories debian=FILE --channel debian`",
        ],
    );
    site.succeeds(&["cve", "--update"]);
    let pins = site.read("lockfiles/advisories.lock");
    says(&pins, &["name = \"debian\"", &format!("size = {}\nsha256 = \"{}\"", records().len(), Sha256::of(records()))]);
    let asked = web.requests().len();
    for args in [&["cve", "etcd"][..], &["cve", "etcd", "--offline"]] {
        assert_eq!(site.succeeds(args), TABLE);
    }
    assert_eq!(web.requests().len(), asked, "the store has the pinned bytes");
    let all = site.succeeds(&["cve", "etcd", "--all"]);
    says(&all, &["CVE-2026-3     high      one: not applicable: Debian: this release is not"]);
    let found: Value = serde_json::from_str(&site.succeeds(&["cve", "etcd", "--format", "json"])).unwrap();
    assert_eq!((&found["roles"][0]["role"], &found["roles"][0]["open"]), (&json!("etcd"), &json!(2)));
    assert_eq!(found["roles"][0]["findings"][0]["parts"][0]["purls"], json!(["pkg:golang/golang.org/x/net@v0.35.0"]));
    // Garbage collection keeps the pinned bytes as long as there are pins.
    site.succeeds(&["gc"]);
    assert_eq!(site.succeeds(&["cve", "etcd", "--offline"]), TABLE);
    assert_eq!(site.read("lockfiles/advisories.lock"), pins);
    // The pins are no channel's lockfile.
    for args in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "all"]] {
        let mut git = Command::new("git");
        git.arg("-C").arg(site.path("")).args(["-c", "user.name=t", "-c", "user.email=t@t.test", "-c", "commit.gpgsign=false"]).args(args);
        assert!(git.status().expect("git is missing: run tests/setup.sh").success());
    }
    assert_eq!(site.succeeds(&["diff", "HEAD"]), "");
}

#[test]
fn newer_advisories_are_taken_on_demand_only() {
    let (site, web) = site();
    site.succeeds(&["cve", "--update"]);
    let pins = site.read("lockfiles/advisories.lock");
    publish(&web, "{}", &records());
    assert_eq!(site.succeeds(&["cve", "etcd"]), TABLE, "the same inputs give the same answer");
    // Another host has the pins, and not the bytes.
    let other = site.kbake(&["cve", "etcd", "--store", "other"]).output().unwrap();
    let said = said_by(&other);
    assert!([3, 4].contains(&other.status.code().unwrap()), "{said}");
    says(
        &said,
        &["advisories debian", "hint: publishers replace their advisories daily: `kbake cve --update --store other --channel debian`"],
    );
    assert!(!said.contains("kbake lock") && !said.contains("artifact:"), "a command that does not help:\n{said}");
    // Damaged bytes are not what they look like.
    let blob = store_of(&site).join("blobs/sha256").join(Sha256::of(tracker()).to_string());
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, tracker().replace("high", "low!")).unwrap();
    says(&site.fails(4, &["cve", "etcd", "--offline"]), &["is damaged"]);
    // A file that cannot be read replaces no pin.
    publish(&web, "no JSON", &records());
    says(&site.fails(1, &["cve", "--update"]), &["is not the JSON of Debian's security tracker"]);
    assert_eq!(site.read("lockfiles/advisories.lock"), pins);
    publish(&web, "{}", "[]");
    assert_eq!(site.succeeds(&["cve", "--update", "etcd"]), "etcd: 0 fixable, 0 open, 0 not applicable\n");
    assert_ne!(site.read("lockfiles/advisories.lock"), pins);
}

#[test]
fn local_files_are_read_in_place_of_pins() {
    let (site, _web) = site();
    site.write("t.json", &tracker());
    site.write("go.json", &records());
    let args = ["cve", "etcd", "--offline", "--advisories", "debian=t.json", "--advisories", "go=go.json"];
    assert_eq!(site.succeeds(&args), TABLE);
    assert!(!site.path("lockfiles/advisories.lock").exists(), "nothing is written");
    says(&site.fails(1, &["cve", "etcd", "--advisories", "debain=t.json"]), &["unknown advisories `debain`", "known: debian, go"]);
    says(&site.fails(1, &["cve", "etcd", "--advisories", "debian=no.json"]), &["no.json"]);
    site.write("t.json", r#"{"one": {"CVE-2026-1": {}}}"#);
    says(&site.fails(1, &args), &["t.json is not the JSON", "CVE-2026-1 of one: missing field `releases`"]);
}

#[test]
fn a_level_decides_the_exit_code() {
    let (site, _web) = site();
    site.succeeds(&["cve", "--update"]);
    let run = |args: &[&str]| {
        let output = site.kbake(&[&["cve", "etcd"], args].concat()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout.clone()).unwrap(), said_by(&output))
    };
    for (level, code, words) in [
        ("fixable", 6, "1 known vulnerability is fixable"),
        ("critical", 6, "1 known vulnerability is critical"),
        ("high", 6, "2 known vulnerabilities are of high severity or worse"),
        ("low", 6, "3 known vulnerabilities are of low severity or worse"),
        ("any", 6, "3 known vulnerabilities are open or fixable"),
    ] {
        let (found, table, said) = run(&["--fail-on", level]);
        assert_eq!((found, &table[..]), (code, TABLE), "{level}: {said}");
        says(&said, &[&format!("error: {words}")]);
    }
    site.write(
        "recipes/vex.toml",
        "[[statement]]\nvulnerability = \"CVE-2026-5\"\nproducts = [\"two\"]\nstatus = \"not_affected\"\n\
         justification = \"vulnerable_code_not_present\"\nreason = \"tried\"\n\
         [[statement]]\nvulnerability = \"CVE-1999-1\"\nproducts = [\"two\"]\nstatus = \"fixed\"\n",
    );
    let (code, table, said) = run(&["--fail-on", "critical"]);
    assert_eq!(code, 0, "{said}");
    assert!(table.ends_with("\netcd: 1 fixable, 1 open, 2 not applicable\n"), "{table}");
    says(&said, &["note: recipes/vex.toml: CVE-1999-1 in two matches nothing here"]);
    let vex: Value = serde_json::from_str(&site.succeeds(&["cve", "etcd", "--format", "openvex"])).unwrap();
    let statements = vex["statements"].as_array().unwrap();
    let judged = statements.iter().find(|statement| statement["vulnerability"]["name"] == "CVE-2026-5").unwrap();
    assert_eq!((&judged["status"], &judged["impact_statement"]), (&json!("not_affected"), &json!("tried")));
    site.write("recipes/vex.toml", "[[statement]]\nvulnerability = \"CVE-2026-5\"\nstatus = \"fixed\"\n");
    says(&site.fails(1, &["cve", "etcd"]), &["recipes/vex.toml:", "has no key `products`"]);
}

#[test]
fn missing_inputs_and_projects_are_named() {
    let (site, _web) = site();
    site.succeeds(&["cve", "--update"]);
    let pins = site.read("lockfiles/advisories.lock");
    says(
        &site.fails(
            1,
            &["cve", "etcd", "--store", "other", "--offline", "--advisories", "debian=/dev/null", "--advisories", "go=/dev/null"],
        ),
        &["2 inputs of `etcd` are not in the store", "run `kbake fetch etcd"],
    );
    assert_eq!(site.read("lockfiles/advisories.lock"), pins);
    says(&site.fails(2, &["cve"]), &["<ROLE>"]);
    let empty = tempfile::tempdir().unwrap();
    let mut command = site.kbake(&["cve", "--update", "--channel", "upstream"]);
    let output = command.current_dir(empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    says(&said_by(&output), &["there is no project here", "kbake init", "--advisories debian=FILE --advisories go=FILE"]);
    // The pins' file belongs to no channel.
    site.write("recipes/sources/advisories.toml", "channel = \"advisories\"\nbase = \"debian\"\n");
    says(&site.fails(1, &["lock", "--channel", "advisories"]), &["a channel cannot be called `advisories`"]);
}
