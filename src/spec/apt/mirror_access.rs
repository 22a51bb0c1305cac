//! The host's access to apt's mirrors: the settings in `apt-config`, read in one place for locking and for fetching.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::host::{Host, Output, run};
use super::mirror::shown;
use crate::common::error::Class;
use crate::common::fsx;
use crate::common::value::{Cancel, Proxies};
use crate::{Error, Result};

/// Access to package mirrors. Not `Debug`: a proxy's address may contain a password.
#[derive(Default)]
pub(crate) struct MirrorAccess {
    /// The proxies: apt's own, then the environment's.
    pub proxies: Proxies,
    /// apt's files with logins, in its order.
    pub auth_files: Vec<PathBuf>,
    /// The certificate authorities that apt trusts, if it has a file of its own for them.
    pub authorities: Option<PathBuf>,
    /// apt's client certificate, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Settings that are ignored, each with the reason.
    pub refused: Vec<String>,
    /// Lines of apt.conf(5) about the connection to mirrors.
    carried: String,
    /// Lines of apt.conf(5) that name the files with logins.
    netrc: String,
}

/// Settings about the connection to a mirror; none of them affects trust.
const CARRIED: [&str; 6] =
    ["Acquire::http", "Acquire::https", "Acquire::ForceIPv4", "Acquire::ForceIPv6", "Acquire::Retries", "Acquire::socks"];
/// The subset of these that is decided here for each mirror, or ignored.
const NOT_CARRIED: [&str; 4] = ["Proxy-Auto-Detect", "ProxyAutoDetect", "Verify-Peer", "Verify-Host"];

