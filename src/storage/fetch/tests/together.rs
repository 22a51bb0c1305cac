//! Many artifacts, threads and processes at once.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use super::*;

fn many(n: usize) -> Vec<(String, Vec<u8>, Want)> {
    (0..n)
        .map(|n| {
            let path = format!("pool/main/{n}");
            let bytes = payload(1000 * n + 7)[n..].to_vec();
            let want = Want {
                name: format!("artifact-{n}"),
                source: Source::Pool { archive: "debian".to_owned(), path: path.clone() },
                ..want(&bytes)
            };
            (path, bytes, want)
        })
        .collect()
}

fn wants(all: &[(String, Vec<u8>, Want)]) -> Vec<Want> {
    all.iter().map(|(_, _, want)| want.clone()).collect()
}

/// Serves each path its bytes, after `trouble` has modified the n-th artifact's response.
fn serving(all: &[(String, Vec<u8>, Want)], trouble: fn(usize, &Request, Answer) -> Answer) -> Server {
    let bytes: Vec<Vec<u8>> = all.iter().map(|(_, bytes, _)| bytes.clone()).collect();
    Server::start(move |request| {
        let n: usize = request.path.rsplit('/').next().unwrap().parse().unwrap();
        trouble(n, request, Answer::ranged(request, &bytes[n]))
    })
}

#[test]
fn connections_are_used_again() {
    let all = many(20);
    let server = serving(&all, |_, _, answer| answer);
    // A page of ordinary size: it must be read to the end for the connection to be reused.
    let gone = always(Answer::new(404, &[b'x'; 40_000]));
    let mut case = Case::new().mirrors(&[&gone, &server]);
    case.options.jobs = 1;
    case.fetch(&wants(&all)).unwrap();
    assert_eq!((server.requests().len(), gone.requests().len()), (20, 20));
    assert!(server.connections() <= 3, "{} connections", server.connections());
    assert!(gone.connections() <= 3, "{} connections to where nothing is", gone.connections());
}

