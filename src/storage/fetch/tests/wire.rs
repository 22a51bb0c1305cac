//! Malformed HTTP responses, byte by byte, and the next run after them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;

/// The bytes of a response, and what follows them.
#[derive(Debug, Clone)]
struct Said(Vec<u8>, Then);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Close,
    /// The connection is reset.
    Reset,
    /// The same bytes repeat endlessly at full speed.
    Endless(&'static [u8]),
    /// One byte at intervals.
    Drip(&'static [u8]),
}

/// Sends the same bytes to every client, or only to the first and correct responses to all others.
struct Wire {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Wire {
    fn start(said: Said, only_first: bool, honest: &[u8]) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (counted, honest) = (Arc::clone(&connections), honest.to_vec());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let nth = counted.fetch_add(1, Ordering::SeqCst);
                let (said, honest) = (said.clone(), honest.clone());
                let good = only_first && nth > 0;
                // A client that disconnects is not an error.
                std::thread::spawn(move || if good { _ = answer(stream, &honest) } else { _ = lie(stream, &said) });
            }
        });
        Wire { address, connections }
    }
}

fn request(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

fn answer(mut stream: TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let head = request(&mut stream)?;
    let from = head.split_once("range: bytes=").and_then(|(_, rest)| rest.split_once('-')?.0.parse::<usize>().ok());
    let total = bytes.len();
    let (status, range) = match from {
        Some(from) => ("206 Part", format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1)),
        None => ("200 OK", String::new()),
    };
    let body = &bytes[from.unwrap_or(0)..];
    stream.write_all(format!("HTTP/1.1 {status}\r\n{range}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes())?;
    stream.write_all(body)
}

fn lie(mut stream: TcpStream, Said(bytes, then): &Said) -> std::io::Result<()> {
    if *then == Then::Reset {
        // Unread bytes turn the close into a reset.
        stream.peek(&mut [0; 1])?;
        stream.write_all(bytes)?;
        return Ok(());
    }
    request(&mut stream)?;
    stream.write_all(bytes)?;
    loop {
        match then {
            Then::Close | Then::Reset => return Ok(()),
            Then::Endless(more) => stream.write_all(more)?,
            Then::Drip(more) => {
                for byte in *more {
                    stream.write_all(&[*byte])?;
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }
}

const SIZE: usize = 100_000;

/// Every misbehaviour, and whether a retry may succeed after it.
fn lies(bytes: &[u8]) -> Vec<(&'static str, Said, bool)> {
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
    let with = |lines: &str, body: &[u8]| [&head(lines)[..], body].concat();
    let chunked = |body: &[u8]| with("Transfer-Encoding: chunked\r\n", body);
    let status = |line: &str| format!("{line}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let headers: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let close = |name, bytes, again| (name, Said(bytes, Then::Close), again);
    vec![
        close("nothing at all", Vec::new(), true),
        close("a byte less than said", with("Content-Length: 100000\r\n", &bytes[..SIZE - 1]), true),
        close("a shorter length, truly", with("Content-Length: 99999\r\n", &bytes[..SIZE - 1]), false),
        close("a longer length, truly", with("Content-Length: 100001\r\n", &[bytes, b"x"].concat()), false),
        close("a negative length", with("Content-Length: -1\r\n", bytes), true),
        close("a length that is no number", with("Content-Length: many\r\n", bytes), true),
        close("a length beyond all numbers", with("Content-Length: 99999999999999999999999\r\n", bytes), true),
        close("an absurd length", with("Content-Length: 18446744073709551614\r\n", bytes), true),
        close("two lengths", with("Content-Length: 100000\r\nContent-Length: 5\r\n", bytes), true),
        close("HTTP/0.9", bytes.to_vec(), true),
        close("words", b"220 mail.test ESMTP ready\r\n".to_vec(), true),
        close("another protocol's version", b"HTTP/9.9 200 OK\r\n\r\n".to_vec(), true),
        close("TLS", b"\x15\x03\x01\x00\x02\x02\x46".to_vec(), true),
        close("a status of two digits", status("HTTP/1.1 20 OK"), true),
        close("a status beyond all", status("HTTP/1.1 999 X"), false),
        close("no content", b"HTTP/1.1 204 X\r\n\r\n".to_vec(), false),
        close("not modified", b"HTTP/1.1 304 X\r\n\r\n".to_vec(), false),
        close("an upgrade", b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec(), false),
        close("a range that nobody asked for", status("HTTP/1.1 416 X"), false),
        close(
            "a part in place of all",
            [&b"HTTP/1.1 206 X\r\nContent-Range: bytes 0-99999/100000\r\nContent-Length: 100000\r\n\r\n"[..], bytes].concat(),
            false,
        ),
        close("a chunk of no size", chunked(b"zz\r\nabc\r\n"), true),
        close("a chunk beyond all sizes", chunked(b"fffffffffffffffff\r\nabc"), true),
        close("a chunk that is larger than what comes", chunked(&[b"fffff\r\n", &bytes[..50_000]].concat()), true),
        close("a chunk without its end", chunked(&[b"5\r\n", &bytes[..10]].concat()), true),
        close("many headers", head(&headers), true),
        close(
            "a packed body",
            with("Content-Encoding: gzip\r\nContent-Length: 20\r\n", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0"),
            false,
        ),
        ("a reset instead of an answer", Said(Vec::new(), Then::Reset), true),
        ("a reset within the head", Said(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(), Then::Reset), true),
        ("a reset behind the head", Said(head("Content-Length: 100000\r\n"), Then::Reset), true),
        ("a reset within the body", Said(with("Content-Length: 100000\r\n", &bytes[..50_000]), Then::Reset), true),
        ("an endless first line", Said(Vec::new(), Then::Endless(&[b'x'; 4096])), true),
        ("an endless header", Said(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), Then::Endless(&[b'x'; 4096])), true),
        ("endless headers", Said(b"HTTP/1.1 200 OK\r\n".to_vec(), Then::Endless(b"X: y\r\n")), true),
        ("endless promises", Said(Vec::new(), Then::Endless(b"HTTP/1.1 100 Continue\r\n\r\n")), true),
        ("an endless chunk extension", Said(chunked(b"5;x="), Then::Endless(&[b'x'; 4096])), true),
        ("endless small chunks", Said(chunked(b""), Then::Endless(b"1\r\nx\r\n")), false),
        ("a head that drips", Said(b"HTTP/1.1 200 OK\r\n".to_vec(), Then::Drip(b"X: y\r\n")), true),
    ]
}

/// Short timeouts for misbehaviour that only time ends, with many retries: on a slow machine a correct response may be late, but
/// not every time.
fn patient(said: &Said, again: bool, tries: u32) -> Case {
    let mut case = Case::new();
    case.options.retries = 1;
    if again && matches!(said.1, Then::Drip(_) | Then::Endless(_)) {
        (case.options.retries, case.options.idle_timeout) = (tries, Duration::from_millis(400));
    }
    case
}

#[test]
fn malformed_responses_have_the_right_class_and_few_retries() {
    let bytes = payload(SIZE);
    std::thread::scope(|scope| {
        for (name, said, again) in lies(&bytes) {
            let bytes = &bytes;
            scope.spawn(move || {
                let case = patient(&said, again, 1);
                let wire = Wire::start(said, false, &[]);
                let shown = case.fails(&from_url(bytes, format!("http://user:secret@{}/x?k=secret", wire.address)), Class::Network);
                assert!(!shown.contains("secret") && shown.len() < 2000, "{name}: {shown}");
                let asked = wire.connections.load(Ordering::SeqCst);
                assert!(if again { (2..=4).contains(&asked) } else { asked == 1 }, "{name}: asked {asked} times: {shown}");
            });
        }
    });
}

#[test]
fn the_next_answer_or_the_next_run_heals_it() {
    let bytes = payload(SIZE);
    std::thread::scope(|scope| {
        for (name, said, again) in lies(&bytes) {
            let bytes = &bytes;
            scope.spawn(move || {
                let case = patient(&said, again, 100);
                let wire = Wire::start(said, true, bytes);
                let want = from_url(bytes, format!("http://{}/x", wire.address));
                let first = case.fetch(std::slice::from_ref(&want));
                assert_eq!(first.is_ok(), again, "{name}: {first:?}");
                case.fetch(std::slice::from_ref(&want)).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert!(case.has(&want), "{name}");
            });
        }
    });
}

#[test]
fn a_content_coding_is_not_decoded() {
    let bytes = payload(1000);
    // A server that labels uncompressed bytes as compressed: the bytes are taken as sent.
    let odd = always(Answer::ok(&bytes).header("Content-Encoding: gzip"));
    let case = Case::new().mirrors(&[&odd]);
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
    // A decompression bomb: 10 KiB for 10 MiB. It is not decompressed, so it is merely wrong.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![0; 10 << 20]).unwrap();
    let bomb = packer.finish().unwrap();
    let server = always(Answer::ok(&bomb).header("Content-Encoding: gzip"));
    let locked = Want { size: Some(bomb.len() as u64), ..want(&bytes) };
    let shown = Case::new().mirrors(&[&server]).fails(&locked, Class::Integrity);
    assert!(shown.contains(&format!("found sha256:{}", Sha256::of(&bomb))), "{shown}");
    assert_eq!(server.sent(), bomb.len());
}

#[test]
fn a_wrong_range_keeps_the_present_bytes() {
    let bytes = payload(SIZE);
    let body = bytes.clone();
    let server = Server::start(move |request| match (&request.range, request.nth) {
        (None, _) => Answer::ok(&body).cut(60_000),
        (Some(_), 1) => Answer::new(206, &body[60_000..]).header("Content-Range: bytes 60000-99999/999999"),
        _ => Answer::ranged(request, &body),
    });
    let case = Case::new().mirrors(&[&server]);
    let shown = case.fails(&want(&bytes), Class::Network);
    assert!(shown.contains("has the wrong size: expected 100000 bytes"), "{shown}");
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
    assert_eq!(server.ranges(), [None, Some("bytes=60000-".to_owned()), Some("bytes=60000-".to_owned())]);
}

#[test]
fn an_absurd_pause_is_cut_short() {
    let bytes = payload(10);
    for asked in ["18446744073709551615", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "-5", "1e9", "0x10", ""] {
        for status in [429, 503] {
            let (body, header) = (bytes.clone(), format!("Retry-After: {asked}"));
            let server = Server::start(move |request| match request.nth {
                0 => Answer::new(status, b"busy").header(header.clone()),
                _ => Answer::ranged(request, &body),
            });
            let case = Case::new().mirrors(&[&server]);
            let told = case.fetch(&[want(&bytes)]).unwrap().lines();
            assert!(case.has(&want(&bytes)));
            let pause = told[1].strip_prefix("retry etcd-server ").and_then(|line| line.split_once("ms "));
            let (pause, _) = pause.unwrap_or_else(|| panic!("{told:?}"));
            assert!(pause.parse::<u128>().unwrap() <= case.options.max_backoff.as_millis(), "{asked}: {told:?}");
        }
    }
}

#[test]
fn redirections_to_others_take_no_login_along() {
    let bytes = payload(1000);
    let thief = honest(&bytes);
    let to = format!("http://other:secret@{}/x?X-Amz-Signature=secret", thief.address());
    let server = always(Answer::to(to));
    let want = from_url(&bytes, format!("http://user:secret@{}/x", server.address()));
    let case = Case::new();
    case.fetch(std::slice::from_ref(&want)).unwrap();
    assert!(case.has(&want));
    let ours = |request: &Request| request.header("authorization") == Some("Basic dXNlcjpzZWNyZXQ=");
    assert!(server.requests().iter().all(ours), "who was asked knows us");
    assert!(!thief.requests().iter().any(ours), "who was not, does not");
    for to in ["data:text/plain,secret", "javascript:secret", "unix:/secret", "//user:secret@[/"] {
        let server = always(Answer::to(to));
        let shown = case.fails(&from_url(b"x", format!("{}/x", server.base())), Class::Network);
        assert!(shown.contains("not followed") && !shown.contains("//user:secret"), "{to}: {shown}");
    }
}