impl MirrorAccess {
    /// Reads the host's apt settings, and runs its command that detects proxies for `mirrors`.
    ///
    /// # Errors
    /// apt is missing, or cannot read its own configuration.
    pub(crate) fn of_host(host: &Host, mirrors: &[String], cancel: &Cancel) -> Result<Self> {
        let mut dump = host.command("apt-config");
        dump.arg("dump");
        let mut shell = host.command("apt-config");
        shell.args(["shell", "netrc", "Dir::Etc::netrc/f", "netrcparts", "Dir::Etc::netrcparts/d"]);
        let (dump, shell) = (run(dump, cancel)?, run(shell, cancel)?);
        if !dump.success || !shell.success {
            let error = Error::user("the host's apt cannot read its own configuration");
            return Err([dump, shell].iter().flat_map(Output::complaint).fold(error, Error::detail));
        }
        let settings = settings(&dump.stdout);
        let value = |wanted: &str| settings.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value);
        let path = |wanted: &str| value(wanted).filter(|path| path.starts_with('/')).map(PathBuf::from);
        let certificate = path("Acquire::https::SSLCert");
        let mut access = MirrorAccess {
            proxies: proxies(host.proxies().clone(), &settings),
            auth_files: auth_files(&shell.stdout),
            authorities: path("Acquire::https::CAInfo"),
            certificate: certificate.map(|certificate| (certificate.clone(), path("Acquire::https::SSLKey").unwrap_or(certificate))),
            refused: refused(&settings),
            carried: carried(&settings),
            netrc: netrc(&shell.stdout),
        };
        for mirror in mirrors {
            access.detect(host, mirror, &settings, cancel)?;
        }
        Ok(access)
    }

    /// Runs apt's command that detects a mirror's proxy, if there is one and the host has no proxy of its own.
    fn detect(&mut self, host: &Host, mirror: &str, settings: &Settings<'_>, cancel: &Cancel) -> Result<()> {
        let Some((scheme, server)) = server(mirror) else { return Ok(()) };
        let of = |names: &[String]| {
            let fits = |(name, _): &&(&str, &str)| names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted));
            settings.iter().rfind(fits).map(|(_, value)| *value)
        };
        let own = [format!("Acquire::{scheme}::Proxy::{server}"), format!("Acquire::{scheme}::{server}::Proxy")];
        let finder = of(&[format!("Acquire::{scheme}::Proxy-Auto-Detect"), format!("Acquire::{scheme}::ProxyAutoDetect")]);
        let Some(finder) = finder.filter(|_| of(&own).is_none()) else { return Ok(()) };
        let mut command = host.command(finder);
        command.arg(mirror);
        let said = match run(command, cancel) {
            Ok(said) if said.success => said.stdout,
            Err(error) if error.class() == Class::Interrupted => return Err(error),
            // A command that fails has detected no proxy, as in apt.
            _ => return Ok(()),
        };
        if let Some(found) = said.lines().map(str::trim).find(|line| !line.is_empty()) {
            self.proxies = std::mem::take(&mut self.proxies).before(scheme, Some(server), named(found));
        }
        Ok(())
    }

    /// The private apt's settings for access to `mirror`.
    pub(super) fn text(&self, mirror: &str) -> String {
        let mut text = self.carried.clone();
        if let Some((scheme, host)) = server(mirror) {
            let proxy = self.proxies.through(scheme, host, port(mirror, scheme)).unwrap_or("DIRECT");
            if !proxy.contains(['"', '\n']) && !host.contains(['"', ':']) {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "Acquire::{scheme}::Proxy::{host} \"{proxy}\";");
            }
        }
        text
    }

    /// Adds a hint to apt's error about a mirror: apt's own words name neither proxies nor logins.
    pub(super) fn explain(&self, mirror: &str, mut error: Error) -> Error {
        if error.class() != Class::Network {
            return error;
        }
        let proxy = server(mirror).and_then(|(scheme, host)| self.proxies.through(scheme, host, port(mirror, scheme)));
        let said = |word: &str| error.details().iter().any(|line| line.split_whitespace().any(|found| found == word));
        let (wants_login, wants_proxy_login) = (said("401"), said("407"));
        if let Some(proxy) = proxy {
            error = error.detail(format!("it was asked through the proxy {}", shown(proxy)));
        }
        match (wants_login, wants_proxy_login, proxy) {
            (true, ..) => error.hint(
                "the mirror wants a login: `[[login]]` in ~/.config/kbake/config.toml, or an entry of apt's auth.conf (docs/upstream.md)",
            ),
            (_, true, _) => {
                error.hint("the proxy wants a user and a password: write it as http://USER:PASSWORD@HOST:PORT (docs/upstream.md)")
            }
            (_, _, Some(_)) => error.hint(
                "proxies are named by apt's `Acquire::http::Proxy`, and by `http_proxy`, `https_proxy` and `no_proxy` (docs/upstream.md)",
            ),
            _ => error,
        }
    }

    /// The private apt's settings for the host's logins.
    pub(super) fn logins(&self) -> String {
        self.netrc.clone()
    }
}

type Settings<'a> = [(&'a str, &'a str)];

/// The settings in the output of `apt-config dump` that have a value.
fn settings(dump: &str) -> Vec<(&str, &str)> {
    let setting = |line| {
        let (name, value): (&str, &str) = str::split_once(line, ' ')?;
        let value = value.strip_prefix('"')?.strip_suffix("\";")?;
        // A value with a quote inside would be parsed as something else.
        (!value.is_empty() && !value.contains('"')).then_some((name, value))
    };
    dump.lines().filter_map(setting).collect()
}

/// The host of an address that may need a proxy, and its scheme.
fn server(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme))?;
    let authority = rest.split('/').next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let end = if host.starts_with('[') { host.find(']').map_or(host.len(), |at| at + 1) } else { host.find(':').unwrap_or(host.len()) };
    Some((scheme, &host[..end]))
}

/// The port of an address.
fn port(uri: &str, scheme: &str) -> Option<u16> {
    let said = uri.split("://").nth(1).and_then(|rest| rest.split('/').next()?.rsplit_once(':')?.1.parse().ok());
    said.or(Some(if scheme == "http" { 80 } else { 443 }))
}

/// A proxy in apt's notation: a value that names no server means a direct connection.
fn named(value: &str) -> Option<&str> {
    value.split_once("://").filter(|(_, rest)| !rest.trim_matches('/').is_empty()).map(|_| value)
}