#[test]
fn small_files_do_not_wait_for_each_other() {
    let all = many(32);
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (now, top, order) = (open, most.clone(), asked.clone());
    let bytes: Vec<Vec<u8>> = all.iter().map(|(_, bytes, _)| bytes.clone()).collect();
    let server = Server::start(move |request| {
        let n: usize = request.path.rsplit('/').next().unwrap().parse().unwrap();
        top.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        order.lock().unwrap().push(n);
        // High latency: the first response is sent when all parallel requests have arrived.
        for _ in 0..6000 {
            if order.lock().unwrap().len() >= 8 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        now.fetch_sub(1, Ordering::SeqCst);
        Answer::ranged(request, &bytes[n])
    });
    let mut case = Case::new().mirrors(&[&server]);
    case.options.jobs = Options::default().jobs;
    case.fetch(&wants(&all)).unwrap();
    assert!(all.iter().all(|(_, _, want)| case.has(want)));
    assert_eq!(most.load(Ordering::SeqCst), 8, "at once");
    assert!(server.connections() <= 8, "{} connections", server.connections());
    assert_eq!(server.requests().len(), 32, "one for each, and no other");
    let first: BTreeSet<usize> = asked.lock().unwrap()[..8].iter().copied().collect();
    assert_eq!(first, [0, 1, 26, 27, 28, 29, 30, 31].into(), "the largest, and beside them some of the smallest");
}

#[test]
fn many_artifacts_come_through_much_trouble() {
    let all = many(60);
    let server = serving(&all, |n, request, answer| match (n % 6, request.nth) {
        (0, 0) => Answer::new(503, b"busy"),
        (1, 0) => answer.cut(n * 300),
        (2, 0) => answer.cut(0),
        (3, 0) => Answer::new(500, b"").header("Retry-After: 0"),
        (4, 0) => answer.framed(Framing::Chunked),
        _ => answer,
    });
    for jobs in [0, 1, 16] {
        let mut case = Case::new().mirrors(&[&server]);
        case.options.jobs = jobs;
        case.fetch(&wants(&all)).unwrap();
        assert!(all.iter().all(|(_, _, want)| case.has(want)), "{jobs} jobs");
    }
}

#[test]
fn one_failure_does_not_keep_the_others_away() {
    let all = many(12);
    let server = serving(&all, |n, _, answer| match n {
        3 => Answer::new(404, b""),
        5 => Answer::ok(&vec![0; answer.body.len()]),
        _ => answer,
    });
    for jobs in [1, 8] {
        let mut case = Case::new().mirrors(&[&server]);
        case.options.jobs = jobs;
        let error = case.fetch(&wants(&all)).unwrap_err();
        assert_eq!(error.class(), Class::Integrity);
        let shown = error.to_string();
        assert!(shown.starts_with("cannot fetch 2 of 12 artifacts; hash mismatch for `artifact-5`\n  artifact-3 ("), "{shown}");
        assert!(shown.contains("  artifact-5 (") && shown.contains("kbake lock --upgrade package:artifact-5"), "{shown}");
        let here = all.iter().filter(|(_, _, want)| case.store.resolve(&want.digest, None).unwrap().is_some()).count();
        assert_eq!(here, 10, "{jobs} jobs");
    }
}

#[test]
fn without_a_network_it_does_not_try_everything() {
    let all = many(50);
    let closed = always(Answer::ok(b"")).base();
    let mut case = Case::new();
    case.options.mirrors = vec![closed.into()];
    case.options.jobs = 2;
    let error = case.fetch(&wants(&all)).unwrap_err();
    assert_eq!(error.class(), Class::Network);
    let shown = error.to_string();
    assert!(
        shown.contains("cannot be reached: ") && shown.contains("more were not tried") && shown.contains("hint: check the network"),
        "{shown}"
    );
    assert!(shown.lines().count() < 12, "{shown}");
}

#[test]
fn a_dead_mirror_is_asked_last_from_then_on() {
    let all = many(10);
    let server = serving(&all, |_, _, answer| answer);
    // Its TLS handshake fails, which counts as unreachable and can be counted.
    let dead = always(Answer::ok(b""));
    let mut case = Case::new().mirrors(&[&server]);
    case.options.mirrors.insert(0, format!("https://{}", dead.address()).into());
    case.options.jobs = 1;
    let told = case.fetch(&wants(&all)).unwrap();
    assert!(!told.lines().iter().any(|line| line.starts_with("retry")), "{told:?}");
    assert_eq!(dead.connections(), 1);
    assert!(all.iter().all(|(_, _, want)| case.has(want)));
}

#[test]
fn two_processes_download_once() {
    let bytes = payload(400_000);
    let body = bytes.clone();
    let waiting = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&waiting);
    let server = Server::start(move |request| {
        // The response is sent when all other threads wait for it.
        for _ in 0..6000 {
            if told.load(Ordering::SeqCst) == 3 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Answer::ranged(request, &body)
    });
    struct Counted<'a>(Told, &'a AtomicUsize);
    impl Events for Counted<'_> {
        fn started(&self, want: &Want, have: u64) {
            self.0.started(want, have);
        }
        fn waiting(&self, want: &Want) {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.waiting(want);
        }
        fn finished(&self, want: &Want) {
            self.0.finished(want);
        }
    }
    let case = Case::new().mirrors(&[&server]);
    let run = || {
        // Its own `Store`, like another process: locks are per open file.
        let store = open(case.dir.path());
        let told = Counted(Told::default(), &waiting);
        fetch(&store, &[want(&bytes)], &case.options, &told, &Cancel::new()).unwrap();
        told.0.lines()
    };
    let lines = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(server.requests().len(), 1);
    let count = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("started"), count("waiting"), count("finished")), (1, 3, 4), "{lines:?}");
    assert!(case.has(&want(&bytes)));
}

#[test]
fn a_waiting_thread_takes_over_after_a_failure() {
    let bytes = payload(400_000);
    let (body, slow) = (bytes.clone(), always(Answer::ok(&bytes[..100_000]).framed(Framing::Length(400_000)).ending(Ending::Hang)));
    let good = Server::start(move |request| Answer::ranged(request, &body));
    let case = Case::new();
    let cancel = Cancel::new();
    let with = |server: &Server, events: &dyn Events, cancel: &Cancel| {
        let options = Options { mirrors: vec![server.base().into()], ..case.options.clone() };
        fetch(&open(case.dir.path()), &[want(&bytes)], &options, events, cancel)
    };
    struct StopsOther(Cancel);
    impl Events for StopsOther {
        fn waiting(&self, _: &Want) {
            self.0.flag().store(true, Ordering::SeqCst);
        }
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(|| with(&slow, &(), &cancel));
        while case.store.partial_size(&Sha256::of(&bytes).into()).unwrap() < 100_000 {
            std::thread::yield_now();
        }
        with(&good, &StopsOther(cancel.clone()), &Cancel::new()).unwrap();
        assert_eq!(first.join().unwrap().unwrap_err().class(), Class::Interrupted);
    });
    assert_eq!(good.ranges(), [Some("bytes=100000-".to_owned())]);
    assert!(case.has(&want(&bytes)));
}
