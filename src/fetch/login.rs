//! Logins for servers: the user's own, and those that the host's apt has for its mirrors.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use secrecy::SecretString;

use super::Options;
use super::source::{self, is_loopback};
use crate::fsx;

/// A login for a server.
#[derive(Debug)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password, or a token that the server's owner gave in its place.
    pub password: SecretString,
    /// Other hosts that may be shown it when they give tokens for the server, as [`host_key`] has them.
    pub token_hosts: BTreeSet<String>,
}

/// `HOST` or `HOST:PORT` in the one way in which hosts are compared: small letters, international names as DNS has them,
/// without the port of https. None where it is anything else.
pub fn host_key(text: &str) -> Option<String> {
    let plain = !text.is_empty() && !text.contains(['/', '\\', '?', '#', '@']) && !text.contains(char::is_whitespace);
    let url = Url::parse(&format!("https://{text}/")).ok().filter(|_| plain)?;
    Some(source::host(&url))
}

/// The most bytes of a file of logins.
const MAX_FILE: u64 = 1 << 20;

/// One entry of apt's files of logins
/// ([apt_auth.conf(5)](https://manpages.debian.org/apt_auth.conf.5)).
#[derive(Debug)]
pub struct Machine {
    /// Only by this protocol. Without one, only by https.
    scheme: Option<String>,
    /// `HOST`, `HOST:PORT`, and what a path begins with.
    place: String,
    login: Arc<Login>,
}

impl Machine {
    /// All entries of these files, in the order in which apt looks at them. A file that cannot be read has none: it is apt's,
    /// and may be for its own user alone.
    pub fn read(files: &[impl AsRef<Path>]) -> Vec<Machine> {
        let text = |file: &Path| {
            let (_, bytes) = fsx::read_followed(file, MAX_FILE).ok()??;
            String::from_utf8(bytes?).ok()
        };
        files.iter().filter_map(|file| text(file.as_ref())).flat_map(|text| Machine::parse(&text)).collect()
    }

    /// The entries of a file.
    pub fn parse(text: &str) -> Vec<Machine> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let mut words = lines.flat_map(str::split_whitespace).peekable();
        let mut found = Vec::new();
        while let Some(word) = words.next() {
            if word != "machine" {
                continue;
            }
            let Some(place) = words.next() else { break };
            let (mut user, mut password) = (String::new(), String::new());
            while let Some(word) = words.next_if(|word| *word != "machine") {
                match word {
                    "login" => user = words.next().unwrap_or_default().to_owned(),
                    "password" => password = words.next().unwrap_or_default().to_owned(),
                    _ => {}
                }
            }
            let (scheme, place) = place.split_once("://").map_or((None, place), |(scheme, place)| (Some(scheme.to_owned()), place));
            let login = Arc::new(Login { user, password: password.into(), token_hosts: BTreeSet::new() });
            let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
            found.push(Machine { scheme, place: format!("{}{path}", host.to_ascii_lowercase()), login });
        }
        found
    }

    fn is_for(&self, url: &Url) -> bool {
        let scheme = self.scheme.as_deref().unwrap_or("https");
        let Some(host) = url.host_str().filter(|_| url.scheme() == scheme) else { return false };
        let server = source::host(url);
        match self.place.contains('/') {
            true => format!("{server}{}", url.path()).starts_with(&self.place),
            false => self.place == server || self.place == host,
        }
    }
}

/// How an address came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// The user, or the host's apt, named its server.
    ByUser,
    /// It stands in a lockfile, which may be a stranger's.
    ByLock,
}

/// The login for an address. One that stands in the address itself is enough. By plain http a lockfile cannot make us say a
/// password: who listens could read it.
pub(super) fn at(url: &Url, named: Named, options: &Options) -> Option<Arc<Login>> {
    if !url.username().is_empty() || url.password().is_some() || !source::WEB_SCHEMES.contains(&url.scheme()) {
        return None;
    }
    if named == Named::ByLock && url.scheme() != "https" && !url.host_str().is_some_and(is_loopback) {
        return None;
    }
    let with_port = || Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?));
    let own = options.logins.get(&source::host(url)).or_else(|| options.logins.get(&with_port()?));
    let of_apt = || options.apt.known().filter(|_| named == Named::ByUser)?.machines.iter().find(|machine| machine.is_for(url));
    own.cloned().or_else(|| Some(Arc::clone(&of_apt()?.login)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_in_one_way() {
        for (text, key) in [
            ("Registry.Test", Some("registry.test")),
            ("registry.test:443", Some("registry.test")),
            ("registry.test:5000", Some("registry.test:5000")),
            ("bücher.test", Some("xn--bcher-kva.test")),
            ("[::1]:5000", Some("[::1]:5000")),
            ("https://registry.test", None),
            ("registry.test/v2", None),
            ("user@registry.test", None),
            ("registry.test other.test", None),
            ("", None),
        ] {
            assert_eq!(host_key(text).as_deref(), key, "{text}");
        }
        assert_ne!(host_key("registry.test."), host_key("registry.test"), "another name");
    }

    #[test]
    fn apt_s_entries_fit_as_its_manual_says() {
        let fits = |place: &str, url: &str| {
            let found = Machine::parse(&format!("# machine c.test\nmachine x login y\nmachine {place}\n login apt\tpassword p\n"));
            assert_eq!((found.len(), &*found[1].login.user), (2, "apt"));
            found[1].is_for(&Url::parse(url).unwrap())
        };
        let url = "https://example.test/debian/pool/a.deb";
        for place in
            ["example.test", "example.test/deb", "example.test/debian", "example.test/debian/", "https://example.test", "EXAMPLE.test"]
        {
            assert!(fits(place, url), "{place}");
        }
        for place in ["example.test:443", "example.test/deb/", "example.test/ubuntu", "example.testa", "http://example.test", "ample.test"]
        {
            assert!(!fits(place, url), "{place}");
        }
        assert!(!fits("example.test", "http://example.test/debian"), "a password is not said aloud");
        assert!(fits("http://example.test", "http://example.test/debian"));
        assert!(fits("example.test", "https://example.test:8443/") && fits("example.test:8443/d", "https://example.test:8443/d"));
        assert!(!fits("example.test:8443", "https://example.test/"));
    }

    #[test]
    fn logins_do_not_print_their_password() {
        let login = Login { user: "me".to_owned(), password: "hidden".into(), token_hosts: BTreeSet::new() };
        assert!(!format!("{login:?} {:?}", Machine::parse("machine a login b password hidden")).contains("hidden"));
    }
}
