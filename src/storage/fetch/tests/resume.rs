//! Interrupted and resumed downloads.

use super::*;

#[test]
fn a_cut_goes_on_where_it_was() {
    let bytes = payload(600_000);
    let body = bytes.clone();
    let server = Server::start(move |request| {
        let answer = Answer::ranged(request, &body);
        if request.nth == 0 { answer.cut(250_000) } else { answer }
    });
    let case = Case::new().mirrors(&[&server]);
    let told = case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
    assert_eq!(server.ranges(), [None, Some("bytes=250000-".to_owned())]);
    assert_eq!(server.sent(), 600_000, "only the rest was sent");
    assert!(told.lines()[1].starts_with("retry etcd-server 1ms connection lost: "), "{told:?}");
    assert!(told.lines()[1].ends_with("(after 250000 of 600000 bytes)"), "{told:?}");
}

#[test]
fn an_end_that_looks_clean_but_comes_early_goes_on_too() {
    for framing in [Framing::Chunked, Framing::Close] {
        let bytes = payload(300_000);
        let body = bytes.clone();
        let server = Server::start(move |request| match request.nth {
            0 => Answer::ok(&body[..100_000]).framed(framing),
            _ => Answer::ranged(request, &body),
        });
        let case = Case::new().mirrors(&[&server]);
        case.fetch(&[want(&bytes)]).unwrap();
        assert!(case.has(&want(&bytes)));
        assert_eq!(server.ranges(), [None, Some("bytes=100000-".to_owned())], "{framing:?}");
    }
}

#[test]
fn an_interruption_after_much_progress_is_not_a_failure() {
    let bytes = payload(12 << 20);
    let body = bytes.clone();
    let server = Server::start(move |request| Answer::ranged(request, &body).cut((1 << 20) + 1));
    let mut case = Case::new().mirrors(&[&server]);
    case.options.retries = 0;
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
    assert_eq!(server.requests().len(), 12);
}

#[test]
fn a_source_that_never_gives_the_end_is_given_up() {
    let bytes = payload(100_000);
    let server = always(Answer::ok(&bytes).cut(10));
    let case = Case::new().mirrors(&[&server]);
    let shown = case.fails(&want(&bytes), Class::Network);
    assert!(shown.contains("(after 10 of 100000 bytes)"), "{shown}");
    assert_eq!(server.requests().len(), 4, "once, and three retries");
}

#[test]
fn the_next_mirror_resumes_the_download() {
    let bytes = payload(600_000);
    let (body, good) = (bytes.clone(), honest(&bytes));
    let breaking = Server::start(move |request| Answer::ranged(request, &body).cut(200_000));
    let case = Case::new().mirrors(&[&breaking, &good]);
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
    assert_eq!(good.ranges(), [Some("bytes=200000-".to_owned())]);
}

#[test]
fn a_source_is_not_blamed_for_anothers_bytes() {
    let bytes = payload(600_000);
    let mut wrong = bytes.clone();
    wrong[7] ^= 1;
    let good = honest(&bytes);
    let breaking = Server::start(move |request| Answer::ranged(request, &wrong).cut(200_000));
    let case = Case::new().mirrors(&[&breaking, &good]);
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
    assert_eq!(good.ranges(), [Some("bytes=200000-".to_owned()), None]);
}

