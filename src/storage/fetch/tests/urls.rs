//! Release hosts: own addresses, redirects to storage hosts, rewrites to mirrors, both kinds of digest.

use std::fs;

use super::*;
use crate::common::value::Sha512;

fn longer(bytes: &[u8], url: String) -> Want {
    Want { digest: Digest::Sha512(Sha512::of(bytes)), size: None, ..from_url(bytes, url) }
}

/// The requests of an origin and its storage; the origin redirects every request to a different address.
fn origin(storage: &Server) -> Server {
    let base = storage.base();
    Server::start(move |request| Answer::to(format!("{base}/bucket/{}?signature=secret-{}", request.path.len(), request.nth)))
}

#[test]
fn a_longer_digest_is_verified_and_found_again() {
    let bytes = payload(700_000);
    let server = honest(&bytes);
    let mut case = Case::new();
    let want = longer(&bytes, format!("{}/kubelet", server.base()));
    case.fetch(std::slice::from_ref(&want)).unwrap();
    assert!(case.has(&want));
    let blob = case.store.resolve(&want.digest, None).unwrap().unwrap();
    assert_eq!((blob.digest, blob.size), (Sha256::of(&bytes), 700_000));
    // A later run opens no socket.
    drop(case.store);
    case.store = open(case.dir.path());
    case.options.offline = true;
    case.fetch(std::slice::from_ref(&want)).unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn other_bytes_than_the_longer_digest_are_refused() {
    let bytes = payload(1000);
    let mut wrong = bytes.clone();
    wrong[999] ^= 1;
    let server = honest(&wrong);
    let case = Case::new();
    let want = longer(&bytes, format!("{}/kubelet", server.base()));
    let shown = case.fails(&want, Class::Integrity);
    assert!(shown.contains(&format!("expected {}", want.digest)), "{shown}");
    assert!(shown.contains(&format!("found sha512:{}", Sha512::of(&wrong))), "{shown}");
    assert!(case.tmp().is_empty());
}

#[test]
fn an_unsized_download_goes_on_in_the_next_run() {
    let bytes = payload(600_000);
    let body = bytes.clone();
    let server = Server::start(move |request| {
        let answer = Answer::ranged(request, &body);
        if request.nth == 0 { answer.cut(250_000) } else { answer }
    });
    for want in [longer(&bytes, format!("{}/a", server.base())), Want { size: None, ..from_url(&bytes, format!("{}/b", server.base())) }] {
        let mut case = Case::new();
        case.options.retries = 0;
        let shown = case.fails(&want, Class::Network);
        assert!(shown.contains("(after 250000 of 600000 bytes)"), "{shown}");
        drop(case.store);
        case.store = open(case.dir.path());
        let told = case.fetch(std::slice::from_ref(&want)).unwrap();
        assert_eq!(told.lines()[0], "started etcd-server 250000");
        assert!(case.has(&want));
    }
    assert_eq!(server.ranges(), [None, Some("bytes=250000-".to_owned()), None, Some("bytes=250000-".to_owned())]);
}

#[test]
fn ranges_of_unknown_total_are_joined() {
    let bytes = payload(300_000);
    let body = bytes.clone();
    // A size limit per response, as in some proxies; the first end looks clean.
    let server = Server::start(move |request| {
        let mut answer = Answer::ranged(request, &body);
        match &request.range {
            None => answer.cut(100_000),
            Some(_) => {
                answer.body.truncate(100_000);
                let from = body.len() - Answer::ranged(request, &body).body.len();
                answer.headers = vec![format!("Content-Range: bytes {from}-{}/{}", from + 99_999, body.len())];
                answer.framed(Framing::Length(100_000))
            }
        }
    });
    let case = Case::new();
    let want = longer(&bytes, format!("{}/kubelet", server.base()));
    case.fetch(std::slice::from_ref(&want)).unwrap();
    assert!(case.has(&want));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_redirect_is_followed_again_for_each_range() {
    let bytes = payload(600_000);
    let body = bytes.clone();
    let storage = Server::start(move |request| {
        let answer = Answer::ranged(request, &body);
        if request.path.ends_with("secret-0") { answer.cut(250_000) } else { answer }
    });
    let first = origin(&storage);
    let case = Case::new();
    let want = longer(&bytes, format!("http://user:secret@{}/kubelet", first.address()));
    let told = case.fetch(std::slice::from_ref(&want)).unwrap();
    assert!(case.has(&want));
    let ranges = [None, Some("bytes=250000-".to_owned())];
    assert_eq!((first.ranges(), storage.ranges()), (ranges.to_vec(), ranges.to_vec()));
    let places: Vec<String> = storage.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(places, ["/bucket/8?signature=secret-0", "/bucket/8?signature=secret-1"], "an old place may be good no more");
    assert!(!told.lines().concat().contains("secret"), "{told:?}");
    // The password in an address is sent to its host only.
    assert!(first.requests().iter().all(|request| request.header("authorization").is_some()));
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(storage.requests().iter().all(|request| request.header("referer").is_none()));
}

#[test]
fn a_password_is_not_shown_to_a_host_that_sends_us_back() {
    let bytes = payload(1000);
    let body = bytes.clone();
    let address = std::sync::Arc::new(Mutex::new(String::new()));
    let back = address.clone();
    let between = Server::start(move |_| Answer::to(format!("{}/there", back.lock().unwrap())));
    let to = between.base();
    let home = Server::start(move |request| if request.path == "/there" { Answer::ok(&body) } else { Answer::to(&to) });
    *address.lock().unwrap() = home.base();
    let want = from_url(&bytes, format!("http://user:secret@{}/kubelet", home.address()));
    Case::new().fetch(std::slice::from_ref(&want)).unwrap();
    let shown = |server: &Server| server.requests().iter().map(|request| request.header("authorization").is_some()).collect::<Vec<_>>();
    assert_eq!((shown(&home), shown(&between)), (vec![true, false], vec![false]));
}

#[test]
fn refusals_of_a_redirect_target_name_the_origin() {
    let want = |server: &Server| longer(b"x", format!("{}/kubelet", server.base()));
    for (status, reason) in [(404, "answered 404 Not Found"), (403, "answered 403 Forbidden"), (401, "answered 401 Unauthorized")] {
        let storage = always(Answer::new(status, b"<Error>"));
        let first = origin(&storage);
        let shown = Case::new().fails(&want(&first), Class::Network);
        assert!(shown.contains(&format!("from {}/kubelet: {reason}", first.base())) && !shown.contains("secret"), "{shown}");
    }
}

#[test]
fn a_rewritten_address_may_be_a_folder() {
    let bytes = payload(200_000);
    let mut case = Case::new();
    let folder = case.dir.path().join("mirror/v1");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("kubelet"), &bytes).unwrap();
    fs::write(case.dir.path().join("outside"), &bytes).unwrap();
    let address = format!("file:{}/mirror/", case.dir.path().display());
    case.options.rewrites = vec![("https://up.test/release/".to_owned(), address.clone()), ("file:/".to_owned(), address)];
    let want = |url: &str| longer(&bytes, url.to_owned());
    for (url, reason) in [
        ("https://up.test/release/v1/kubectl", "mirror/v1/kubectl: does not exist"),
        ("file:///v1/kubelet", "only http and https are supported, not file"),
        ("https://up.test/release/..%2foutside", "contains an encoded slash"),
        ("https://up.test/release/%2e%2e/../../outside", "no connection to up.test"),
    ] {
        case.options.proxies = Proxies::all(&always(Answer::ok(b"")).base());
        case.options.retries = 0;
        let shown = case.fails(&want(url), Class::Network);
        assert!(shown.contains(reason), "{url}: {shown}");
    }
    let good = want("https://up.test/release/v1/kubelet");
    case.fetch(std::slice::from_ref(&good)).unwrap();
    assert!(case.has(&good));
}

#[test]
fn a_rewrite_keeps_us_off_the_original() {
    let bytes = payload(1000);
    let (original, empty, mirror) = (honest(&bytes), always(Answer::new(404, b"")), honest(&bytes));
    let mut case = Case::new();
    let from = format!("{}/release/", original.base());
    case.options.rewrites = vec![(from.clone(), format!("{}/a/", empty.base())), (from, format!("{}/b/", mirror.base()))];
    let want = longer(&bytes, format!("{}/release/v1/kubelet", original.base()));
    case.fetch(std::slice::from_ref(&want)).unwrap();
    assert_eq!((original.connections(), empty.requests()[0].path.as_str()), (0, "/a/v1/kubelet"));
    assert_eq!(mirror.requests()[0].path, "/b/v1/kubelet");
}

#[test]
fn unreachable_hosts_are_reported_once_with_alternatives() {
    let closed = |n: u8| format!("127.0.0.{n}:{}", always(Answer::ok(b"")).address().port());
    let (one, two) = (closed(1), closed(2));
    let url = |host: &str, name: &str| longer(name.as_bytes(), format!("http://user:secret@{host}/release/{name}?key=secret"));
    let mut wants: Vec<Want> = (0..30).map(|n| Want { name: format!("tool-{n}"), ..url(&one, &format!("tool-{n}")) }).collect();
    wants.push(Want { name: "kubelet".to_owned(), size: Some(72 << 20), ..url(&two, "kubelet") });
    let mut case = Case::new();
    case.options.jobs = 2;
    let error = case.fetch(&wants).unwrap_err();
    assert_eq!(error.class(), Class::Network);
    let shown = error.to_string();
    let first = format!("cannot fetch 31 artifacts (72 MiB and 30 of unknown size): no connection to {one}, {two}\n");
    assert!(shown.starts_with(&first), "{shown}");
    assert_eq!(shown.matches("cannot be reached").count(), 2, "once for each host: {shown}");
    assert!(shown.contains(&format!("\n  missing: kubelet  72 MiB  http://{two}/release/kubelet?…\n")), "{shown}");
    assert!(shown.contains("\n  missing: tool-29  size unknown  "), "{shown}");
    for hint in ["--rewrite http://127.0.0.", "=file:///FOLDER/`", "`kbake bundle create ROLE` on a host with network", "kbake lock --set "]
    {
        assert_eq!(shown.lines().filter(|line| line.starts_with("hint: ") && line.contains(hint)).count(), 1, "{hint}: {shown}");
    }
    assert!(!shown.contains("secret") && !shown.contains("--registry-mirror"), "{shown}");
    // The caller adds more hints.
    assert!(error.hint("or take `--channel debian`").to_string().ends_with("\nhint: or take `--channel debian`"));
}

#[test]
fn one_dead_host_does_not_keep_another_ones_artifacts_away() {
    let bytes = payload(1000);
    let server = honest(&bytes);
    let dead = always(Answer::ok(b"")).address();
    let mut wants: Vec<Want> = (0..5).map(|n| longer(&[n], format!("http://{dead}/{n}"))).collect();
    wants.push(Want { name: "alive".to_owned(), ..longer(&bytes, format!("{}/alive", server.base())) });
    let mut case = Case::new();
    case.options.jobs = 1;
    let shown = case.fetch(&wants).unwrap_err().to_string();
    assert!(shown.starts_with(&format!("cannot fetch 5 artifacts (size unknown): no connection to {dead}\n")), "{shown}");
    assert!(case.has(&wants[5]));
}
