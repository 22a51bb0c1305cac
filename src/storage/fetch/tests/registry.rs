//! Container registries, correct and hostile ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::common::value::Sha512;

const REPOSITORY: &str = "k8s/pause";

/// The content and behaviour of a registry.
#[derive(Default)]
struct State {
    /// Objects by digest.
    things: BTreeMap<String, Vec<u8>>,
    /// The currently valid token, if one is required.
    token: Option<String>,
    /// Number of issued tokens.
    given: u32,
    /// The `Authorization` that the token server, or the registry itself, requires.
    login: Option<String>,
    /// True if the registry itself accepts passwords.
    basic: bool,
    /// Redirect target of blobs.
    storage: Option<String>,
    /// Address of the token server.
    realm: String,
    /// The claimed digest of every tag.
    said: Option<String>,
}

struct Registry {
    server: Server,
    tokens: Server,
    storage: Server,
    state: Arc<Mutex<State>>,
}

impl Registry {
    fn start(things: &[&[u8]]) -> Registry {
        let things = things.iter().map(|bytes| (format!("sha256:{}", Sha256::of(bytes)), bytes.to_vec())).collect();
        let state = Arc::new(Mutex::new(State { things, ..State::default() }));
        let (registry, giver, store) = (Arc::clone(&state), Arc::clone(&state), Arc::clone(&state));
        let tokens = Server::start(move |request| give_token(&mut giver.lock().unwrap(), request));
        let storage = Server::start(move |request| {
            let name = request.path.trim_start_matches('/').split('?').next().unwrap();
            Answer::ranged(request, &store.lock().unwrap().things[name])
        });
        let server = Server::start(move |request| answer(&registry.lock().unwrap(), request));
        state.lock().unwrap().realm = format!("{}/token?account=", tokens.base());
        Registry { server, tokens, storage, state }
    }

    /// Requires a token for everything from now on.
    fn with_tokens(self) -> Registry {
        self.set(|state| state.token = Some("none-yet".to_owned()))
    }

    fn with_storage(self) -> Registry {
        let base = self.storage.base();
        self.set(|state| state.storage = Some(base))
    }

    fn set(self, change: impl FnOnce(&mut State)) -> Registry {
        change(&mut self.state.lock().unwrap());
        self
    }

    fn reference(&self) -> Reference {
        format!("{}/{REPOSITORY}:3.10", self.server.address()).parse().unwrap()
    }

    fn want(&self, bytes: &[u8], kind: RegistryKind) -> Want {
        Want { source: Source::Registry { reference: self.reference(), kind }, size: None, ..want(bytes) }
    }

    fn login(&self) -> BTreeMap<String, Arc<Login>> {
        self.login_with([self.tokens.address().to_string()].into())
    }

    fn login_with(&self, token_hosts: BTreeSet<String>) -> BTreeMap<String, Arc<Login>> {
        let login = Login { user: "me".to_owned(), password: "hidden".into(), token_hosts };
        [(self.server.address().to_string(), Arc::new(login))].into()
    }
}

/// `me` and `hidden` as a Basic header.
const BASIC: &str = "Basic bWU6aGlkZGVu";

fn give_token(state: &mut State, request: &Request) -> Answer {
    if state.login.is_some() && request.header("authorization") != state.login.as_deref() {
        return Answer::new(401, b"hidden").header("WWW-Authenticate: Basic realm=\"tokens\"");
    }
    state.given += 1;
    let token = format!("token-{}", state.given);
    let body = format!("{{\"token\": \"{token}\", \"expires_in\": 60}}");
    state.token = Some(token);
    Answer::ok(body.as_bytes()).header("Content-Type: application/json")
}