/// apt's own proxies, then the environment's. For https, apt falls back to its http proxies.
fn proxies(environment: Proxies, settings: &Settings<'_>) -> Proxies {
    let mut found = environment;
    for of_one_host in [false, true] {
        for (spoken, asked) in [("http", "http"), ("http", "https"), ("https", "https")] {
            for (name, value) in settings {
                let parts: Vec<&str> = name.split("::").collect();
                let host = match parts[..] {
                    [acquire, scheme, ref rest @ ..] if is(acquire, "Acquire") && is(scheme, spoken) => match *rest {
                        [proxy] if is(proxy, "Proxy") => None,
                        [proxy, host] | [host, proxy] if is(proxy, "Proxy") => Some(host),
                        _ => continue,
                    },
                    _ => continue,
                };
                if host.is_some() == of_one_host {
                    found = found.before(asked, host, named(value));
                }
            }
        }
    }
    found
}

fn is(found: &str, wanted: &str) -> bool {
    found.eq_ignore_ascii_case(wanted)
}

/// The last component of a setting's name.
fn last(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

/// Settings that weaken the authentication of servers. Packages would still be verified; a login could go to anybody.
fn refused(settings: &Settings<'_>) -> Vec<String> {
    let is_off = |value: &str| ["false", "0", "no", "off", "without", "disable"].iter().any(|off| is(value, off));
    let is_weak = |(name, value): &&(&str, &str)| {
        (is(last(name), "Verify-Peer") || is(last(name), "Verify-Host")) && is_under(name, "Acquire::https") && is_off(value)
    };
    settings.iter().filter(is_weak).map(|(name, value)| format!("{name} \"{value}\"")).collect()
}

fn is_under(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|front| is(front, prefix))
        && (name.len() == prefix.len() || name[prefix.len()..].starts_with("::"))
}

/// The lines about the connection to mirrors.
fn carried(settings: &Settings<'_>) -> String {
    let is_carried = |(name, _): &&(&str, &str)| {
        CARRIED.iter().any(|prefix| is_under(name, prefix)) && !NOT_CARRIED.iter().any(|not| is(last(name), not))
    };
    settings.iter().filter(is_carried).map(|(name, value)| format!("{name} \"{value}\";\n")).collect()
}

/// The value of `name='path'` in the output of `apt-config shell`.
fn shell_path<'a>(shell: &'a str, name: &str) -> Option<&'a str> {
    let line = shell.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("='")?.strip_suffix('\''));
    line.filter(|path| !path.contains(['"', '\'']))
}

/// The settings for the host's files with user names and passwords.
fn netrc(shell: &str) -> String {
    let setting = |key: &str| shell_path(shell, key).map(|path| format!("Dir::Etc::{key} \"{path}\";\n"));
    ["netrc", "netrcparts"].into_iter().filter_map(setting).collect()
}

