//! The HTTP client, and one transfer as a stream of messages.
//!
//! A transfer runs in a thread of its own that nobody waits for, because a blocking read cannot be interrupted:
//! the worker takes what comes, looks at the cancel request in between, and leaves when it wants to.

use std::error::Error as _;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use reqwest::blocking::{Client, ClientBuilder, Response};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, RANGE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Method, Url, tls};
use secrecy::zeroize::Zeroize as _;

use super::Options;
use super::answer::Head;
use super::credential::Credential;
use super::local;
use super::options::Apt;
use super::source::{self, Lane, brief, shown};
use crate::error::{Error, Result};
use crate::fsx;
use crate::value::Proxies;

const REDIRECTS: usize = 10;
/// One message of a body at most, and how many may wait: 1 MiB per download.
pub(super) const CHUNK: usize = 128 << 10;
const WAITING: usize = 8;
/// So much of a refusal's body is read, for the sake of using the connection again.
const DRAIN: u64 = 64 << 10;

/// What a transfer says, in this order: a head; of a good answer data, and an end. A failure may come at any point and is
/// the last.
pub(super) enum Message {
    Head(Head),
    Data(Vec<u8>),
    End,
    Failed(Broken),
}

/// Why a transfer broke.
#[derive(Debug)]
pub(super) struct Broken {
    pub reason: String,
    pub kind: BrokenKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrokenKind {
    /// There was no connection.
    Unreachable,
    /// The connection broke or was silent.
    Cut,
    /// A redirection that is not followed, or a file that is not there; asking again gives the same.
    Final,
    /// The proxy wants to know who we are.
    Proxy,
}

/// A client: it keeps connections open.
pub(super) fn build(options: &Options, proxies: &Proxies, apt: Option<&Apt>) -> Result<Client> {
    // reqwest takes the process's provider. A second call changes nothing and says so by an error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || -> Result<_> {
        let proxies = proxies.clone();
        let builder = Client::builder()
            .user_agent(&options.user_agent)
            .referer(false)
            .redirect(Policy::custom(follow))
            .connect_timeout(options.connect_timeout)
            // In reqwest's blocking client this bounds the wait for the head, and then each single read.
            .timeout(options.idle_timeout)
            // The environment was read by who made the options.
            .no_proxy()
            .proxy(reqwest::Proxy::custom(move |url| proxy_url(&proxies, url)));
        match apt {
            Some(apt) => as_apt(builder, apt),
            None => Ok(builder),
        }
    };
    // A host without CA certificates can still use plain http mirrors: the digests protect what comes. Then
    // https trusts nobody and fails by itself.
    let made = builder()?.build().or_else(|_| {
        builder()?
            .tls_certs_only(std::iter::empty::<tls::Certificate>())
            .build()
            .map_err(|e| Error::internal(format!("no HTTP client can be made: {}", root(&e))))
    })?;
    Ok(made)
}

/// Trusts whom the host's apt trusts, and shows the certificate that it shows.
fn as_apt(mut builder: ClientBuilder, apt: &Apt) -> Result<ClientBuilder> {
    let odd = |what: &str, path: &Path| Error::user(format!("apt's {what} names {}, which has none that can be read", path.display()));
    if let Some(path) = &apt.authorities {
        let trusted = tls::Certificate::from_pem_bundle(&fsx::read(path)?).ok().filter(|trusted| !trusted.is_empty());
        builder = builder.tls_certs_only(trusted.ok_or_else(|| odd("`Acquire::https::CAInfo`", path))?);
    }
    if let Some((certificate, key)) = &apt.certificate {
        let mut both = fsx::read(certificate)?;
        if key != certificate {
            let mut key = fsx::read(key)?;
            both.push(b'\n');
            both.extend_from_slice(&key);
            key.zeroize();
        }
        let identity = tls::Identity::from_pem(&both);
        both.zeroize();
        builder = builder.identity(identity.map_err(|_| odd("`Acquire::https::SSLCert` or `SSLKey`", certificate))?);
    }
    Ok(builder)
}

