//! Logins of mirrors and rewrites, and proxies: which server sees which login, and the errors.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::storage::fetch::login::Machine;

/// `me` and `hidden` as a Basic header.
const BASIC: &str = "Basic bWU6aGlkZGVu";

fn login() -> Arc<Login> {
    Arc::new(Login { user: "me".to_owned(), password: "hidden".into(), token_hosts: BTreeSet::new() })
}

/// A mirror that serves `bytes` to requests with the login.
fn guarded(bytes: &[u8]) -> Server {
    let bytes = bytes.to_vec();
    Server::start(move |request| match request.header("authorization") {
        Some(BASIC) => Answer::ranged(request, &bytes),
        _ => Answer::new(401, b"no").header("WWW-Authenticate: Basic realm=\"mirror\""),
    })
}

fn apt(apt: Apt) -> AptAccess {
    AptAccess::Known(Arc::new(apt))
}

#[test]
fn a_login_of_the_configuration_is_shown_to_its_mirror_and_to_its_rewrite() {
    let bytes = payload(1000);
    let mirror = guarded(&bytes);
    let mut case = Case::new().mirrors(&[&mirror]);
    case.options.rewrites = vec![("https://up.test/".to_owned(), format!("{}/up/", mirror.base()))];
    let rewritten = from_url(&bytes, "https://up.test/kubelet".to_owned());
    for want in [want(&bytes), rewritten.clone()] {
        let shown = case.fails(&want, Class::Network);
        assert!(shown.contains("answered 401 Unauthorized, and no login is configured for it"), "{shown}");
        assert!(shown.contains(&format!("`[[login]]` with `host = \"{}\"`", mirror.address())), "{shown}");
    }
    assert!(text("https://up.test/sum", 100, &case.options, &Cancel::new()).unwrap_err().to_string().contains("no login is configured"));
    case.options.logins = [(mirror.address().to_string(), login())].into();
    case.fetch(&[want(&bytes)]).unwrap();
    let case = Case { options: case.options, ..Case::new() };
    case.fetch(std::slice::from_ref(&rewritten)).unwrap();
    assert!(case.has(&rewritten));
    assert_eq!(size("https://up.test/kubelet", &case.options, &Cancel::new()), Some(1000));
    // A wrong login is reported as such, and not retried.
    let mut case = Case { options: case.options, ..Case::new() };
    let other = Login { user: "me".to_owned(), password: "other".into(), token_hosts: BTreeSet::new() };
    case.options.logins = [(mirror.address().to_string(), Arc::new(other))].into();
    let before = mirror.requests().len();
    let shown = case.fails(&want(&bytes), Class::Network);
    assert!(shown.contains("answered 401 Unauthorized to the configured login") && !shown.contains("other"), "{shown}");
    assert_eq!(mirror.requests().len(), before + 1);
}

#[test]
fn apt_logins_are_used_as_by_apt() {
    let bytes = payload(1000);
    let mirror = guarded(&bytes);
    let address = mirror.address();
    let mut case = Case::new().mirrors(&[&mirror]);
    let machines = |place: String| Apt { machines: Machine::parse(&format!("machine {place} login me password hidden")), ..Apt::default() };
    // Over plain http only if the entry says so.
    for place in [format!("{address}"), format!("http://{address}/ubuntu"), format!("https://{address}")] {
        case.options.apt = apt(machines(place));
        assert!(case.fails(&want(&bytes), Class::Network).contains("no login is configured"));
    }
    case.options.apt = apt(machines(format!("http://{address}/pool")));
    case.fetch(&[want(&bytes)]).unwrap();
    // apt's logins are not used for addresses of a lockfile.
    let case = Case { options: case.options, ..Case::new() };
    let shown = case.fails(&from_url(&bytes, format!("{}/pool/x", mirror.base())), Class::Network);
    assert!(shown.contains("no login is configured"), "{shown}");
}

