//! The HTTP client, and one transfer as a stream of messages.
//!
//! A blocking read cannot be interrupted, so a transfer runs in a detached thread. The worker receives its messages,
//! checks the cancellation flag in between, and can leave at any time.

use std::error::Error as _;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use reqwest::blocking::{Client, ClientBuilder, Response};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, RANGE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Method, Url, tls};
use secrecy::zeroize::Zeroize as _;

use super::Options;
use super::address::{WEB_SCHEMES, brief, shown};
use super::local;
use super::message::{Ask, Broken, BrokenKind, CHUNK, Message, wants_login};
use super::options::Apt;
use super::response::Head;
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::Proxies;

const REDIRECTS: usize = 10;
/// Number of queued messages: with [`CHUNK`] about 1 MiB per download.
const WAITING: usize = 8;
/// Bytes of a refusal's body that are read so that the connection can be reused.
const DRAIN: u64 = 64 << 10;

/// Builds a client, which pools connections.
pub(super) fn build(options: &Options, proxies: &Proxies, apt: Option<&Apt>) -> Result<Client> {
    // reqwest uses the process-wide provider. A second call is an error without effect.
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
            // The caller has already read the environment's proxies into the options.
            .no_proxy()
            .proxy(reqwest::Proxy::custom(move |url| proxy_url(&proxies, url)));
        match apt {
            Some(apt) => as_apt(builder, apt),
            None => Ok(builder),
        }
    };
    // A host without CA certificates can still use plain http mirrors, because digests protect the content. The fallback
    // trusts no CA, so https fails by itself.
    let made = builder()?.build().or_else(|_| {
        builder()?
            .tls_certs_only(std::iter::empty::<tls::Certificate>())
            .build()
            .map_err(|e| Error::internal(format!("cannot create an HTTP client: {}", root(&e))))
    })?;
    Ok(made)
}

/// Applies apt's CAs and client certificate.
fn as_apt(mut builder: ClientBuilder, apt: &Apt) -> Result<ClientBuilder> {
    let odd = |what: &str, path: &Path| Error::user(format!("apt's {what} names {}, which holds nothing usable", path.display()));
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

/// The proxy for an address, without secrets.
///
/// # Errors
/// An unsupported proxy scheme: bypassing the proxy could be worse than failing.
pub(super) fn proxy(proxies: &Proxies, url: &Url) -> Result<Option<Box<str>>> {
    let Some(text) = through(proxies, url) else { return Ok(None) };
    let proxy = Url::parse(text).ok().filter(Url::has_host).ok_or_else(|| {
        Error::user("cannot parse the proxy's address").hint("write it as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
    })?;
    let plain = shown(&proxy).trim_end_matches('/').to_owned();
    if WEB_SCHEMES.contains(&proxy.scheme()) {
        return Ok(Some(plain.into()));
    }
    Err(Error::user(format!("unsupported proxy scheme: {plain}"))
        .detail("expected a proxy with http:// or https://")
        .hint("set another proxy in http_proxy and https_proxy, or list hosts to reach directly in no_proxy"))
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    match refusal(attempt.previous(), attempt.url()) {
        None => attempt.follow(),
        Some(reason) => attempt.error(reason),
    }
}

/// The reason why a redirect to `next` is not followed; none if it is. At most ten redirects, http and https only, never
/// from https to http. `previous` begins with the requested address.
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

/// Sends a request from a thread of its own.
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

/// The path of a `file:` address.
fn local_path(url: &Url) -> Option<PathBuf> {
    (url.scheme() == "file").then(|| url.to_file_path().ok())?
}

/// Runs the transfer. Returns early when the receiver is gone.
fn transfer(client: &Client, ask: &Ask, to: &SyncSender<Message>) {
    let method = if ask.head { Method::HEAD } else { Method::GET };
    // The digest is that of the stored bytes, so a content coding would break it.
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

/// Only the innermost cause is used: reqwest's own text contains the full address with its password.
fn broken(error: &reqwest::Error, proxy: Option<&str>) -> Broken {
    let cause = root(error);
    let (kind, reason) = if error.is_redirect() {
        (BrokenKind::Final, cause)
    } else if let Some(proxy) = proxy.filter(|_| error.is_connect()) {
        match cause.strip_prefix("tunnel error: ") {
            Some("proxy authorization required") => (BrokenKind::Proxy, wants_login(proxy)),
            Some(_) => (BrokenKind::Unreachable, format!("cannot be reached: the proxy {proxy} does not connect to it")),
            None => (BrokenKind::Unreachable, format!("cannot be reached through the proxy {proxy}: {cause}")),
        }
    } else if error.is_connect() {
        (BrokenKind::Unreachable, format!("cannot be reached: {cause}"))
    } else if error.is_timeout() {
        (BrokenKind::Cut, "timed out".to_owned())
    } else {
        (BrokenKind::Cut, format!("connection lost: {cause}"))
    };
    Broken { reason, kind }
}

fn root(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| "unknown cause".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_few_and_safe() {
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
