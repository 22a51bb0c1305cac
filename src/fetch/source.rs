//! From what the lock says to the addresses that are asked, and how these are shown.

use std::net::IpAddr;
use std::sync::Arc;

use reqwest::Url;

use super::credential::{Credential, Scope};
use super::login::{self, Named};
use super::{Options, Source, Want, registry};

/// Of addresses that a lock names: it may come from strangers, who have no business with this machine's files.
pub(super) const WEB_SCHEMES: [&str; 2] = ["http", "https"];
/// Of mirrors, which are the user's own choice, or the host's.
const MIRROR_SCHEMES: [&str; 3] = ["http", "https", "file"];

/// An address to ask, and how. Not `Debug`: there may be a password in it.
#[derive(Clone)]
pub(super) struct Target {
    pub url: Url,
    /// What kinds of answer are understood, where there are several.
    pub accept: Option<&'static str>,
    /// Of registries: what a credential must be good for.
    pub scope: Option<Scope>,
    /// The login that is shown at once, to all servers but registries.
    pub login: Option<Arc<Credential>>,
    /// How it is reached.
    pub lane: Lane,
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Lane {
    /// As the environment says.
    #[default]
    Web,
    /// As the host's apt reaches its mirrors.
    Apt,
}

impl Target {
    fn of(url: Url, named: Named, lane: Lane, options: &Options) -> Target {
        let login = login::at(&url, named, options).map(|login| Arc::new(Credential::Basic(login)));
        Target { url, accept: None, scope: None, login, lane }
    }

