//! The output of commands for machines (`--json`) and for people (the table), neither of which has a password.

mod raw;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use kbake::value::Sha256;
use raw::{Raw, Then};
use serde_json::Value;

use crate::support::site::{ONE, Site, TOOL, TWO, contents, mirror, says};
use crate::support::web::{Answer, Web};
use crate::support::{ROOT, program};

const OUTCOMES: [&str; 10] = ["cached", "fetched", "built", "written", "imported", "verified", "damaged", "repaired", "removed", "failed"];

/// The events on stdout, each checked against docs/ci.md.
fn events(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    for (n, event) in events.iter().enumerate() {
        let keys: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
        let word = event["event"].as_str().unwrap();
        let expected: &[&str] = match word {
            "result" if keys.contains("data") => &["event", "data"],
            "result" => &["event", "text"],
            "done" => &["event", "seconds", "totals"],
            "error" => &["event", "class", "exit", "message", "details", "hints"],
            _ if keys.contains("path") => &["event", "kind", "name", "path", "digest", "bytes", "seconds"],
            _ => &["event", "kind", "name", "digest", "bytes", "seconds"],
        };
        assert_eq!(keys, expected.iter().copied().collect(), "{event}");
        assert_eq!(["done", "error"].contains(&word), n + 1 == events.len(), "the last event, and only that, says how it ended: {text}");
        if !["done", "error", "result"].contains(&word) {
            assert!(OUTCOMES.contains(&word), "{event}");
            assert!(event["name"].is_string() && event["kind"].is_string() && event["seconds"].as_f64().unwrap() >= 0.0, "{event}");
            assert!(event["digest"].is_null() || event["digest"].as_str().unwrap().starts_with("sha"), "{event}");
            assert!(event["bytes"].is_null() || event["bytes"].is_u64(), "{event}");
        }
    }
    if let Some(done) = events.last().filter(|last| last["event"] == "done") {
        assert_eq!(done["totals"], sums(&events), "{text}");
    }
    let last = events.last().expect("there is always a last event");
    assert_eq!(last["event"] == "done", output.status.success(), "{last}");
    assert!(last["event"] == "done" || last["exit"] == output.status.code().unwrap(), "{last}");
    events
}

/// The expected `totals`.
fn sums(events: &[Value]) -> Value {
    let mut sums: BTreeMap<&str, BTreeMap<&str, (u64, u64, u64)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["kind"].is_string()) {
        let sum = sums.entry(event["event"].as_str().unwrap()).or_default().entry(event["kind"].as_str().unwrap()).or_default();
        let milliseconds = (event["seconds"].as_f64().unwrap() * 1000.0).round() as u64;
        *sum = (sum.0 + 1, sum.1 + event["bytes"].as_u64().unwrap_or(0), sum.2 + milliseconds);
    }
    let sum = |(items, bytes, ms): (u64, u64, u64)| serde_json::json!({"items": items, "bytes": bytes, "seconds": ms as f64 / 1000.0});
    let kinds =
        |kinds: BTreeMap<&str, _>| kinds.into_iter().map(|(kind, of)| (kind.to_owned(), sum(of))).collect::<serde_json::Map<_, _>>();
    Value::Object(sums.into_iter().map(|(event, of)| (event.to_owned(), Value::Object(kinds(of)))).collect())
}

/// `event kind name` of every item's event, sorted.
fn told(events: &[Value]) -> Vec<String> {
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let line = |event: &Value| format!("{} {} {}", word(event, "event"), word(event, "kind"), word(event, "name"));
    let mut told: Vec<String> = events.iter().filter(|event| event["kind"].is_string()).map(line).collect();
    told.sort();
    told
}