fn through<'a>(proxies: &'a Proxies, url: &Url) -> Option<&'a str> {
    proxies.through(url.scheme(), url.host_str()?, url.port_or_known_default())
}

fn proxy_url(proxies: &Proxies, url: &Url) -> Option<Url> {
    Url::parse(through(proxies, url)?).ok()
}

/// The proxy that stands before an address, fit to be shown.
///
/// # Errors
/// It is of a kind that is not spoken here. To go past it could be worse than to stop.
pub(super) fn proxy(proxies: &Proxies, url: &Url) -> Result<Option<Box<str>>> {
    let Some(text) = through(proxies, url) else { return Ok(None) };
    let proxy = Url::parse(text).ok().filter(Url::has_host).ok_or_else(|| {
        Error::user("the proxy's address cannot be understood").hint("write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
    })?;
    let plain = shown(&proxy).trim_end_matches('/').to_owned();
    if source::WEB_SCHEMES.contains(&proxy.scheme()) {
        return Ok(Some(plain.into()));
    }
    Err(Error::user(format!("the proxy {plain} is of a kind that kbake does not speak"))
        .detail("expected a proxy with http:// or https://")
        .hint("name another one in http_proxy and https_proxy, or the hosts that need none in no_proxy"))
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    match refusal(attempt.previous(), attempt.url()) {
        None => attempt.follow(),
        Some(reason) => attempt.error(reason),
    }
}

/// Why a redirection to `next` is not followed, if it is not: ten steps, http and https only, and never from https
/// back to http. `previous` begins with the address that was asked.
fn refusal(previous: &[Url], next: &Url) -> Option<String> {
    let to = brief(&shown(next));
    let from_https = previous.last().is_some_and(|url| url.scheme() == "https");
    match next.scheme() {
        _ if previous.len() > REDIRECTS => Some(format!("redirects more than {REDIRECTS} times, the last to {to}")),
        "http" if from_https => Some(format!("redirects from https to plain http ({to}), which is not followed")),
        "http" | "https" => None,
        _ => Some(format!("redirects to {to}, which is not followed: only http and https are")),
    }
}

/// A request.
pub(super) struct Ask {
    pub url: Url,
    /// From this byte on.
    pub from: u64,
    /// Only for the head.
    pub head: bool,
    /// What kinds of answer are understood, where there are several.
    pub accept: Option<&'static str>,
    /// What is shown to this server, and to no other that it may redirect to.
    pub credential: Option<Arc<Credential>>,
    /// How the server is reached.
    pub lane: Lane,
    /// The proxy that stands before it, fit to be shown. [`super::web::Web::ask`] finds it.
    pub proxy: Option<Box<str>>,
}

impl Ask {
    /// For all of what is at `url`.
    pub fn get(url: Url) -> Ask {
        Ask { url, from: 0, head: false, accept: None, credential: None, lane: Lane::Web, proxy: None }
    }
}

/// Sends a request in a thread of its own.
pub(super) fn start(client: &Client, ask: Ask) -> Result<Receiver<Message>> {
    let (sender, receiver) = sync_channel(WAITING);
    let client = client.clone();
    let thread = std::thread::Builder::new().name("kbake-transfer".to_owned());
    let work = move || match local_path(&ask.url) {
        Some(path) => local::transfer(&path, ask.from, &sender),
        None => transfer(&client, &ask, &sender),
    };
    thread.spawn(work).map_err(|e| Error::io("start a thread", &e))?;
    Ok(receiver)
}

/// Where the file of a `file:` address is.
fn local_path(url: &Url) -> Option<PathBuf> {
    (url.scheme() == "file").then(|| url.to_file_path().ok())?
}

/// Returns early when nobody listens any more.
fn transfer(client: &Client, ask: &Ask, to: &SyncSender<Message>) {
    let method = if ask.head { Method::HEAD } else { Method::GET };
    // What is hashed is what the server stores, so it must not be packed for the journey.
    let mut request = client.request(method, ask.url.clone()).header(ACCEPT_ENCODING, "identity");
    if ask.from > 0 {
        request = request.header(RANGE, format!("bytes={}-", ask.from));
    }
    if let Some(accept) = ask.accept {
        request = request.header(ACCEPT, accept);
    }
    if let Some(credential) = &ask.credential {
        request = credential.on(request);
    }
    let mut response = match request.send() {
        Ok(response) => response,
        Err(e) => return drop(to.send(Message::Failed(broken(&e, ask.proxy.as_deref())))),
    };
    let head = Head { proxy: ask.proxy.clone(), ..Head::of(&response, &ask.url) };
    let wanted = response.status().is_success();
    if to.send(Message::Head(head)).is_err() {
        return;
    }
    if wanted {
        body(&mut response, ask.proxy.as_deref(), to);
    } else {
        let _ = std::io::copy(&mut response.take(DRAIN), &mut std::io::sink());
    }
}

fn body(response: &mut Response, proxy: Option<&str>, to: &SyncSender<Message>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let message = match response.read(&mut buffer) {
            Ok(0) => Message::End,
            Ok(n) => Message::Data(buffer[..n].to_vec()),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => Message::Failed(match e.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>()) {
                Some(inner) => broken(inner, proxy),
                None => Broken { reason: e.to_string(), kind: BrokenKind::Cut },
            }),
        };
        let last = !matches!(message, Message::Data(_));
        if to.send(message).is_err() || last {
            return;
        }
    }
}

