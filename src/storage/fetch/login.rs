//! Logins for servers: the user's own, and those of the host's apt.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use secrecy::SecretString;

use super::address;
use crate::common::fsx;

/// A server login.
#[derive(Debug)]
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password, or an access token.
    pub password: SecretString,
    /// Token servers that may see the login besides the server itself, in the form of [`super::host_key`].
    pub token_hosts: BTreeSet<String>,
}

/// Size limit of a netrc file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// One entry of apt's login files
/// ([apt_auth.conf(5)](https://manpages.debian.org/apt_auth.conf.5)).
#[derive(Debug)]
pub struct Machine {
    /// The only scheme the entry applies to; https if there is none.
    scheme: Option<String>,
    /// `HOST` or `HOST:PORT`, with an optional path prefix.
    place: String,
    pub(super) login: Arc<Login>,
}

impl Machine {
    /// All entries of these files, in apt's order. An unreadable file counts as empty: it may be readable for apt's own user
    /// only.
    pub fn read(files: &[impl AsRef<Path>]) -> Vec<Machine> {
        let text = |file: &Path| {
            let (_, bytes) = fsx::read_followed(file, MAX_FILE).ok()??;
            String::from_utf8(bytes?).ok()
        };
        files.iter().filter_map(|file| text(file.as_ref())).flat_map(|text| Machine::parse(&text)).collect()
    }

    /// Parses the entries of a file.
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

    pub(super) fn is_for(&self, url: &Url) -> bool {
        let scheme = self.scheme.as_deref().unwrap_or("https");
        let Some(host) = url.host_str().filter(|_| url.scheme() == scheme) else { return false };
        let server = address::host(url);
        match self.place.contains('/') {
            true => format!("{server}{}", url.path()).starts_with(&self.place),
            false => self.place == server || self.place == host,
        }
    }
}

/// The origin of an address, which decides about logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// The user's or the host's configuration.
    User,
    /// A lockfile, which may come from a stranger.
    Lockfile,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_entries_match_as_documented() {
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
        assert!(!fits("example.test", "http://example.test/debian"), "no password over plain http");
        assert!(fits("http://example.test", "http://example.test/debian"));
        assert!(fits("example.test", "https://example.test:8443/") && fits("example.test:8443/d", "https://example.test:8443/d"));
        assert!(!fits("example.test:8443", "https://example.test/"));
    }

    #[test]
    fn debug_output_of_a_login_has_no_password() {
        let login = Login { user: "me".to_owned(), password: "hidden".into(), token_hosts: BTreeSet::new() };
        assert!(!format!("{login:?} {:?}", Machine::parse("machine a login b password hidden")).contains("hidden"));
    }
}
