//! Small queries: checksum files, sizes, tags.

use super::*;

fn asked(case: &Case, url: &str) -> Result<Option<String>, Error> {
    text(url, 1000, &case.options, &Cancel::new())
}

#[test]
fn a_text_comes_or_is_known_not_to_be_there() {
    let server = Server::start(|request| match (&*request.path, request.nth) {
        ("/sum", _) | ("/busy", 2) => Answer::ok("0123  kubelet é\n".as_bytes()).header("Content-Type: text/plain"),
        ("/busy", 0) => Answer::new(429, b"").header("Retry-After: 0"),
        ("/busy", _) => Answer::ok(b"0123").framed(Framing::Length(100)).ending(Ending::Cut),
        ("/moved", _) => Answer::to("/sum"),
        ("/gone", _) => Answer::new(410, b""),
        _ => Answer::new(404, b"<html>nothing</html>").header("Content-Type: text/html"),
    });
    let case = Case::new();
    let at = |path: &str| asked(&case, &format!("{}{path}", server.base())).unwrap();
    for path in ["/sum", "/busy", "/moved"] {
        assert_eq!(at(path).as_deref(), Some("0123  kubelet é\n"), "{path}");
    }
    assert_eq!((at("/nothing"), at("/gone")), (None, None));
    assert_eq!(server.requests().len(), 1 + 3 + 2 + 2, "what is not there is not asked for again");
}

#[test]
fn a_non_text_is_refused_with_its_reason() {
    let cases: [(Answer, Class, &str); 8] = [
        (Answer::ok(&[b'x'; 1001]), Class::Network, "sent more than 1000 B"),
        (Answer::ok(b"x").framed(Framing::Chunked).ending(Ending::Endless), Class::Network, "sent more than 1000 B"),
        (Answer::ok(b"\xff\xfe"), Class::Integrity, "is not UTF-8 text"),
        (Answer::ok(b" <!doctype html><p>log in"), Class::Network, "portal"),
        (Answer::ok(b"x").header("Content-Type: text/html"), Class::Network, "portal"),
        (Answer::new(403, b""), Class::Network, "answered 403 Forbidden"),
        (Answer::new(503, b""), Class::Network, "answered 503 Service Unavailable"),
        (Answer::to("file:///etc/passwd"), Class::Network, "not followed"),
    ];
    for (answer, class, reason) in cases {
        let server = always(answer);
        let error = asked(&Case::new(), &format!("http://user:secret@{}/sum?key=secret", server.address())).unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.class(), class, "{shown}");
        assert!(shown.contains(reason) && shown.contains(&format!("{}/sum?…", server.base())) && !shown.contains("secret"), "{shown}");
    }
}

#[test]
fn a_text_comes_from_where_the_artifact_does() {
    let (bytes, original) = (b"0123", always(Answer::ok(b"of the original")));
    let mut case = Case::new();
    let folder = case.dir.path().join("mirror");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("sum"), bytes).unwrap();
    case.options.rewrites = vec![(original.base(), format!("file:{}", folder.display()))];
    assert_eq!(asked(&case, &format!("{}/sum", original.base())).unwrap().as_deref(), Some("0123"));
    assert_eq!(asked(&case, &format!("{}/other", original.base())).unwrap(), None);
    assert_eq!(asked(&case, &format!("file:{}/sum", folder.display())).unwrap_err().class(), Class::Network);
    assert_eq!(size(&format!("{}/sum", original.base()), &case.options, &Cancel::new()), Some(4));
    assert_eq!(original.connections(), 0);
}

#[test]
fn sizes_are_asked_for_without_the_bytes() {
    let server = Server::start(|request| match &*request.path {
        "/a" => Answer::ok(&[0; 100_000]),
        "/moved" => Answer::to("/a"),
        "/page" => Answer::ok(b"<html>").header("Content-Type: text/html"),
        "/unknown" => Answer::ok(b"").framed(Framing::Chunked),
        "/refused" => Answer::new(405, b""),
        _ => Answer::new(404, b""),
    });
    let mut case = Case::new();
    for (path, found) in [("a", Some(100_000)), ("moved", Some(100_000)), ("page", None), ("unknown", None), ("refused", None), ("x", None)]
    {
        assert_eq!(size(&format!("{}/{path}", server.base()), &case.options, &Cancel::new()), found, "{path}");
    }
    let gets: Vec<String> = server.requests().into_iter().filter(|request| request.method != "HEAD").map(|request| request.path).collect();
    assert_eq!((gets, server.sent()), (vec!["/refused".to_owned()], 0), "only where HEAD itself is refused");
    assert_eq!(size("nonsense", &case.options, &Cancel::new()), None);
    case.options.offline = true;
    let before = server.connections();
    let url = format!("{}/a", server.base());
    assert_eq!(size(&url, &case.options, &Cancel::new()), None);
    let error = asked(&case, &url).unwrap_err();
    assert_eq!(error.class(), Class::Network);
    assert!(error.to_string().contains("--offline"), "{error}");
    assert_eq!(server.connections(), before);
}

#[test]
fn asking_can_be_interrupted() {
    let server = always(Answer::ok(b"").framed(Framing::Length(10)).ending(Ending::Hang));
    let (case, cancel) = (Case::new(), Cancel::new());
    // If it waited for the response, it would report a timeout.
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| text(&server.base(), 1000, &case.options, &cancel));
        while server.requests().is_empty() {
            std::thread::yield_now();
        }
        cancel.flag().store(true, Ordering::SeqCst);
        assert_eq!(asking.join().unwrap().unwrap_err().class(), Class::Interrupted);
    });
}

#[test]
fn a_size_is_learned_also_where_head_is_not_answered() {
    let server = Server::start(|request| match (&*request.method, &*request.path) {
        ("HEAD", _) => Answer::new(405, b""),
        (_, "/endless") => Answer::ok(b"x").framed(Framing::Chunked).ending(Ending::Endless),
        (_, "/packed") => Answer::ok(&[0; 70]).header("Content-Encoding: gzip"),
        _ => Answer::ok(&[b'x'; 70_000]),
    });
    let case = Case::new();
    let at = |path: &str| size(&format!("{}{path}", server.base()), &case.options, &Cancel::new());
    assert_eq!((at("/kubelet"), at("/endless"), at("/packed")), (Some(70_000), None, None));
    assert!(server.sent() < 30 << 20, "nobody listens to an endless body");
}

#[test]
fn a_text_that_comes_packed_is_no_alarm() {
    let server = always(Answer::ok(b"\x1f\x8b\x08\xff").header("Content-Encoding: gzip"));
    let error = asked(&Case::new(), &format!("{}/sum", server.base())).unwrap_err();
    assert_eq!(error.class(), Class::Network, "{error}");
    assert!(error.to_string().contains("Content-Encoding: gzip"), "{error}");
}