/// reqwest's own text names the whole address, password and all; only the innermost cause is used.
fn broken(error: &reqwest::Error, proxy: Option<&str>) -> Broken {
    let cause = root(error);
    let (kind, reason) = if error.is_redirect() {
        (BrokenKind::Final, cause)
    } else if let Some(proxy) = proxy.filter(|_| error.is_connect()) {
        match cause.strip_prefix("tunnel error: ") {
            Some("proxy authorization required") => (BrokenKind::Proxy, wants_login(proxy)),
            Some(_) => (BrokenKind::Unreachable, format!("cannot be reached: the proxy {proxy} makes no connection to it")),
            None => (BrokenKind::Unreachable, format!("cannot be reached through the proxy {proxy}: {cause}")),
        }
    } else if error.is_connect() {
        (BrokenKind::Unreachable, format!("cannot be reached: {cause}"))
    } else if error.is_timeout() {
        (BrokenKind::Cut, "was silent for too long".to_owned())
    } else {
        (BrokenKind::Cut, format!("broke off: {cause}"))
    };
    Broken { reason, kind }
}

/// Said of a proxy that answers 407.
pub(super) fn wants_login(proxy: &str) -> String {
    format!("was not asked: the proxy {proxy} wants a user and a password (407)")
}

fn root(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| "of an unknown cause".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_stay_few_and_safe() {
        let url = |text: &str| Url::parse(text).unwrap();
        let from = |text: &str, n: usize| vec![url(text); n];
        assert_eq!(refusal(&from("http://a.test/", 1), &url("https://b.test/")), None);
        assert_eq!(refusal(&from("http://a.test/", 10), &url("http://b.test/")), None);
        assert_eq!(refusal(&from("https://a.test/", 1), &url("https://b.test/")), None);
        for (previous, next, reason) in [
            (from("http://a.test/", 11), "http://b.test/", "more than 10 times"),
            (from("https://a.test/", 1), "http://u:secret@b.test/?k=secret", "from https to plain http (http://b.test/?…)"),
            (from("http://a.test/", 1), "file:///etc/shadow", "to file:///etc/shadow, which is not followed"),
            (from("http://a.test/", 1), "ftp://u:secret@b.test/x", "to ftp://b.test/x, which"),
        ] {
            let found = refusal(&previous, &url(next)).expect(next);
            assert!(found.contains(reason) && !found.contains("secret"), "{found}");
        }
    }
}