fn answer(state: &State, request: &Request) -> Answer {
    let wanted = if state.basic { state.login.clone() } else { state.token.as_ref().map(|token| format!("Bearer {token}")) };
    if wanted.is_some() && request.header("authorization") != wanted.as_deref() {
        let refusal = Answer::new(401, b"{\"errors\": []}");
        return if state.basic {
            refusal.header("WWW-Authenticate: Basic realm=\"here\"")
        } else {
            let scope = format!("repository:{REPOSITORY}:pull");
            refusal.header(format!("Www-Authenticate: Bearer realm=\"{}\",service=\"a registry\",scope=\"{scope}\"", state.realm))
        };
    }
    let Some((kind, id)) = request.path.strip_prefix(&format!("/v2/{REPOSITORY}/")).and_then(|rest| rest.split_once('/')) else {
        return Answer::new(404, b"{}");
    };
    let accepts = request.header("accept").unwrap_or_default();
    match (kind, &state.storage, state.things.get(id)) {
        ("blobs", Some(storage), Some(_)) => Answer::to(format!("{storage}/{id}?signature=hidden")),
        ("blobs", None, Some(bytes)) => Answer::ranged(request, bytes),
        ("manifests", _, Some(bytes)) if accepts.contains("application/vnd.oci.image.index.v1+json") => Answer::ok(bytes),
        ("manifests", _, None) if id == "3.10" => {
            let bytes = &state.things[state.things.keys().next().unwrap()];
            let answer = Answer::ok(bytes);
            match &state.said {
                Some(said) => answer.header(format!("Docker-Content-Digest: {said}")),
                None => answer,
            }
        }
        _ => Answer::new(404, b"{}"),
    }
}

fn tag(case: &Case, reference: &Reference) -> Result<(Sha256, Vec<u8>), Error> {
    tag_digest(reference, &case.options, &Cancel::new())
}

#[test]
fn manifests_and_blobs_come_by_digest() {
    let (manifest, layer) = (b"{\"schemaVersion\": 2}".to_vec(), payload(300_000));
    let registry = Registry::start(&[&manifest, &layer]);
    let case = Case::new();
    let wants = [registry.want(&manifest, RegistryKind::Manifest), registry.want(&layer, RegistryKind::Blob)];
    case.fetch(&wants).unwrap();
    assert!(wants.iter().all(|want| case.has(want)));
    let requests = registry.server.requests();
    let asked: BTreeMap<&str, Option<&str>> = requests.iter().map(|request| (&*request.path, request.header("accept"))).collect();
    let accept = asked[&*format!("/v2/{REPOSITORY}/manifests/sha256:{}", Sha256::of(&manifest))].unwrap();
    for kind in ["oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2"] {
        assert!(accept.contains(&format!("application/vnd.{kind}+json")), "{accept}");
    }
    assert!(asked.contains_key(&*format!("/v2/{REPOSITORY}/blobs/sha256:{}", Sha256::of(&layer))), "{asked:?}");
    assert!(requests.iter().all(|request| request.header("authorization").is_none()));
    let shown = case.fails(&registry.want(b"another", RegistryKind::Blob), Class::Network);
    assert!(shown.contains("answered 404 Not Found"), "{shown}");
}

#[test]
fn a_longer_digest_is_asked_for_by_its_own_name() {
    let bytes = payload(1000);
    let server = honest(&bytes);
    let case = Case::new();
    let reference = format!("{}/a:1", server.address()).parse().unwrap();
    let digest = Digest::Sha512(Sha512::of(&bytes));
    let want = Want { digest, source: Source::Registry { reference, kind: RegistryKind::Blob }, ..want(&bytes) };
    case.fetch(std::slice::from_ref(&want)).unwrap();
    assert_eq!(server.requests()[0].path, format!("/v2/a/blobs/{digest}"));
}

#[test]
fn one_token_serves_all_threads_and_stays_with_the_registry() {
    let layers: Vec<Vec<u8>> = (0..12).map(|n| payload(2000 + n)).collect();
    let registry = Registry::start(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>()).with_tokens().with_storage();
    let case = Case::new();
    let wants: Vec<Want> = layers.iter().map(|bytes| registry.want(bytes, RegistryKind::Blob)).collect();
    case.fetch(&wants).unwrap();
    assert!(wants.iter().all(|want| case.has(want)));
    let tokens = registry.tokens.requests();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert_eq!(tokens[0].path, "/token?account=&service=a+registry&scope=repository%3Ak8s%2Fpause%3Apull");
    assert_eq!(tokens[0].header("authorization"), None, "we are nobody");
    assert!(registry.server.requests().iter().any(|request| request.header("authorization") == Some("Bearer token-1")));
    let leaks: Vec<Request> = registry.storage.requests().into_iter().filter(|request| request.header("authorization").is_some()).collect();
    assert!(leaks.is_empty() && registry.storage.requests().len() == 12, "{leaks:?}");
}