fn run(site: &Site, args: &[&str]) -> Output {
    site.kbake(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_fetch_tells_each_package_once() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    let cold = run(&site, &["fetch", "etcd", "--json", "--mirror", &web.base]);
    let found = events(&cold);
    assert_eq!(told(&found), ["fetched input mmdebstrap", "fetched input one", "fetched input two"]);
    let one = found.iter().find(|event| event["name"] == "one").unwrap();
    assert_eq!(one["digest"], format!("sha256:{}", Sha256::of(contents(ONE))));
    assert_eq!(one["bytes"], contents(ONE).len());
    says(&stderr(&cold), &["etcd: 3 packages and 0 artifacts are in the store"]);
    // A second time, when everything is in the store; then a part of it.
    let warm = events(&run(&site, &["fetch", "etcd", "--json", "--offline"]));
    assert_eq!(told(&warm), ["cached input mmdebstrap", "cached input one", "cached input two"]);
    fs::remove_file(site.path(&format!("home/.cache/kbake/blobs/sha256/{}", Sha256::of(contents(TWO))))).unwrap();
    let part = events(&run(&site, &["fetch", "etcd", "--json", "--mirror", &web.base]));
    assert_eq!(told(&part), ["cached input mmdebstrap", "cached input one", "fetched input two"]);
    fs::remove_file(site.path(&format!("home/.cache/kbake/blobs/sha256/{}", Sha256::of(contents(TWO))))).unwrap();
    let offline = events(&run(&site, &["fetch", "etcd", "--json", "--offline"]));
    assert_eq!(told(&offline), ["cached input mmdebstrap", "cached input one", "failed input two"]);
    assert_eq!(offline.last().unwrap()["class"], "network");
}

#[test]
fn every_failure_is_the_last_event() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[TWO, TOOL]);
    web.answer(ONE, Answer::File(vec![b'x'; contents(ONE).len()]));
    let found = events(&run(&site, &["fetch", "etcd", "--json", "--mirror", &web.base]));
    assert!(told(&found).contains(&"failed input one".to_owned()), "{found:?}");
    let last = found.last().unwrap();
    assert_eq!((&last["class"], &last["exit"]), (&"integrity".into(), &4.into()));
    says(last["message"].as_str().unwrap(), &["hash mismatch for `one`"]);
    assert!(last["hints"][0].as_str().unwrap().contains("kbake lock --upgrade package:one"), "{last}");
    assert!(last["details"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("found sha256:")), "{last}");

    for (args, class, exit) in [
        (&["build", "etdc", "--json"][..], "user", 1),
        (&["--json", "plan", "nothing"], "user", 1),
        (&["biuld", "--json"], "usage", 2),
        (&["fetch", "--json"], "usage", 2),
        (&["fetch", "etcd", "--json", "--store", "/proc/none"], "user", 1),
    ] {
        let output = run(&site, args);
        let last = events(&output).pop().unwrap();
        assert_eq!((&last["class"], &last["exit"]), (&class.into(), &exit.into()), "{args:?}");
        assert!(!stderr(&output).is_empty(), "people are told, too");
    }
    assert!(run(&site, &["biuld"]).stdout.is_empty(), "who does not ask for events gets none");
    assert!(run(&site, &["plan", "etcd", "--", "--json"]).stdout.is_empty(), "nor whose `--json` is no option");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = site.kbake(&["fetch", "etcd", "--json", "--offline"]).stdout(full).output().unwrap();
    assert!(!output.status.success(), "events that cannot be written are no success");
}

#[test]
fn results_are_events_too() {
    let site = Site::new();
    for args in [&["plan", "etcd"][..], &["plan", "etcd", "--key"], &["sbom", "etcd"]] {
        let text = site.succeeds(args);
        let found = events(&run(&site, &[args, &["--json"]].concat()));
        let lines: Vec<&str> = found.iter().filter_map(|event| event["text"].as_str()).collect();
        assert_eq!(lines, text.lines().collect::<Vec<_>>());
        assert_eq!(found.len(), lines.len() + 1);
    }
    let checked = events(&run(&site, &["lock", "--check", "--json"]));
    assert_eq!(told(&checked), ["verified file lockfiles/debian.lock"]);
    assert_eq!(checked[0]["path"], "lockfiles/debian.lock");
    assert_eq!(checked[0]["digest"], format!("sha256:{}", Sha256::of(site.read("lockfiles/debian.lock"))));
}