    /// True when a login was shown, or stands in the address.
    pub fn has_login(&self) -> bool {
        self.login.is_some() || !self.url.username().is_empty() || self.url.password().is_some()
    }
}

/// What cannot be asked: its address, fit to be shown, and the reason.
pub(super) type Unusable = (String, String);

/// The addresses to ask for `want`, in order.
pub(super) fn targets(want: &Want, options: &Options) -> Vec<Result<Target, Unusable>> {
    match &want.source {
        Source::Pool(path) => {
            let below = |base: &String| format!("{}/{}", base.trim_end_matches('/'), escape_path(path));
            let target = |url| Target::of(url, Named::ByUser, Lane::Apt, options);
            options.mirrors.iter().map(|base| parse(&below(base), &MIRROR_SCHEMES).map(target)).collect()
        }
        Source::Urls(urls) => urls.iter().flat_map(|url| web_targets(url, options)).collect(),
        Source::Registry { reference, kind } => registry::targets(reference, *kind, &want.digest.to_string(), options),
    }
}

/// The addresses to ask for what a lock, or the sources, have at `text`: itself, or its replacements.
pub(super) fn web_targets(text: &str, options: &Options) -> Vec<Result<Target, Unusable>> {
    // Understood before it is rewritten, so that no `..` can leave a mirror's folder.
    let url = match parse(text, &WEB_SCHEMES) {
        Ok(url) => url,
        Err(unusable) => return vec![Err(unusable)],
    };
    let fitting = replaced(&url, options);
    if fitting.is_empty() {
        return vec![Ok(Target::of(url, Named::ByLock, Lane::Web, options))];
    }
    fitting.iter().map(|text| parse(text, &MIRROR_SCHEMES).map(|url| Target::of(url, Named::ByUser, Lane::Web, options))).collect()
}

/// The addresses that are asked in an address's place; none where it is asked itself.
fn replaced(url: &Url, options: &Options) -> Vec<String> {
    let one = |(prefix, new): &(String, String)| url.as_str().strip_prefix(prefix.as_str()).map(|rest| format!("{new}{rest}"));
    options.rewrites.iter().filter_map(one).collect()
}

/// True when the way of the host's apt matters for asking at `text`: its logins are good for rewrites too.
pub(super) fn is_rewritten(text: &str, options: &Options) -> bool {
    Url::parse(text).is_ok_and(|url| !replaced(&url, options).is_empty())
}

/// True when the way of the host's apt matters for `want`.
pub(super) fn concerns_apt(want: &Want, options: &Options) -> bool {
    match &want.source {
        Source::Pool(_) => true,
        Source::Urls(urls) => urls.iter().any(|url| is_rewritten(url, options)),
        Source::Registry { .. } => false,
    }
}

/// A file's name may hold what means something else in an address.
fn escape_path(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

/// Text as an address with one of `schemes`.
pub(super) fn parse(text: &str, schemes: &[&str]) -> Result<Url, Unusable> {
    // The text itself is not shown: what does not parse cannot be stripped of a password.
    let url = Url::parse(text).map_err(|e| ("an address".to_owned(), format!("it cannot be understood: {e}")))?;
    if url.scheme() == "file" && url.to_file_path().is_err() {
        return Err((shown(&url), "it names a host, and only this machine's files can be read".to_owned()));
    }
    if url.scheme() == "file" && url.path().to_ascii_lowercase().contains("%2f") {
        return Err((shown(&url), "a slash is hidden in it".to_owned()));
    }
    if schemes.contains(&url.scheme()) {
        return Ok(url);
    }
    Err((shown(&url), format!("only {} are fetched, not {}", schemes.join(" and "), url.scheme())))
}

/// An address without what may be secret in it: user, password, query, fragment.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only where an address can have no such part.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let query = url.query().is_some();
    url.set_query(None);
    url.set_fragment(None);
    if query { format!("{url}?…") } else { url.to_string() }
}

/// The most of a server's own words that a message repeats, in characters: a header may have hundreds of kilobytes.
const REPEATED: usize = 300;

/// `text` of a server's, short enough for a message.
pub(super) fn brief(text: &str) -> String {
    match text.char_indices().nth(REPEATED) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Which host it is, with the port where that is not the usual one.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("this machine");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// True when a host is this machine: nobody can intercept plain http to it.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Which server it is: scheme, host and port.
pub(super) fn server(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Sha256;

    fn asked(source: Source, options: &Options) -> Vec<String> {
        let want = Want { name: "x".to_owned(), source, digest: Sha256::of(b"").into(), size: None };
        let shown =
            |target: Result<Target, Unusable>| target.map_or_else(|(at, why)| format!("{at}: {why}"), |target| target.url.to_string());
        targets(&want, options).into_iter().map(shown).collect()
    }

    #[test]
    fn pool_paths_go_below_each_mirror() {
        let options = Options { mirrors: vec!["http://a.test/debian/".to_owned(), "https://b.test".to_owned()], ..Options::default() };
        let found = asked(Source::Pool("pool/main/g/gcc/g++_1.0~rc+b1_amd64.deb".to_owned()), &options);
        assert_eq!(
            found,
            ["http://a.test/debian/pool/main/g/gcc/g++_1.0~rc+b1_amd64.deb", "https://b.test/pool/main/g/gcc/g++_1.0~rc+b1_amd64.deb"]
        );
        let found = asked(Source::Pool("pool/a%3a?b#c".to_owned()), &options);
        assert_eq!(found[1], "https://b.test/pool/a%253a%3Fb%23c");
        let options = Options { mirrors: ["file:/srv/d", "file://nas/d", "ftp://f.test/"].map(str::to_owned).into(), ..Options::default() };
        let found = asked(Source::Pool("pool/a".to_owned()), &options);
        assert_eq!(found[0], "file:///srv/d/pool/a");
        assert_eq!(found[1], "file://nas/d/pool/a: it names a host, and only this machine's files can be read");
        assert_eq!(found[2], "ftp://f.test/pool/a: only http and https and file are fetched, not ftp");
    }

    #[test]
    fn rewrites_replace_and_never_fall_back_to_the_outside() {
        let rewrites = [("https://up.test/", "http://one.test/up/"), ("https://up.test/k8s/", "http://two.test/"), ("https://other", "x")];
        let options = Options { rewrites: rewrites.map(|(a, b)| (a.to_owned(), b.to_owned())).into(), ..Options::default() };
        let urls = Source::Urls(vec!["https://up.test/k8s/kubelet".to_owned(), "https://elsewhere.test/kubelet".to_owned()]);
        assert_eq!(asked(urls, &options), ["http://one.test/up/k8s/kubelet", "http://two.test/kubelet", "https://elsewhere.test/kubelet"]);
    }

    #[test]
    fn other_schemes_and_nonsense_are_refused() {
        let urls = ["file:///etc/passwd", "ftp://u:secret@h.test/x", "no url:secret@"].map(str::to_owned).into();
        let found = asked(Source::Urls(urls), &Options::default());
        assert_eq!(found[0], "file:///etc/passwd: only http and https are fetched, not file");
        assert!(found[2].contains("cannot be understood"), "{found:?}");
        assert!(!found.concat().contains("secret"), "{found:?}");
    }

    #[test]
    fn servers_are_not_quoted_at_length() {
        assert_eq!(brief(&"é".repeat(REPEATED)), "é".repeat(REPEATED));
        assert_eq!(brief(&"é".repeat(REPEATED + 1)), "é".repeat(REPEATED) + "…");
    }

    #[test]
    fn secrets_are_not_shown() {
        let url = Url::parse("https://user:pw@h.test:8443/a/b?token=t#f").unwrap();
        assert_eq!(shown(&url), "https://h.test:8443/a/b?…");
        assert_eq!(shown(&Url::parse("http://h.test/a").unwrap()), "http://h.test/a");
        assert_eq!(server(&url), "https://h.test:8443");
    }
}
