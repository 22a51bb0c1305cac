//! Responses that must not be trusted.

use super::*;

#[test]
fn wrong_bytes_are_not_kept_and_the_next_source_is_asked() {
    let bytes = payload(500_000);
    let mut wrong = bytes.clone();
    wrong[250_000] ^= 1;
    let (bad, good) = (honest(&wrong), honest(&bytes));
    let mut case = Case::new().mirrors(&[&bad, &bad]);
    let shown = case.fails(&want(&bytes), Class::Integrity);
    assert!(shown.starts_with("hash mismatch for `etcd-server`\n"), "{shown}");
    assert!(shown.contains(&format!("expected sha256:{}", Sha256::of(&bytes))), "{shown}");
    assert_eq!(shown.matches(&format!("found sha256:{}", Sha256::of(&wrong))).count(), 2, "for each source: {shown}");
    assert_eq!(shown.matches(&format!("from {}/{POOL}", bad.base())).count(), 2, "{shown}");
    assert!(shown.contains("hint: nothing was kept") && shown.contains("kbake lock --upgrade package:etcd-server"), "{shown}");
    assert!(case.tmp().is_empty());
    assert_eq!(bad.requests().len(), 2, "asking again would give the same");
    case.options.mirrors = vec![bad.base().into(), good.base().into()];
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
}

#[test]
fn a_mismatch_is_distinguished_from_other_errors() {
    let bytes = payload(1000);
    let (bad, gone) = (always(Answer::ok(&payload(1001)[1..])), always(Answer::new(404, b"gone")));
    let case = Case::new().mirrors(&[&gone, &bad]);
    let shown = case.fails(&want(&bytes), Class::Integrity);
    assert!(shown.contains(&format!("from {}/{POOL}: answered 404 Not Found", gone.base())), "{shown}");
    assert!(shown.contains(&format!("from {}/{POOL}: found sha256:", bad.base())), "{shown}");
}