/// The one result of a command that has it as data.
fn data(site: &Site, args: &[&str]) -> Value {
    let found = events(&run(site, &[args, &["--json"]].concat()));
    let results: Vec<&Value> = found.iter().filter(|event| event["event"] == "result").collect();
    assert_eq!(results.len(), 1, "{args:?}: {found:?}");
    results[0]["data"].clone()
}

#[test]
fn a_table_for_people_is_data_for_machines() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    assert_eq!(data(&site, &["roles"]), serde_json::json!([{"name": "etcd", "description": "a role"}]));
    let why = data(&site, &["why", "etcd"]);
    assert_eq!(why, serde_json::json!({"role": "etcd", "channel": "debian", "state": "never-built", "build": true}));
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    let store = data(&site, &["store"]);
    let inputs = store["classes"].as_array().unwrap().iter().find(|class| class["class"] == "input").unwrap();
    let bytes: usize = [ONE, TWO, TOOL].map(|path| contents(path).len()).iter().sum();
    assert_eq!((&inputs["count"], &inputs["bytes"]), (&3.into(), &bytes.into()), "{store}");
    let root = &store["roots"][0];
    assert_eq!((&root["role"], &root["kept_by"]), (&"etcd".into(), &"lockfile".into()), "{store}");
    assert!(store["free_bytes"].is_u64() && store["total"]["bytes"].as_u64().unwrap() >= bytes as u64, "{store}");

    fs::copy(std::path::Path::new(ROOT).join("recipes/clusters/kubenet.toml"), site.path("cluster.toml")).unwrap();
    let cluster = data(&site, &["cluster"]);
    assert_eq!(cluster["nodes"].as_array().unwrap().len(), 7, "{cluster}");
    let gateway = &cluster["nodes"][0];
    assert_eq!((&gateway["name"], &gateway["address"]), (&"gateway".into(), &"192.168.3.10".into()), "{gateway}");
    assert_eq!(cluster["api"]["url"], "https://192.168.3.21:6443");
    assert_eq!(gateway["memory_bytes"], 2u64 << 30);
    // `pki show` fails when nothing exists yet, and prints its rows all the same.
    let found = events(&run(&site, &["pki", "show", "--json"]));
    let rows = found[0]["data"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["state"] == "missing" && row["name"].is_string()), "{rows:?}");
    site.succeeds(&["pki", "init"]);
    let rows = data(&site, &["pki", "show"]);
    let rows = rows.as_array().unwrap();
    assert!(rows.iter().all(|row| row["state"] == "good"), "{rows:?}");
    assert!(rows.iter().any(|row| row["sans"].as_array().unwrap().contains(&"192.168.3.21".into())), "{rows:?}");
}

#[test]
fn tables_fit_80_columns() {
    let site = Site::new();
    fs::copy(std::path::Path::new(ROOT).join("recipes/clusters/kubenet.toml"), site.path("cluster.toml")).unwrap();
    site.succeeds(&["pki", "init"]);
    for args in [&["cluster"][..], &["pki", "show"]] {
        let text = site.succeeds(args);
        let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(widest.chars().count() <= 80, "{args:?}: {widest}\n{text}");
    }
}

