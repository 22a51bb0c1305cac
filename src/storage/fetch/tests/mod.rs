//! Downloads from servers that lie, stall, break off and refuse.

mod hostile;
mod local;
mod login;
mod query;
mod registry;
mod resume;
mod together;
mod urls;
mod wire;

use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::common::error::Class;
use crate::common::testing::shared::server::{Answer, Ending, Framing, Request, Server};
use crate::common::value::{Proxies, Sha256};
use crate::storage::store::Access;

/// A test case: its own store, with short pauses between retries.
struct Case {
    dir: tempfile::TempDir,
    store: Store,
    options: Options,
}

impl Case {
    fn new() -> Case {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let ms = Duration::from_millis;
        let options = Options {
            jobs: 4,
            retries: 3,
            backoff: ms(1),
            max_backoff: ms(20),
            // Long enough that only a real hang reaches them, even on a slow machine. Tests of timeouts set their own.
            connect_timeout: ms(120_000),
            idle_timeout: ms(120_000),
            min_rate: 0,
            ..Options::default()
        };
        Case { dir, store, options }
    }

    fn mirrors(mut self, mirrors: &[&Server]) -> Case {
        self.options.mirrors = mirrors.iter().map(|server| server.base().into()).collect();
        self
    }

    fn fetch(&self, wants: &[Want]) -> Result<Told, Error> {
        let told = Told::default();
        fetch(&self.store, wants, &self.options, &told, &Cancel::new()).map(|()| told)
    }

    /// Runs a fetch that must fail and leave no blob.
    fn fails(&self, want: &Want, class: Class) -> String {
        let error = self.fetch(std::slice::from_ref(want)).unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert!(self.store.resolve(&want.digest, None).unwrap().is_none());
        let shown = error.to_string();
        // If no server is reachable, the error omits digests.
        let told = shown.contains(&want.digest.to_string()) || shown.contains(&format!("missing: {}", want.name));
        assert!(told && shown.contains(&want.name), "{shown}");
        shown
    }

    fn has(&self, want: &Want) -> bool {
        let Some(blob) = self.store.resolve(&want.digest, want.size).unwrap() else { return false };
        let mut reader = self.store.reader(&blob.digest).unwrap().unwrap();
        std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
        self.tmp().is_empty()
    }