#[test]
fn an_expired_token_is_replaced_in_the_middle() {
    let layer = payload(600_000);
    let registry = Registry::start(&[&layer]).with_tokens();
    let (state, body) = (Arc::clone(&registry.state), layer.clone());
    // A proxy in front that breaks once; by then the token has expired.
    let breaking = Server::start(move |request| {
        let mut state = state.lock().unwrap();
        let found = answer(&state, request);
        if found.status == 200 && request.range.is_none() {
            state.token = Some("a later one".to_owned());
            return Answer::ok(&body).cut(250_000);
        }
        found
    });
    let mut case = Case::new();
    case.options.registry_mirrors = vec![(registry.server.address().to_string(), breaking.base())];
    let want = registry.want(&layer, RegistryKind::Blob);
    case.fetch(std::slice::from_ref(&want)).unwrap();
    assert!(case.has(&want));
    let shown: Vec<_> = breaking.requests().iter().map(|one| (one.range.clone(), one.header("authorization").map(str::to_owned))).collect();
    let rest = || Some("bytes=250000-".to_owned());
    let token = |n: u32| Some(format!("Bearer token-{n}"));
    assert_eq!(shown, [(None, None), (None, token(1)), (rest(), token(1)), (rest(), token(2))]);
}

#[test]
fn a_registry_that_is_never_satisfied_is_given_up() {
    let registry = Registry::start(&[b"x"]).with_tokens();
    // Every issued token is wrong.
    let stubborn = Server::start({
        let state = Arc::clone(&registry.state);
        move |request| {
            answer(&State { token: Some("other".to_owned()), realm: state.lock().unwrap().realm.clone(), ..State::default() }, request)
        }
    });
    let mut case = Case::new();
    case.options.registry_mirrors = vec![(registry.server.address().to_string(), stubborn.base())];
    let shown = case.fails(&registry.want(b"x", RegistryKind::Blob), Class::Network);
    assert!(shown.contains("answered 401 Unauthorized to the token that it requested"), "{shown}");
    assert_eq!((stubborn.requests().len(), registry.tokens.requests().len()), (2, 1));
    let shown = tag(&case, &registry.reference()).unwrap_err().to_string();
    assert!(shown.contains("to the token that it requested") && !shown.contains("token-"), "{shown}");
}

#[test]
fn a_login_goes_to_its_registry_and_is_never_shown() {
    for basic in [false, true] {
        let registry = Registry::start(&[b"x"]).with_tokens().with_storage();
        let registry = registry.set(|state| (state.login, state.basic) = (Some(BASIC.to_owned()), basic));
        let want = registry.want(b"x", RegistryKind::Blob);
        let mut case = Case::new();
        let shown = case.fails(&want, Class::Network);
        let reason = if basic { "requires a login, and none is configured" } else { "answered 401 Unauthorized to an anonymous request" };
        assert!(shown.contains(reason), "{shown}");
        case.options.logins = registry.login();
        case.fetch(std::slice::from_ref(&want)).unwrap();
        assert!(case.has(&want));
        assert!(registry.storage.requests().iter().all(|request| request.header("authorization").is_none()));
        if !basic {
            assert!(registry.server.requests().iter().all(|request| request.header("authorization") != Some(BASIC)));
        }
        // A wrong password.
        let case = Case { options: case.options, ..Case::new() };
        let registry = registry.set(|state| (state.login, state.token) = (Some("Basic other".to_owned()), Some("other".to_owned())));
        let shown = case.fails(&want, Class::Network);
        let reason = if basic { "rejects the configured login" } else { "answered 401 Unauthorized to the configured login" };
        assert!(shown.contains(reason) && !shown.contains("hidden") && !shown.contains("bWU6"), "{shown}");
        assert!(registry.server.requests().len() < 12, "it is not tried again and again");
    }
}