#[test]
fn an_interrupted_command_says_so_at_its_end() {
    for signals in [1, 2] {
        let (site, web) = (Site::new(), Web::start());
        mirror(&web, &[TWO, TOOL]);
        web.answer(ONE, Answer::Stuck(contents(ONE), 600_000));
        let child = site.kbake(&["fetch", "etcd", "--json", "--mirror", &web.base]);
        let child = { child }.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let partial = site.path(&format!("home/.cache/kbake/tmp/partial-{}", Sha256::of(contents(ONE))));
        let start = Instant::now();
        while fs::metadata(&partial).map_or(0, |meta| meta.len()) == 0 {
            assert!(start.elapsed() < Duration::from_secs(300), "the download does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
        for _ in 0..signals {
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
            // Pending signals of one kind are delivered once.
            std::thread::sleep(Duration::from_millis(5));
        }
        let found = events(&child.wait_with_output().unwrap());
        let last = found.last().unwrap();
        assert_eq!((&last["class"], &last["exit"]), (&"interrupted".into(), &130.into()), "{signals} signals");
        assert!(told(&found).contains(&"failed input one".to_owned()), "what it has left begun: {found:?}");
    }
}

/// The text with every time in it as `0.0 s`.
fn masked(text: &str) -> String {
    let mask = |line: &str| match line.strip_suffix(" s").and_then(|line| line.rsplit_once(' ')) {
        Some((line, time)) if time.parse::<f64>().is_ok() => format!("{} 0.0 s\n", line.trim_end()),
        _ => format!("{line}\n"),
    };
    text.lines().map(mask).collect()
}

#[test]
fn people_get_a_table_at_the_end() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    let cold = run(&site, &["fetch", "etcd", "--mirror", &web.base]);
    assert!(cold.stdout.is_empty(), "stdout is for results");
    let end = "etcd: 3 packages and 0 artifacts are in the store\nfetched  3 inputs  3.9 MiB 0.0 s\ntotal 0.0 s\n";
    assert!(masked(&stderr(&cold)).ends_with(end), "{}", masked(&stderr(&cold)));
    let warm = run(&site, &["fetch", "etcd"]);
    let end = "etcd: 3 packages and 0 artifacts are in the store\nnothing to do: 3 inputs (3.9 MiB) already in the store; 0.0 s\n";
    assert_eq!(masked(&stderr(&warm)), end);
    assert_eq!(stderr(&run(&site, &["fetch", "etcd", "--quiet"])), "");
    assert!(!stderr(&run(&site, &["fetch", "etcd", "--json"])).contains("to do: "), "events have their totals");
    assert_eq!(stderr(&run(&site, &["plan", "etcd"])), "", "what only prints has no table");
}

#[test]
fn bars_and_events_do_not_mix_on_a_terminal() {
    let (site, web) = (Site::new(), Web::start());
    for path in [ONE, TWO, TOOL] {
        web.answer(path, Answer::Slow(contents(path), 500_000));
    }
    // Both streams are one terminal.
    let on_terminal = |options: &str| {
        let line = format!("{{}} fetch etcd --mirror {} {options}", web.base);
        let mut script = site.at_home(program::kbake_in_line("script", &["-qec"], &line, site.dir.path()));
        script.arg("/dev/null").env("TERM", "xterm");
        let output = script.output().unwrap_or_else(|e| panic!("script is missing: run tests/setup.sh ({e})"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        fs::remove_dir_all(site.path("home/.cache")).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let bars = on_terminal("");
    assert!(bars.contains('\u{1b}'), "the test would see a bar");
    let seen = bars.split(['\r', '\n']).map(|line| anstream::adapter::strip_str(line).to_string());
    seen.for_each(|line| assert!(line.chars().count() <= 80, "{line:?}"));
    let text = on_terminal("--json");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let is_event = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    assert_eq!(text.split("\r\n").filter(|line| line.contains("\"event\"")).map(is_event).collect::<Vec<_>>(), [true; 4], "{text}");
}

#[test]
fn messages_have_colours_where_a_terminal_wants_them() {
    let site = Site::new();
    let said = |variable: &str, on_terminal: bool| {
        let line = format!("env {variable} {{}} plan nothing");
        let (tool, words) = if on_terminal { ("script", ["-qec"]) } else { ("sh", ["-c"]) };
        let mut command = program::kbake_in_line(tool, &words, &line, site.dir.path());
        let output = command.args(on_terminal.then_some("/dev/null")).env("TERM", "xterm").output();
        let output = output.unwrap_or_else(|e| panic!("script is missing: run tests/setup.sh ({e})"));
        let text = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&text).contains("unknown role"), "{}", String::from_utf8_lossy(&text));
        text.contains(&0x1b)
    };
    for (variable, on_terminal, coloured) in [
        ("A=b", true, true),
        ("NO_COLOR=1", true, false),
        ("TERM=dumb", true, false),
        ("A=b", false, false),
        ("CLICOLOR_FORCE=1", false, true),
    ] {
        assert_eq!(said(variable, on_terminal), coloured, "{variable}, on a terminal: {on_terminal}");
    }
}

/// A password that no output may contain.
const SECRET: &str = "hunter2";

fn says_no_secret(what: &str, answer: Vec<u8>, then: Then, code: i32, json: bool) {
    let (site, server) = (Site::new(), Raw::start(answer, then));
    let mirror = format!("http://user:{SECRET}@{}/debian", server.address);
    let (output, peak) = raw::peak(site.kbake(&["fetch", "etcd", "--mirror", &mirror]).args(json.then_some("--json")));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{what}: {said}");
    assert!(!said.contains(SECRET), "{what}: {said}");
    assert!(said.contains(&server.address.to_string()), "the server itself is named: {what}: {said}");
    assert!(peak < 96 << 20, "{what}: it took {peak} bytes of memory");
    assert!(site.blobs().is_empty(), "{what}");
    if json {
        events(&output);
    }
    assert!(server.asked_with_login(), "{what}: but the server gets it");
}

#[test]
fn no_credential_is_said_whatever_servers_do() {
    let site = Site::new();
    let elsewhere = format!("http://user:{SECRET}@127.0.0.1:9/x?X-Amz-Signature={SECRET}#{SECRET}");
    let head = |line: String| format!("HTTP/1.1 302 Found\r\nLocation: {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let size = contents(ONE).len();
    let answers: Vec<(&str, Vec<u8>, Then, i32)> = vec![
        ("elsewhere", head(elsewhere.clone()).into(), Then::Close, 3),
        ("a loop", head(format!("/again?sig={SECRET}")).into(), Then::Close, 3),
        ("file:", head(format!("file:///etc/passwd?{SECRET}")).into(), Then::Close, 3),
        ("ftp:", head(format!("ftp://user:{SECRET}@127.0.0.1/x?{SECRET}")).into(), Then::Close, 3),
        ("data:", head(format!("data:text/plain,{SECRET}")).into(), Then::Close, 3),
        ("nonsense", head(format!("http://user:{SECRET}@[x/")).into(), Then::Close, 3),
        (
            "401",
            format!("HTTP/1.1 401 X\r\nWWW-Authenticate: Basic realm=\"{SECRET}\"\r\nContent-Length: 0\r\n\r\n").into(),
            Then::Close,
            3,
        ),
        ("a page", format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>{SECRET}").into(), Then::Close, 3),
        ("a wrong range", format!("HTTP/1.1 206 X\r\nContent-Range: {SECRET}\r\nContent-Length: 3\r\n\r\nabc").into(), Then::Close, 3),
        ("garbage", format!("{SECRET} {SECRET}\n").into(), Then::Close, 3),
        ("a reset", Vec::new(), Then::Reset, 3),
        (
            "wrong bytes",
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes(), vec![b'x'; size]].concat(),
            Then::Close,
            4,
        ),
        ("endless", b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Then::Endless, 3),
        ("an endless head", b"HTTP/1.1 200 OK\r\nX: ".to_vec(), Then::Endless, 3),
    ];
    // Some servers are asked five times, with pauses.
    std::thread::scope(|scope| {
        for (what, answer, then, code) in answers {
            let again = answer.clone();
            scope.spawn(move || says_no_secret(what, answer, then, code, false));
            scope.spawn(move || says_no_secret(what, again, then, code, true));
        }
    });
    // Invalid options and configuration.
    for (args, code) in [
        (vec!["fetch".to_owned(), "etcd".into(), "--mirror".into(), format!("ftp://user:{SECRET}@h.test/?{SECRET}")], 2),
        (vec!["fetch".to_owned(), "etcd".into(), "--rewrite".into(), format!("x=http://user:{SECRET}@h.test/")], 2),
        (vec!["fetch".to_owned(), "etcd".into(), "--registry-mirror".into(), format!("a/b=http://user:{SECRET}@h.test/")], 2),
        (vec!["lock".to_owned(), "--upgrade".into(), "--mirror".into(), format!("http://user:{SECRET}@127.0.0.1:9/debian/?{SECRET}")], 3),
    ] {
        for json in [false, true] {
            let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
            args.extend(json.then_some("--json"));
            let output = run(&site, &args);
            let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
            assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
            assert!(!said.contains(SECRET), "{args:?}: {said}");
        }
    }
    let mut proxied = site.kbake(&["fetch", "etcd", "--mirror", "http://far.test/", "--json"]);
    let output = proxied.env("http_proxy", format!("http://user:{SECRET}@127.0.0.1:9")).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(output.status.code() == Some(3) && !said.contains(SECRET), "{said}");
    site.write("home/config.toml", &format!("[[rewrite]]\nfrom = \"nothing\"\nto = \"http://user:{SECRET}@h.test\"\n"));
    let output = site.kbake(&["fetch", "etcd", "--json"]).env("KBAKE_CONFIG", site.path("home/config.toml")).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(output.status.code() == Some(1) && !said.contains(SECRET), "{said}");
}

/// The words in backquotes in the first cells of the table of docs/ci.md whose head begins so.
fn documented(guide: &str, head: &str) -> BTreeSet<String> {
    let rows = guide.lines().skip_while(|line| !line.starts_with(head)).skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap().to_owned());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn the_guide_has_every_word_and_no_other() {
    use kbake::Class;
    use kbake::report::{ItemKind as Kind, Outcome as Of};
    let guide = fs::read_to_string(std::path::Path::new(ROOT).join("docs/ci.md")).unwrap();
    let set = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<BTreeSet<String>>();
    let all =
        [Of::Cached, Of::Fetched, Of::Built, Of::Written, Of::Imported, Of::Verified, Of::Damaged, Of::Repaired, Of::Removed, Of::Failed];
    assert_eq!(set(&all.map(Of::word)), set(&OUTCOMES));
    assert_eq!(documented(&guide, "| `event` | |"), set(&OUTCOMES));
    let kinds = [Kind::Input, Kind::Base, Kind::Extraction, Kind::Image, Kind::File, Kind::Pin, Kind::Blob, Kind::Entry, Kind::Bundle];
    assert_eq!(documented(&guide, "| `kind` | |"), set(&kinds.map(Kind::word)));
    assert_eq!(documented(&guide, "| key | value |"), set(&["event", "kind", "name", "path", "digest", "bytes", "seconds"]));
    let classes = [Class::User, Class::Usage, Class::Network, Class::Integrity, Class::NoSpace, Class::Internal, Class::Interrupted];
    for class in classes {
        assert!(guide.contains(&format!("| {} | `{}` |", class.exit_code(), class.word())), "{class:?}");
    }
}

#[test]
fn the_guide_s_examples_are_sound() {
    let guide = fs::read_to_string(std::path::Path::new(ROOT).join("docs/ci.md")).unwrap();
    let blocks = |kind: &str| {
        guide.split(&format!("```{kind}\n")).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let judge = |tool: &str, args: &[&str], text: &str| {
        let mut command = std::process::Command::new(tool);
        let child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{tool} is missing: run tests/setup.sh ({e})"));
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{tool}: {}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let scripts = blocks("sh");
    assert_eq!(scripts.len(), 2);
    for script in &scripts {
        judge("shellcheck", &["-s", "sh", "-"], script);
    }
    let python = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))";
    let workflow: Value = serde_json::from_str(&judge("python3", &["-c", python], &blocks("yaml")[0])).unwrap();
    let steps = workflow["jobs"]["bake"]["steps"].as_array().unwrap();
    let runs: Vec<&str> = steps.iter().filter_map(|step| step["run"].as_str()).collect();
    assert_eq!(runs.len(), 6, "{workflow}");
    for run in &runs {
        // GitHub's own shell.
        judge("shellcheck", &["-s", "bash", "-"], run);
    }
    // Every command in them exists, with all of its options.
    let text = [scripts.concat(), runs.join("\n")].concat();
    let site = Site::new();
    let commands = text.lines().filter_map(|line| match line.trim_start().strip_prefix("kbake ") {
        None => line.split_once("$(kbake ").map(|(_, rest)| rest),
        found => found,
    });
    for line in commands {
        let command = line.split(['>', ')', '#', '|']).next().unwrap().replace("\"$@\"", "etcd");
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let output = run(&site, &words);
        assert!(output.status.success(), "kbake {command}: {}", stderr(&output));
    }
}