    fn tmp(&self) -> Vec<std::ffi::OsString> {
        crate::common::fsx::list(&self.dir.path().join("store/tmp")).unwrap()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(&dir.join("store"), Access::Shared, &Cancel::new(), &|| {}).unwrap()
}

/// The recorded events.
#[derive(Debug, Default)]
struct Told {
    lines: Mutex<Vec<String>>,
}

impl Told {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn say(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl Events for Told {
    fn started(&self, want: &Want, have: u64) {
        self.say(format!("started {} {have}", want.name));
    }
    fn waiting(&self, want: &Want) {
        self.say(format!("waiting {}", want.name));
    }
    fn retry(&self, want: &Want, pause: Duration, reason: &str) {
        self.say(format!("retry {} {}ms {reason}", want.name, pause.as_millis()));
    }
    fn finished(&self, want: &Want) {
        self.say(format!("finished {}", want.name));
    }
    fn failed(&self, want: &Want) {
        self.say(format!("failed {}", want.name));
    }
}

const POOL: &str = "pool/main/e/etcd/etcd-server_3.4.23-4+b4_amd64.deb";

/// Pseudo-random bytes.
fn payload(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

fn want(bytes: &[u8]) -> Want {
    Want {
        name: "etcd-server".to_owned(),
        source: Source::Pool { archive: "debian".to_owned(), path: POOL.to_owned() },
        digest: Sha256::of(bytes).into(),
        size: Some(bytes.len() as u64),
    }
}

fn from_url(bytes: &[u8], url: String) -> Want {
    Want { source: Source::Urls(vec![url]), ..want(bytes) }
}

/// A server with the same response for every path.
fn always(answer: Answer) -> Server {
    Server::start(move |_| answer.clone())
}

fn honest(bytes: &[u8]) -> Server {
    let bytes = bytes.to_vec();
    Server::start(move |request| Answer::ranged(request, &bytes))
}

#[test]
fn correct_bytes_arrive() {
    for (len, framing) in [(0, None), (1, None), (3_000_000, None), (3_000_000, Some(Framing::Chunked)), (300_000, Some(Framing::Close))] {
        let bytes = payload(len);
        let body = bytes.clone();
        let server = Server::start(move |_| Answer::ok(&body).framed(framing.unwrap_or(Framing::Length(body.len()))));
        let case = Case::new().mirrors(&[&server]);
        let told = case.fetch(&[want(&bytes)]).unwrap();
        assert!(case.has(&want(&bytes)));
        assert_eq!(told.lines(), ["started etcd-server 0", "finished etcd-server"]);
        if len > 0 {
            let requests = server.requests();
            assert_eq!((requests.len(), &*requests[0].path, &requests[0].range), (1, &*format!("/{POOL}"), &None));
            assert!(requests[0].headers.contains(&"accept-encoding: identity".to_owned()));
            assert!(requests[0].headers.iter().any(|line| line.starts_with("user-agent: kbake/")), "{requests:?}");
        }
        // The second time the blob is present, and no server is asked.
        let before = server.connections();
        assert!(case.fetch(&[want(&bytes)]).unwrap().lines().is_empty());
        assert_eq!(server.connections(), before);
    }
}

#[test]
fn an_unlocked_size_works_and_is_bounded() {
    let bytes = payload(200_000);
    let server = honest(&bytes);
    let mut case = Case::new().mirrors(&[&server]);
    let unsized_want = Want { size: None, ..want(&bytes) };
    case.options.max_unsized = 199_999;
    assert!(case.fails(&unsized_want, Class::Network).contains("is larger than 195 KiB"));
    let endless = always(Answer::ok(b"x").framed(Framing::Chunked).ending(Ending::Endless));
    case.options.mirrors = vec![endless.base().into()];
    let shown = case.fails(&unsized_want, Class::Network);
    assert!(shown.contains("sent more than 195 KiB (199999 bytes), the limit for artifacts without a locked size"), "{shown}");
    assert!(shown.contains("`kbake lock --upgrade package:etcd-server` locks its size"), "{shown}");
    assert!(case.tmp().is_empty(), "what cannot be right is not kept");
    case.options.mirrors = vec![server.base().into()];
    case.options.max_unsized = 200_000;
    case.fetch(std::slice::from_ref(&unsized_want)).unwrap();
    assert!(case.has(&unsized_want));
}

#[test]
fn offline_lists_everything_and_opens_no_socket() {
    let (a, b, c) = (payload(2_000_000), payload(100), payload(5));
    let server = honest(&a);
    let mut case = Case::new().mirrors(&[&server]);
    case.options.offline = true;
    case.store.insert(&c).unwrap();
    let second = Want {
        name: "kubelet".to_owned(),
        size: None,
        ..from_url(&b, format!("http://user:secret@{}/kubelet?key=secret", server.address()))
    };
    let third = Want { name: "present".to_owned(), ..want(&c) };
    let error = case.fetch(&[want(&a), second, third, want(&a)]).unwrap_err();
    assert_eq!(error.class(), Class::Network);
    let shown = error.to_string();
    assert!(
        shown.starts_with("2 artifacts are missing in the store (1.9 MiB and 1 of unknown size), and --offline forbids fetching\n"),
        "{shown}"
    );
    assert!(shown.contains(&format!("  etcd-server  1.9 MiB  sha256:{}  from {POOL}\n", Sha256::of(&a))), "{shown}");
    assert!(shown.contains("  kubelet  size unknown  ") && shown.contains("/kubelet?…\n"), "{shown}");
    assert!(shown.contains("hint: run `kbake fetch`"), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("present"), "{shown}");
    assert_eq!(server.connections(), 0);
    case.fetch(&[Want { name: "present".to_owned(), ..want(&c) }]).unwrap();
}

#[test]
fn space_is_looked_at_before_anything_is_asked() {
    let server = always(Answer::ok(b""));
    let case = Case::new().mirrors(&[&server]);
    let wants: Vec<Want> = (0..2u8).map(|n| Want { size: Some(1 << 59), digest: Sha256::of([n]).into(), ..want(b"") }).collect();
    let error = case.fetch(&wants).unwrap_err();
    assert_eq!(error.class(), Class::NoSpace);
    assert!(error.to_string().contains("needed 1.0 EiB"), "{error}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_full_disk_on_the_way_leaves_nothing() {
    use crate::common::fsx::fault::{self, Fault};
    let bytes = payload(300_000);
    let server = honest(&bytes);
    let case = Case::new().mirrors(&[&server]);
    let root = case.store.root().to_owned();
    let mut met = 0;
    for steps in 0.. {
        fault::after(&root, steps, Fault::NoSpace);
        let result = case.fetch(&[want(&bytes)]);
        if !fault::clear(&root) {
            result.unwrap();
            break;
        }
        met += 1;
        let error = result.unwrap_err();
        assert_eq!(error.class(), Class::NoSpace, "after {steps} steps: {error}");
        let left: Vec<_> = case.tmp();
        // In the last steps all bytes are present: then they may stay, or already be the blob.
        assert!(
            left.is_empty() || case.store.partial_size(&Sha256::of(&bytes).into()).unwrap() == 300_000,
            "after {steps} steps: {left:?}"
        );
        if case.store.contains(&Sha256::of(&bytes)).unwrap() {
            assert!(case.has(&want(&bytes)));
            break;
        }
    }
    assert!(met >= 5, "{met}");
    case.fetch(&[want(&bytes)]).unwrap();
    assert!(case.has(&want(&bytes)));
}

#[test]
fn a_proxy_is_used_when_there_is_one() {
    let bytes = payload(1000);
    let proxy = honest(&bytes);
    let mut case = Case::new();
    case.options.proxies = Proxies::all(&format!("http://user:secret@{}", proxy.address()));
    let url = "http://far.test/kubelet";
    case.fetch(&[from_url(&bytes, url.to_owned())]).unwrap();
    let request = &proxy.requests()[0];
    assert_eq!(request.path, url);
    assert!(request.headers.iter().any(|line| line.starts_with("proxy-authorization: Basic ")), "{request:?}");
    let closed = always(Answer::ok(b"")).address();
    case.options.proxies = Proxies::all(&format!("http://user:secret@{closed}"));
    let shown = case.fails(&from_url(b"other", url.to_owned()), Class::Network);
    assert!(!shown.contains("secret"), "{shown}");
    case.options.proxies = Proxies::all("http://user:secret@[");
    let error = case.fetch(&[want(b"other")]).unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn without_a_mirror_the_message_says_so() {
    let error = Case::new().fetch(&[want(b"x")]).unwrap_err();
    assert_eq!(error.class(), Class::Network);
    assert!(
        error.to_string().starts_with("no mirror of the archive `debian` is configured") && error.to_string().contains(POOL),
        "{error}"
    );
    let server = honest(b"y");
    let other = from_url(b"y", format!("{}/y", server.base()));
    assert!(Case::new().fetch(&[other, want(b"x")]).unwrap_err().message().starts_with("no mirror of the archive `debian` is configured"));
    assert_eq!(server.connections(), 0, "it is said before anything else is asked");
    let error = Case::new().fetch(&[Want { source: Source::Urls(Vec::new()), ..want(b"x") }]).unwrap_err();
    assert_eq!(error.class(), Class::User);
    assert!(error.to_string().contains("no source is known for `etcd-server`"), "{error}");
}