#[test]
fn another_length_is_refused_before_its_body() {
    let bytes = payload(1000);
    for body in [payload(1001), payload(999), payload(5_000_000)] {
        let len = body.len();
        let server = always(Answer::ok(&body));
        let shown = Case::new().mirrors(&[&server]).fails(&want(&bytes), Class::Network);
        assert!(shown.contains(&format!("has the wrong size: expected 1000 bytes (1000 B), found {len}")), "{shown}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_body_beyond_the_locked_size_is_cut_off() {
    let bytes = payload(100_000);
    let mut long = bytes.clone();
    long.push(0);
    for answer in [
        Answer::ok(&long).framed(Framing::Chunked),
        Answer::ok(&long).framed(Framing::Close),
        Answer::ok(&bytes).framed(Framing::Chunked).ending(Ending::Endless),
        Answer::ok(b"!<arch>\n").framed(Framing::Close).ending(Ending::Endless),
    ] {
        let server = always(answer);
        let case = Case::new().mirrors(&[&server]);
        let shown = case.fails(&want(&bytes), Class::Network);
        assert!(shown.contains("sent more than the locked 98 KiB (100000 bytes)"), "{shown}");
        assert!(case.tmp().is_empty());
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_web_page_is_reported_as_a_portal() {
    let bytes = payload(100_000);
    let page = b"\n<!DOCTYPE HTML><html><body>Please log in</body></html>";
    let by_type = Answer::ok(page).header("Content-Type: text/html; charset=utf-8");
    for answer in [
        by_type.clone(),
        by_type.clone().framed(Framing::Chunked),
        Answer::ok(page).framed(Framing::Chunked).header("Content-Type: application/octet-stream"),
        Answer::ok(page).framed(Framing::Close),
        // Also with exactly the right size.
        Answer::ok(&[page, &payload(100_000)[page.len()..]].concat()).header("Content-Type: text/html"),
        Answer::new(511, page),
    ] {
        let server = always(answer.clone());
        let shown = Case::new().mirrors(&[&server]).fails(&want(&bytes), Class::Network);
        assert!(shown.contains("portal") && shown.contains("hint: a web page came instead of a file"), "{answer:?}: {shown}");
        assert_eq!(server.requests().len(), 1);
    }
    let portal = always(by_type);
    let to = format!("Location: {}/login?from=secret", portal.base());
    let gate = always(Answer::new(302, b"").header(to));
    let shown = Case::new().mirrors(&[&gate]).fails(&want(&bytes), Class::Network);
    assert!(shown.contains(&format!("redirected to {}/login?…", portal.base())) && !shown.contains("secret"), "{shown}");
}

#[test]
fn a_locked_web_page_is_not_a_portal() {
    let bytes = b"<!doctype html><html>a manual</html>";
    let server = always(Answer::ok(bytes).header("Content-Type: text/html"));
    let case = Case::new().mirrors(&[&server]);
    case.fetch(&[want(bytes)]).unwrap();
    assert!(case.has(&want(bytes)));
}

#[test]
fn absent_on_the_first_mirror_is_present_on_the_second() {
    let bytes = payload(1000);
    let (gone, good) = (always(Answer::new(404, b"<html>nothing</html>").header("Content-Type: text/html")), honest(&bytes));
    let case = Case::new().mirrors(&[&gone, &good]);
    let told = case.fetch(&[want(&bytes)]).unwrap();
    assert_eq!(told.lines(), ["started etcd-server 0", "finished etcd-server"], "without a pause");
    assert_eq!((gone.requests().len(), good.requests().len()), (1, 1));
}

#[test]
fn absent_everywhere_names_every_mirror() {
    let (one, two) = (always(Answer::new(404, b"")), always(Answer::new(403, b"")));
    let shown = Case::new().mirrors(&[&one, &two]).fails(&want(b"x"), Class::Network);
    assert!(shown.starts_with("cannot fetch `etcd-server`\n"), "{shown}");
    assert!(shown.contains(&format!("  from {}/{POOL}: answered 404 Not Found\n", one.base())), "{shown}");
    assert!(shown.contains(&format!("  from {}/{POOL}: answered 403 Forbidden", two.base())), "{shown}");
    let shown = Case::new().mirrors(&[&one]).fails(&want(b"x"), Class::Network);
    assert!(shown.contains("hint: no source has it any more"), "{shown}");
    assert_eq!((one.requests().len(), two.requests().len()), (2, 1));
}

#[test]
fn redirections_are_followed_only_so_far() {
    let bytes = payload(1000);
    let body = bytes.clone();
    let server = Server::start(move |request| {
        let to = |place: &str| Answer::new(302, b"moved").header(format!("Location: {place}"));
        match request.path.split_once("/hop/").map(|(_, n)| n.parse::<u32>().unwrap()) {
            Some(0) => Answer::ranged(request, &body),
            Some(n) => to(&format!("/hop/{}", n - 1)),
            None if request.path.starts_with("/loop") => to("/loop"),
            None if request.path.starts_with("/file") => to("file:///etc/passwd"),
            None if request.path.starts_with("/ftp") => to("ftp://user:secret@127.0.0.1/x"),
            None if request.path.starts_with("/bad") => to("http://user:secret@[nonsense/"),
            None => Answer::new(302, b"no place"),
        }
    });
    let case = Case::new();
    let at = |path: &str| from_url(&bytes, format!("{}{path}", server.base()));
    for (path, reason) in [
        ("/hop/11", "redirects more than 10 times"),
        ("/loop", "redirects more than 10 times"),
        ("/file", "a redirect that is not followed"),
        ("/ftp", "which is not followed"),
        ("/bad", "not followed"),
        ("/none", "not followed"),
    ] {
        let shown = case.fails(&at(path), Class::Network);
        assert!(shown.contains(reason) && !shown.contains("secret"), "{path}: {shown}");
    }
    assert_eq!(server.requests().iter().filter(|request| request.path == "/file").count(), 1, "it is not asked again");
    case.fetch(&[at("/hop/10")]).unwrap();
    assert!(case.has(&at("/hop/10")));
}

#[test]
fn other_schemes_and_passwords_stay_out() {
    let server = always(Answer::new(401, b""));
    let base = format!("http://user:secret@{}", server.address());
    let urls = vec!["file:///etc/passwd".to_owned(), format!("{base}/x?token=secret"), "://user:secret@x".to_owned()];
    let shown = Case::new().fails(&Want { source: Source::Urls(urls), ..want(b"x") }, Class::Network);
    assert!(shown.contains("only http and https are supported, not file"), "{shown}");
    assert!(shown.contains(&format!("from {}/x?…: answered 401 Unauthorized", server.base())), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
    let request = &server.requests()[0];
    assert!(request.headers.iter().any(|line| line.starts_with("authorization: Basic ")), "but the server gets it: {request:?}");
}

#[test]
fn tls_to_a_plain_server_is_an_error() {
    let server = always(Answer::ok(b"x"));
    let shown = Case::new().fails(&from_url(b"x", format!("https://user:secret@{}/x", server.address())), Class::Network);
    assert!(shown.contains("cannot be reached") && !shown.contains("secret"), "{shown}");
}

#[test]
fn silence_and_dripping_end() {
    let bytes = payload(100_000);
    let half = &bytes[..50_000];
    // The window distinguishes a drip from silence: even a slow machine sends something within it.
    for (answer, reason, window) in [
        (Answer::ok(half).framed(Framing::Length(100_000)).ending(Ending::Hang), "timed out", 150),
        (Answer::ok(b"").framed(Framing::Length(100_000)).ending(Ending::Hang), "timed out", 150),
        (Answer::ok(b"").framed(Framing::Length(100_000)).ending(Ending::Drip), "too slow", 5000),
    ] {
        let server = always(answer);
        let mut case = Case::new().mirrors(&[&server]);
        case.options.idle_timeout = Duration::from_millis(window);
        case.options.min_rate = 10_000;
        case.options.retries = 1;
        let shown = case.fails(&want(&bytes), Class::Network);
        assert!(shown.contains(reason), "{shown}");
        assert_eq!(server.requests().len(), 2);
    }
    // A server that accepts the connection and sends nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut case = Case::new();
    case.options.idle_timeout = Duration::from_millis(100);
    let shown = case.fails(&from_url(b"x", format!("http://{}/x", mute.local_addr().unwrap())), Class::Network);
    assert!(shown.contains("timed out"), "{shown}");
}