#[test]
fn a_password_goes_to_its_own_host_or_to_a_token_host_that_the_user_names() {
    let registry = Registry::start(&[b"x"]).with_tokens().set(|state| state.login = Some(BASIC.to_owned()));
    let (want, tokens) = (registry.want(b"x", RegistryKind::Blob), registry.tokens.address().to_string());
    let mut case = Case::new();
    for named in [BTreeSet::new(), ["tokens.test".to_owned()].into(), ["127.0.0.1".to_owned()].into()] {
        case.options.logins = registry.login_with(named);
        let shown = case.fails(&want, Class::Network);
        assert!(
            shown.contains(&format!("requests its login to be sent to {tokens} over plain http, which no `[[login]]` names")),
            "{shown}"
        );
        assert!(shown.contains(&format!("`token-host = \"{tokens}\"`")), "the line to write: {shown}");
        let error = tag(&case, &registry.reference()).unwrap_err().to_string();
        assert!(error.contains("no password was sent") && !error.contains("hidden"), "{error}");
    }
    assert_eq!(registry.tokens.connections(), 0, "it is not even asked");
    case.options.logins = registry.login();
    case.fetch(std::slice::from_ref(&want)).unwrap();
    assert_eq!(registry.tokens.requests()[0].header("authorization"), Some(BASIC));
}

#[test]
fn a_registry_that_gives_its_own_tokens_needs_no_token_host() {
    let state = Arc::new(Mutex::new(State {
        things: [(format!("sha256:{}", Sha256::of(b"x")), b"x".to_vec())].into(),
        token: Some("none-yet".to_owned()),
        login: Some(BASIC.to_owned()),
        ..State::default()
    }));
    let (shared, place) = (Arc::clone(&state), Arc::new(Mutex::new(String::new())));
    let realm = Arc::clone(&place);
    let server = Server::start(move |request| {
        let mut state = shared.lock().unwrap();
        state.realm.clone_from(&realm.lock().unwrap());
        if request.path.starts_with("/token") { give_token(&mut state, request) } else { answer(&state, request) }
    });
    *place.lock().unwrap() = format!("{}/token", server.base());
    let login = Login { user: "me".to_owned(), password: "hidden".into(), token_hosts: BTreeSet::new() };
    let mut case = Case::new();
    case.options.logins = [(server.address().to_string(), Arc::new(login))].into();
    let reference = format!("{}/{REPOSITORY}:3.10", server.address()).parse().unwrap();
    let want = Want { source: Source::Registry { reference, kind: RegistryKind::Blob }, size: None, ..want(b"x") };
    case.fetch(std::slice::from_ref(&want)).unwrap();
    assert!(case.has(&want));
}