/// The paths of these files: the main one, then those of the folder that end in `.conf`, by name. A folder that cannot be read
/// has none.
fn auth_files(shell: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = shell_path(shell, "netrc").map(PathBuf::from).into_iter().collect();
    if let Some(folder) = shell_path(shell, "netrcparts").map(PathBuf::from) {
        let names = fsx::list(&folder).unwrap_or_default();
        files.extend(names.into_iter().filter(|name| name.as_encoded_bytes().ends_with(b".conf")).map(|name| folder.join(name)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_way_is_carried_over() {
        let dump = "Acquire::http::Proxy \"http://p.invalid:3128\";\nAcquire::https::CAInfo \"/ca.pem\";\nAcquire::httpx \"1\";\n\
                    Acquire::AllowInsecureRepositories \"1\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::http \"\";\n\
                    APT::Update::Post-Invoke:: \"rm\";\nAcquire::http::User-Agent \"a\"b\";\nAcquire::Retries \"3\";\n\
                    Acquire::https::Verify-Peer \"false\";\nAcquire::https::m.invalid::verify-host \"0\";\nAcquire::http::Proxy-Auto-Detect \"/bin/x\";\n";
        let expected = "Acquire::http::Proxy \"http://p.invalid:3128\";\nAcquire::https::CAInfo \"/ca.pem\";\nAcquire::Retries \"3\";\n";
        let settings = settings(dump);
        assert_eq!(carried(&settings), expected);
        assert_eq!(refused(&settings), ["Acquire::https::Verify-Peer \"false\"", "Acquire::https::m.invalid::verify-host \"0\""]);
    }

    #[test]
    fn apt_s_proxies_come_before_the_environment_s() {
        let environment = Proxies::from_vars(|name| match name {
            "http_proxy" => Some("http://env.invalid".to_owned()),
            "no_proxy" => Some("near.invalid".to_owned()),
            _ => None,
        });
        let with = |dump: &str, scheme: &str, host: &str| {
            proxies(environment.clone(), &settings(dump)).through(scheme, host, None).map(str::to_owned)
        };
        let all = "acquire::HTTP::proxy \"http://apt.invalid:3142\";\nAcquire::http::Proxy::a.invalid \"DIRECT\";\n\
                   Acquire::http::b.invalid::Proxy \"http://b-proxy.invalid\";\nAcquire::https::Proxy::c.invalid \"http://c-proxy.invalid\";\n";
        for (dump, scheme, host, expected) in [
            ("", "http", "m.invalid", Some("http://env.invalid")),
            ("", "https", "m.invalid", None),
            (all, "http", "m.invalid", Some("http://apt.invalid:3142")),
            (all, "https", "m.invalid", Some("http://apt.invalid:3142")),
            (all, "http", "a.invalid", None),
            (all, "http", "b.invalid", Some("http://b-proxy.invalid")),
            (all, "https", "c.invalid", Some("http://c-proxy.invalid")),
            (all, "http", "c.invalid", Some("http://apt.invalid:3142")),
            (all, "http", "near.invalid", None),
            ("Acquire::http::Proxy \"false\";\n", "http", "m.invalid", None),
        ] {
            assert_eq!(with(dump, scheme, host).as_deref(), expected, "{dump} {scheme} {host}");
        }
    }

    #[test]
    fn passwords_stay_where_the_host_has_them() {
        let shell = "netrc='/etc/apt/auth.conf'\nnetrcparts='/etc/apt/auth.conf.d/'\n";
        assert_eq!(netrc(shell), "Dir::Etc::netrc \"/etc/apt/auth.conf\";\nDir::Etc::netrcparts \"/etc/apt/auth.conf.d/\";\n");
        assert_eq!(netrc("netrc='/a'\\''b'\nbroken\n"), "");
    }

    #[test]
    fn the_private_apt_is_told_what_was_decided() {
        let access = MirrorAccess { proxies: Proxies::all("http://p.invalid:1"), ..MirrorAccess::default() };
        assert_eq!(access.text("http://u:p@m.invalid:8080/debian/"), "Acquire::http::Proxy::m.invalid \"http://p.invalid:1\";\n");
        assert_eq!(MirrorAccess::default().text("https://m.invalid/"), "Acquire::https::Proxy::m.invalid \"DIRECT\";\n");
        assert_eq!(access.text("file:/srv/debian/"), "");
    }

    #[test]
    fn what_apt_says_of_logins_and_proxies_is_explained() {
        let through = MirrorAccess { proxies: Proxies::all("http://me:hidden@p.invalid:3128"), ..MirrorAccess::default() };
        let explained = |access: &MirrorAccess, line: &str| {
            access.explain("http://far.invalid/", Error::new(Class::Network, "apt could not").detail(line)).to_string()
        };
        let refused = "E: Failed to fetch http://far.invalid/x  401  Unauthorized [IP: 127.0.0.1 80]";
        assert!(explained(&MirrorAccess::default(), refused).contains("`[[login]]`"));
        assert!(explained(&through, &refused.replace("401  Unauthorized", "407  Proxy Authentication Required")).contains("USER:PASSWORD"));
        let dead = explained(&through, "E: Could not connect to p.invalid:3128");
        assert!(
            dead.contains("through the proxy http://p.invalid:3128") && dead.contains("`no_proxy`") && !dead.contains("hidden"),
            "{dead}"
        );
        let direct = explained(&MirrorAccess::default(), "E: Could not connect to far.invalid:80");
        assert!(!direct.contains("proxy") && !direct.contains("hint"), "{direct}");
    }
}