#[test]
fn wrong_ranges_restart_the_download() {
    let bytes = payload(300_000);
    type Lie = (&'static str, fn(&[u8]) -> Answer);
    let lies: [Lie; 6] = [
        ("the whole in place of the rest", |bytes| Answer::ok(bytes)),
        ("another part", |bytes| Answer::new(206, &bytes[1..]).header("Content-Range: bytes 1-299999/300000")),
        ("the first part", |bytes| Answer::new(206, bytes).header("Content-Range: bytes 0-299999/300000")),
        ("a part without a name", |bytes| Answer::new(206, &bytes[100_000..])),
        ("the right name on other bytes", |bytes| Answer::new(206, &bytes[..200_000]).header("Content-Range: bytes 100000-299999/300000")),
        ("no such range", |_| Answer::new(416, b"").header("Content-Range: bytes */300000")),
    ];
    for (name, lie) in lies {
        let body = bytes.clone();
        let server = Server::start(move |request| match &request.range {
            None if request.nth == 0 => Answer::ok(&body).cut(100_000),
            None => Answer::ok(&body),
            Some(_) => lie(&body),
        });
        let case = Case::new().mirrors(&[&server]);
        match case.fetch(&[want(&bytes)]) {
            Ok(_) => assert!(case.has(&want(&bytes)), "{name}"),
            // All bytes come from this one server, so the error is attributed to it.
            Err(error) => assert!(name == "the right name on other bytes" && error.class() == Class::Integrity, "{name}: {error}"),
        }
        assert!(server.requests().len() <= 3, "{name}: {:?}", server.ranges());
    }
}

#[test]
fn a_server_that_only_lies_about_ranges_is_given_up() {
    let bytes = payload(300_000);
    let body = bytes.clone();
    let server = Server::start(move |request| match request.range {
        None => Answer::ok(&body).cut(100_000),
        Some(_) => Answer::new(416, b""),
    });
    let shown = Case::new().mirrors(&[&server]).fails(&want(&bytes), Class::Network);
    assert!(shown.contains("416"), "{shown}");
    assert!(server.requests().len() <= 8, "{:?}", server.ranges());
}

#[test]
fn busy_servers_get_their_pause() {
    let bytes = payload(1000);
    for status in [429, 503] {
        let body = bytes.clone();
        let server = Server::start(move |request| match request.nth {
            0 | 1 => Answer::new(status, b"busy"),
            _ => Answer::ranged(request, &body),
        });
        let case = Case::new().mirrors(&[&server]);
        let told = case.fetch(&[want(&bytes)]).unwrap().lines();
        assert!(told[1].starts_with(&format!("retry etcd-server 1ms answered {status} ")), "{told:?}");
        assert!(told[2].starts_with(&format!("retry etcd-server 2ms answered {status} ")), "the pause doubles: {told:?}");
        assert_eq!(server.requests().len(), 3);
    }
}

#[test]
fn retry_after_is_honoured_within_bounds() {
    let bytes = payload(1000);
    for (asked, longest, pause) in [("1", 5000, 1000), ("3600", 20, 20), ("0", 20, 1), ("soon", 20, 1)] {
        let body = bytes.clone();
        let server = Server::start(move |request| match request.nth {
            0 => Answer::new(429, b"").header(format!("Retry-After: {asked}")),
            _ => Answer::ranged(request, &body),
        });
        let mut case = Case::new().mirrors(&[&server]);
        case.options.max_backoff = Duration::from_millis(longest);
        let begin = std::time::Instant::now();
        let told = case.fetch(&[want(&bytes)]).unwrap().lines();
        assert_eq!(told[1], format!("retry etcd-server {pause}ms answered 429 Too Many Requests"));
        assert!(begin.elapsed() >= Duration::from_millis(pause));
    }
}

#[test]
fn an_interrupted_download_goes_on_in_the_next_run() {
    struct StopAt(u64, Cancel);
    impl Events for StopAt {
        fn progress(&self, _: &Want, at: u64) {
            if at >= self.0 {
                self.1.flag().store(true, Ordering::SeqCst);
            }
        }
    }
    let bytes = payload(2_000_000);
    let body = bytes.clone();
    // The server stalls in the middle; cancellation must work during the stall.
    let server = Server::start(move |request| match request.nth {
        0 => {
            let mut answer = Answer::ok(&body).ending(Ending::Hang);
            answer.body.truncate(1_000_000);
            answer
        }
        _ => Answer::ranged(request, &body),
    });
    let mut case = Case::new().mirrors(&[&server]);
    case.options.idle_timeout = Duration::from_secs(600);
    let cancel = Cancel::new();
    let error = fetch(&case.store, &[want(&bytes)], &case.options, &StopAt(1_000_000, cancel.clone()), &cancel).unwrap_err();
    assert_eq!(error.class(), Class::Interrupted);
    drop(case.store);
    case.store = open(case.dir.path());
    assert_eq!(case.tmp().len(), 1, "what came is kept");
    let told = case.fetch(&[want(&bytes)]).unwrap();
    assert_eq!(told.lines()[0], "started etcd-server 1000000");
    assert_eq!(server.ranges(), [None, Some("bytes=1000000-".to_owned())]);
    assert!(case.has(&want(&bytes)));
}

#[test]
fn bytes_of_an_earlier_run_are_checked() {
    let bytes = payload(300_000);
    let wrong = vec![0; 400_000];
    type Left<'a> = (&'a str, &'a [u8], &'a [Option<&'a str>]);
    let leftovers: [Left; 5] = [
        ("all of it", &bytes, &[]),
        ("all, but wrong", &wrong[..300_000], &[None]),
        ("too much", &wrong, &[None]),
        ("a wrong part", &wrong[..100_000], &[Some("bytes=100000-"), None]),
        ("a right part", &bytes[..100_000], &[Some("bytes=100000-")]),
    ];
    for (name, left, ranges) in leftovers {
        let server = honest(&bytes);
        let case = Case::new().mirrors(&[&server]);
        std::fs::write(case.dir.path().join(format!("store/tmp/partial-{}", Sha256::of(&bytes))), left).unwrap();
        case.fetch(&[want(&bytes)]).unwrap();
        assert!(case.has(&want(&bytes)), "{name}");
        assert_eq!(server.ranges().iter().map(Option::as_deref).collect::<Vec<_>>(), ranges, "{name}");
    }
}

#[test]
fn a_portal_keeps_the_present_bytes() {
    let bytes = payload(300_000);
    let page = always(Answer::ok(b"<html>log in</html>").header("Content-Type: text/html"));
    let server = honest(&bytes);
    let case = Case::new().mirrors(&[&page, &server]);
    std::fs::write(case.dir.path().join(format!("store/tmp/partial-{}", Sha256::of(&bytes))), &bytes[..200_000]).unwrap();
    case.fetch(&[want(&bytes)]).unwrap();
    assert_eq!(server.ranges(), [Some("bytes=200000-".to_owned())]);
}

/// Writes a partial file of `len` zero bytes for `want`.
fn leave_partial(case: &Case, want: &Want, len: u64) -> std::path::PathBuf {
    let Digest::Sha256(digest) = want.digest else { panic!("a SHA-256") };
    let path = case.dir.path().join(format!("store/tmp/partial-{digest}"));
    std::fs::File::create(&path).unwrap().set_len(len).unwrap();
    path
}

#[test]
fn a_partial_beyond_the_limit_is_discarded_unread() {
    let bytes = payload(1000);
    let server = honest(&bytes);
    for size in [Some(1000), None] {
        let case = Case::new().mirrors(&[&server]);
        let want = Want { size, ..want(&bytes) };
        // Reading that much would take hours.
        leave_partial(&case, &want, 1 << 42);
        let told = case.fetch(std::slice::from_ref(&want)).unwrap();
        assert_eq!(told.lines()[0], "started etcd-server 0");
        assert!(case.has(&want));
    }
}

#[test]
fn hashing_a_partial_ends_when_the_user_asks() {
    let case = Case::new();
    let want = Want { size: Some(1 << 42), ..want(b"x") };
    let path = leave_partial(&case, &want, 1 << 41);
    let cancel = Cancel::new();
    let flag = cancel.flag();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        flag.store(true, Ordering::SeqCst);
    });
    let options = Options { mirrors: vec!["file:///nonexistent".into()], ..case.options.clone() };
    let stopped = case.store.partial_within(&want.digest, want.size, 1 << 42, &cancel);
    assert_eq!(stopped.map(drop).unwrap_err().class(), Class::Interrupted);
    stopper.join().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 41, "it stays for the next run");
    // Through the store's own function, because `fetch` checks the free space first.
    let error = fetch(&case.store, &[Want { size: None, ..want }], &Options { max_unsized: 1 << 42, ..options }, &(), &cancel).unwrap_err();
    assert_eq!(error.class(), Class::Interrupted);
}

#[test]
fn a_slow_mirror_is_left_for_one_that_is_listed_beside_it() {
    // One byte every 10 ms: never silent, and long enough that the window ends first, even if the thread is not scheduled for a while.
    let whole = |drops: usize| [payload(1000), vec![0; drops]].concat();
    let drip = |drops: usize| always(Answer::ok(&payload(1000)).framed(Framing::Length(1000 + drops)).ending(Ending::Drip));
    let bytes = whole(6000);
    let (slow, good) = (drip(6000), honest(&bytes));
    let mut case = Case::new().mirrors(&[&slow, &good]);
    case.options.choice_rate = 1_000_000;
    case.options.choice_window = Duration::from_millis(100);
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
    assert_eq!((slow.requests().len(), good.requests().len()), (1, 1));

    // The slow source may continue if no other source has the artifact.
    let (bytes, slow) = (whole(30), drip(30));
    let gone = always(Answer::new(404, b"gone"));
    let mut case = Case::new().mirrors(&[&slow, &gone]);
    case.options.choice_rate = 1_000_000;
    case.options.choice_window = Duration::from_millis(100);
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
}