#[test]
fn a_redirect_target_of_a_mirror_gets_no_login() {
    let bytes = payload(1000);
    let elsewhere = honest(&bytes);
    let base = elsewhere.base();
    let mirror = Server::start(move |_| Answer::to(format!("{base}/there")));
    let mut case = Case::new().mirrors(&[&mirror]);
    case.options.logins = [(mirror.address().to_string(), login())].into();
    case.fetch(&[want(&bytes)]).unwrap();
    assert_eq!(mirror.requests()[0].header("authorization"), Some(BASIC));
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_lockfile_s_plain_address_gets_no_password() {
    let bytes = payload(100);
    let listener = honest(&bytes);
    let mut case = Case::new();
    case.options.proxies = Proxies::all(&listener.base());
    case.options.logins = [("far.test".to_owned(), login())].into();
    case.fetch(&[from_url(&bytes, "http://far.test/kubelet".to_owned())]).unwrap();
    assert_eq!(listener.requests()[0].header("authorization"), None);
    // A plain http address from the user's own rewrite gets the password: the user configured it.
    let mut case = Case { options: case.options, ..Case::new() };
    case.options.rewrites = vec![("https://up.test/".to_owned(), "http://far.test/".to_owned())];
    case.fetch(&[from_url(&bytes, "https://up.test/kubelet".to_owned())]).unwrap();
    assert_eq!(listener.requests()[1].header("authorization"), Some(BASIC));
}

/// A proxy that serves `bytes` for every request with the login.
fn proxy(bytes: &[u8]) -> Server {
    let bytes = bytes.to_vec();
    Server::start(move |request| match request.header("proxy-authorization") {
        Some(BASIC) => Answer::ranged(request, &bytes),
        _ => Answer::new(407, b"no").header("Proxy-Authenticate: Basic realm=\"proxy\""),
    })
}

#[test]
fn a_proxy_that_requires_a_login_is_named() {
    let bytes = payload(1000);
    let server = proxy(&bytes);
    let mut case = Case::new();
    case.options.mirrors = vec!["http://far.test/debian".into()];
    case.options.proxies = Proxies::all(&server.base());
    for want in [want(&bytes), from_url(&bytes, "http://far.test/x".to_owned()), from_url(&bytes, "https://far.test/x".to_owned())] {
        let before = server.requests().len();
        let shown = case.fails(&want, Class::Network);
        assert!(shown.contains(&format!("the proxy {} requires a user and a password (407)", server.base())), "{shown}");
        assert!(shown.contains("http://USER:PASSWORD@HOST:PORT"), "{shown}");
        assert_eq!(server.requests().len(), before + 1, "asking again would give the same");
    }
    case.options.proxies = Proxies::all(&format!("http://me:hidden@{}", server.address()));
    case.options.logins = [("far.test".to_owned(), login())].into();
    case.fetch(&[want(&bytes)]).unwrap();
    let last = server.requests().pop().unwrap();
    assert_eq!((&*last.path, last.header("authorization")), (&*format!("http://far.test/debian/{POOL}"), Some(BASIC)));
    // apt's login files may have a proxy's login too.
    let mut case = Case::new();
    case.options.mirrors = vec!["http://far.test/debian".into()];
    let machines = Machine::parse(&format!("machine http://{} login me password hidden", server.address()));
    case.options.apt = apt(Apt { proxies: Proxies::all(&server.base()), machines, ..Apt::default() });
    case.fetch(&[want(&bytes)]).unwrap();
}

#[test]
fn a_dead_proxy_is_named() {
    let closed = always(Answer::ok(b"")).base();
    let mut case = Case::new();
    case.options.proxies = Proxies::all(&closed.replace("http://", "http://me:hidden@"));
    case.options.mirrors = vec!["http://far.test/debian".into()];
    case.options.retries = 0;
    for want in [want(b"x"), from_url(b"x", "http://far.test/x".to_owned()), from_url(b"x", "https://far.test/x".to_owned())] {
        let shown = case.fails(&want, Class::Network);
        assert!(shown.contains(&format!("cannot be reached through the proxy {closed}: ")), "{shown}");
        assert!(shown.contains("`no_proxy`") && !shown.contains("hidden"), "{shown}");
    }
    case.options.proxies = Proxies::all("socks5h://me:hidden@127.0.0.1:9");
    let error = case.fetch(&[want(b"x")]).unwrap_err().to_string();
    assert!(error.contains("unsupported proxy scheme: socks5h://127.0.0.1:9") && !error.contains("hidden"), "{error}");
}

#[test]
fn apt_s_proxy_is_asked_for_packages_alone() {
    let bytes = payload(1000);
    let (of_apt, direct) = (honest(&bytes), honest(&bytes));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (told, base) = (Arc::clone(&asked), of_apt.base());
    let mut case = Case::new();
    case.options.mirrors = vec!["http://far.test/debian".into()];
    case.options.apt = AptAccess::Ask(Arc::new(move |mirrors: &[String]| {
        told.lock().unwrap().extend_from_slice(mirrors);
        Ok(Apt { proxies: Proxies::all(&base), ..Apt::default() })
    }));
    case.fetch(&[from_url(&bytes, format!("{}/kubelet", direct.base()))]).unwrap();
    assert_eq!((direct.requests().len(), of_apt.connections(), asked.lock().unwrap().len()), (1, 0, 0), "apt is not even asked");
    let case = Case { options: case.options, ..Case::new() };
    case.fetch(&[want(&bytes)]).unwrap();
    assert_eq!(of_apt.requests()[0].path, format!("http://far.test/debian/{POOL}"));
    assert_eq!(*asked.lock().unwrap(), ["http://far.test/debian"]);
}

#[test]
fn without_apt_a_mirror_is_reached_like_any_server() {
    let bytes = payload(1000);
    let mirror = honest(&bytes);
    let mut case = Case::new().mirrors(&[&mirror]);
    case.options.apt = AptAccess::Ask(Arc::new(|_: &[String]| Err(Error::user("apt is missing"))));
    case.fetch(&[want(&bytes)]).unwrap();
}