#[test]
fn a_token_server_that_sends_us_on_does_not_pass_the_password_on() {
    let registry = Registry::start(&[b"x"]).with_tokens();
    let thief = always(Answer::ok(b"{\"token\": \"t\"}"));
    let base = thief.base();
    let sends_on = Server::start(move |_| Answer::to(format!("{base}/steal")));
    let realm = format!("{}/token", sends_on.base());
    let registry = registry.set(|state| state.realm = realm);
    let mut case = Case::new();
    case.options.logins = registry.login_with([sends_on.address().to_string()].into());
    case.fails(&registry.want(b"x", RegistryKind::Blob), Class::Network);
    assert_eq!(sends_on.requests()[0].header("authorization"), Some(BASIC));
    assert!(!thief.requests().is_empty() && thief.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_redirect_target_gets_no_login() {
    let registry = Registry::start(&[b"x"]);
    // A storage host that asks for a login and names a token server.
    let thief = Server::start({
        let realm = registry.tokens.base();
        move |_| {
            Answer::new(401, b"")
                .header(format!("WWW-Authenticate: Bearer realm=\"{realm}/steal\""))
                .header("WWW-Authenticate: Basic realm=x")
        }
    });
    let base = thief.base();
    let registry = registry.set(|state| (state.storage, state.basic, state.login) = (Some(base), true, Some(BASIC.to_owned())));
    let mut case = Case::new();
    case.options.logins = registry.login();
    let shown = case.fails(&registry.want(b"x", RegistryKind::Blob), Class::Network);
    assert!(shown.contains("answered 401 Unauthorized"), "{shown}");
    assert!(!thief.requests().is_empty() && thief.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(registry.tokens.connections(), 0);
}

#[test]
fn errors_of_the_token_server_name_it() {
    let registry = Registry::start(&[b"x"]).with_tokens();
    let want = registry.want(b"x", RegistryKind::Blob);
    let busy = Server::start({
        let state = Arc::clone(&registry.state);
        move |request| if request.nth < 2 { Answer::new(503, b"") } else { give_token(&mut state.lock().unwrap(), request) }
    });
    let realm = format!("{}/token", busy.base());
    let registry = registry.set(|state| state.realm = realm);
    let told = Case::new().fetch(std::slice::from_ref(&want)).unwrap().lines();
    assert!(told[1].contains(&format!("its token server {} answered 503", busy.address())), "{told:?}");
    assert_eq!(busy.requests().len(), 3);

    let page = always(Answer::ok(b"<html>log in").header("Content-Type: text/html"));
    let (empty, endless) = (always(Answer::ok(b"{}")), always(Answer::ok(b"{").framed(Framing::Chunked).ending(Ending::Endless)));
    let closed = always(Answer::ok(b"")).base();
    for (realm, reason) in [
        (page.base(), "answered with an HTML page"),
        (empty.base(), "returned no token"),
        (endless.base(), "sent more than 1048576 bytes"),
        (closed, "cannot be reached"),
        ("ftp://tokens.test/".to_owned(), "names an unusable token server: ftp://tokens.test/"),
        ("file:///etc/passwd".to_owned(), "names an unusable token server"),
        ("nonsense".to_owned(), "names an unusable token server"),
    ] {
        let with = realm.clone();
        registry.state.lock().unwrap().realm = with;
        registry.state.lock().unwrap().token = Some("unknown".to_owned());
        let shown = Case::new().fails(&want, Class::Network);
        assert!(shown.contains(reason), "{realm}: {shown}");
    }
}

#[test]
fn mirrors_are_asked_in_order_and_the_registry_is_not() {
    let bytes = payload(1000);
    let (original, empty, mirror) = (honest(&bytes), always(Answer::new(404, b"{}")), honest(&bytes));
    let reference: Reference = format!("{}/coredns/coredns:v1", original.address()).parse().unwrap();
    let of = |base: String| (original.address().to_string(), base);
    let mut case = Case::new();
    case.options.registry_mirrors = vec![
        ("other.test".to_owned(), original.base()),
        of(empty.base()),
        of(format!("{}/api/v2/proxy/", empty.base())),
        of(format!("http://user:secret@{}", empty.address())),
        of(format!("{}/k8s", mirror.base())),
    ];
    let want = Want { source: Source::Registry { reference: reference.clone(), kind: RegistryKind::Blob }, ..want(&bytes) };
    case.fetch(std::slice::from_ref(&want)).unwrap();
    let id = Sha256::of(&bytes);
    let paths = |server: &Server| server.requests().into_iter().map(|request| request.path).collect::<Vec<_>>();
    assert_eq!(
        paths(&empty),
        [format!("/v2/coredns/coredns/blobs/sha256:{id}"), format!("/api/v2/proxy/coredns/coredns/blobs/sha256:{id}")]
    );
    assert_eq!(paths(&mirror), [format!("/v2/k8s/coredns/coredns/blobs/sha256:{id}")]);
    assert_eq!(original.connections(), 0);
    assert_eq!(tag(&case, &reference).unwrap(), (id, bytes.clone()));
    assert_eq!(paths(&mirror)[1], "/v2/k8s/coredns/coredns/manifests/v1");
    case.options.registry_mirrors.pop();
    let shown = tag(&case, &reference).unwrap_err().to_string();
    assert!(shown.contains("must not contain a user and password") && !shown.contains("secret"), "{shown}");
}

#[test]
fn an_unreachable_registry_is_reported_with_alternatives() {
    let closed = always(Answer::ok(b"")).address();
    let reference: Reference = format!("{closed}/pause:1").parse().unwrap();
    let want = Want { source: Source::Registry { reference: reference.clone(), kind: RegistryKind::Blob }, size: None, ..want(b"x") };
    let case = Case::new();
    let shown = case.fails(&want, Class::Network);
    assert!(shown.starts_with(&format!("cannot fetch `etcd-server` (size unknown): no connection to {closed}\n")), "{shown}");
    assert!(shown.contains(&format!("missing: etcd-server  size unknown  {reference}")), "{shown}");
    assert!(shown.contains(&format!("`--registry-mirror {closed}=https://MIRROR`")), "{shown}");
    assert!(!shown.contains("kbake lock --set") && !shown.contains("--rewrite"), "{shown}");
    let error = tag(&case, &reference).unwrap_err();
    assert!(error.to_string().contains("cannot be reached") && error.class() == Class::Network, "{error}");
}

#[test]
fn a_tag_has_the_digest_of_its_bytes() {
    let index = b"{\"schemaVersion\": 2, \"manifests\": []}";
    let good = format!("sha256:{}", Sha256::of(index));
    let registry = Registry::start(&[index]).with_tokens();
    let case = Case::new();
    for said in [None, Some(good.clone()), Some("sha512:00".to_owned())] {
        registry.state.lock().unwrap().said = said;
        assert_eq!(tag(&case, &registry.reference()).unwrap(), (Sha256::of(index), index.to_vec()));
    }
    registry.state.lock().unwrap().said = Some(format!("sha256:{}", "0".repeat(64)));
    let error = tag(&case, &registry.reference()).unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    assert!(error.to_string().contains(&format!("found {good}")), "{error}");
    let other = registry.reference().to_string().replace("3.10", "3.99").parse().unwrap();
    let error = tag(&case, &other).unwrap_err();
    assert_eq!(error.class(), Class::User);
    assert!(error.message().contains(&format!("container image {other} does not exist")), "{error}");
    let endless = always(Answer::ok(b"{").framed(Framing::Chunked).ending(Ending::Endless));
    let error = tag(&case, &format!("{}/x:1", endless.address()).parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("sent more than 4.0 MiB"), "{error}");
}

#[test]
fn a_registry_that_gives_other_bytes_is_refused() {
    let registry = Registry::start(&[b"right"]);
    let want = registry.want(b"right", RegistryKind::Manifest);
    let id = format!("sha256:{}", Sha256::of(b"right"));
    let registry = registry.set(|state| _ = state.things.insert(id, b"wrong".to_vec()));
    let case = Case::new();
    let shown = case.fails(&want, Class::Integrity);
    assert!(shown.contains(&format!("found sha256:{}", Sha256::of(b"wrong"))), "{shown}");
    assert!(case.tmp().is_empty());
    drop(registry);
}

#[test]
fn an_index_without_a_locked_size_has_a_limit() {
    let long = payload((4 << 20) + 1);
    let registry = Registry::start(&[&long]);
    let case = Case::new();
    assert!(case.fails(&registry.want(&long, RegistryKind::Manifest), Class::Network).contains("is larger than 4.0 MiB"));
    let endless = always(Answer::ok(b"{").framed(Framing::Chunked).ending(Ending::Endless));
    let reference = format!("{}/{REPOSITORY}:3.10", endless.address()).parse().unwrap();
    let source = Source::Registry { reference, kind: RegistryKind::Manifest };
    assert!(case.fails(&Want { source, size: None, ..want(&long) }, Class::Network).contains("sent more than 4.0 MiB (4194304 bytes)"));
    // A layer may be larger.
    case.fetch(&[registry.want(&long, RegistryKind::Blob)]).unwrap();
}
