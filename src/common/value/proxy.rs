//! The choice of a proxy for a server, from the environment's variables and the host's apt configuration.

use std::net::IpAddr;

/// The proxies of a command. Not `Debug`: an address may contain a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Rules in order; the first match applies.
    rules: Vec<Rule>,
    /// Hosts that are reached directly, whatever the rules.
    direct: Vec<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Rule {
    /// `http` or `https`; `None` matches both.
    scheme: Option<&'static str>,
    /// One host; `None` matches all.
    host: Option<String>,
    /// The proxy's address; `None` means a direct connection.
    proxy: Option<String>,
}

/// The schemes that proxies apply to.
const SCHEMES: [&str; 2] = ["http", "https"];

impl Proxies {
    /// One proxy for everything.
    pub fn all(address: &str) -> Self {
        Proxies { rules: vec![Rule { scheme: None, host: None, proxy: Some(address.to_owned()) }], direct: Vec::new() }
    }

    /// The proxies from the environment's variables `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, also in
    /// upper case. Lower case wins, as with curl and apt; empty variables count as unset. `HTTP_PROXY` is ignored if
    /// `REQUEST_METHOD` is set: in CGI it is a header of the request.
    pub fn from_vars(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let either = |name: &str| {
            let capitals = name.to_ascii_uppercase();
            set(name).or_else(|| set(&capitals).filter(|_| name != "http_proxy" || set("REQUEST_METHOD").is_none()))
        };
        let rule = |scheme: &'static str| {
            let proxy = either(&format!("{scheme}_proxy")).or_else(|| either("all_proxy"))?;
            Some(Rule { scheme: Some(scheme), host: None, proxy: Some(addressed(&proxy)) })
        };
        let direct = either("no_proxy").unwrap_or_default();
        let direct = direct.split([',', ' ']).map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty());
        Proxies { rules: SCHEMES.into_iter().filter_map(rule).collect(), direct: direct.collect() }
    }

    /// Adds a rule in front of all others. No address means a direct connection.
    #[must_use]
    pub fn before(mut self, scheme: &str, host: Option<&str>, proxy: Option<&str>) -> Self {
        let scheme = SCHEMES.into_iter().find(|known| scheme.eq_ignore_ascii_case(known));
        self.rules.insert(0, Rule { scheme, host: host.map(str::to_ascii_lowercase), proxy: proxy.map(addressed) });
        self
    }

    /// The proxy's address; `None` for a direct connection.
    pub fn through(&self, scheme: &str, host: &str, port: Option<u16>) -> Option<&str> {
        if self.direct.iter().any(|item| is_meant(item, host, port)) {
            return None;
        }
        let fits = |rule: &&Rule| {
            rule.scheme.is_none_or(|one| one == scheme) && rule.host.as_ref().is_none_or(|one| one.eq_ignore_ascii_case(bare(host)))
        };
        self.rules.iter().find(fits)?.proxy.as_deref()
    }

    /// Changes each address.
    #[must_use]
    pub fn map(mut self, change: impl Fn(&str) -> String) -> Self {
        self.rules.iter_mut().filter_map(|rule| rule.proxy.as_mut()).for_each(|proxy| *proxy = change(proxy));
        self
    }
}

/// Adds the scheme to an address without one.
fn addressed(proxy: &str) -> String {
    if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") }
}

/// A host without the brackets of an IPv6 address in a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// True if an item of `no_proxy` matches this host: `*`, a domain and its subdomains, an address, a range of addresses.
fn is_meant(item: &str, host: &str, port: Option<u16>) -> bool {
    let host = bare(host).trim_end_matches('.').to_ascii_lowercase();
    if item == "*" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return bare(item).parse::<IpAddr>().is_ok_and(|one| one == address)
            || item.split_once('/').is_some_and(|(net, bits)| is_within(address, net, bits))
            || with_port(item, port).is_some_and(|item| bare(item) == host);
    }
    let item = with_port(item, port).unwrap_or(item);
    let domain = item.trim_start_matches('*').trim_matches('.');
    host == domain || (!domain.is_empty() && host.strip_suffix(domain).is_some_and(|front| front.ends_with('.')))
}

/// An item without its port, if the port is `port`.
fn with_port(item: &str, port: Option<u16>) -> Option<&str> {
    let (front, said) = item.rsplit_once(':')?;
    (said.parse().ok() == Some(port?)).then_some(front)
}

fn is_within(address: IpAddr, net: &str, bits: &str) -> bool {
    let (Ok(net), Ok(bits)) = (net.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let same = |a: u128, b: u128, width: u32| bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0);
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Proxies {
        Proxies::from_vars(|name| vars.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn variables_set_proxies_by_scheme_and_lower_case_wins() {
        let vars =
            [("http_proxy", "p.test:3128"), ("HTTP_PROXY", "http://other.test"), ("HTTPS_PROXY", "http://s.test:1"), ("no_proxy", "")];
        let proxies = from(&vars);
        assert_eq!(proxies.through("http", "a.test", None), Some("http://p.test:3128"));
        assert_eq!(proxies.through("https", "a.test", None), Some("http://s.test:1"));
        assert_eq!(from(&[("all_proxy", "http://p.test")]).through("https", "a.test", None), Some("http://p.test"));
        assert_eq!(from(&[("HTTP_PROXY", "http://p.test"), ("REQUEST_METHOD", "GET")]).through("http", "a.test", None), None);
        assert_eq!(from(&[]).through("http", "a.test", None), None);
    }

    #[test]
    fn no_proxy_means_hosts_domains_and_ranges() {
        let with = |item: &str, host: &str, port: Option<u16>| {
            from(&[("http_proxy", "http://p.test"), ("no_proxy", &format!("x.invalid, {item}"))]).through("http", host, port).is_none()
        };
        for (item, host, direct) in [
            ("*", "a.test", true),
            ("a.test", "a.test", true),
            ("A.Test", "a.test.", true),
            (".a.test", "b.a.test", true),
            ("a.test", "b.a.test", true),
            ("*.a.test", "b.a.test", true),
            ("a.test", "ba.test", false),
            ("est", "a.test", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.0/8", "127.9.9.9", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "11.0.0.1", true),
            ("fd00::/8", "[fd12::1]", true),
            ("::1", "[::1]", true),
            ("10.0.0.0/99", "10.0.0.1", false),
        ] {
            assert_eq!(with(item, host, None), direct, "{item} {host}");
        }
        assert!(with("a.test:8080", "a.test", Some(8080)) && !with("a.test:8080", "a.test", Some(80)));
        assert!(with("127.0.0.1:8080", "127.0.0.1", Some(8080)) && !with("127.0.0.1:8080", "127.0.0.1", None));
    }

    #[test]
    fn a_hosts_own_rule_comes_first() {
        let proxies = from(&[("http_proxy", "http://p.test")]);
        let proxies = proxies.before("http", None, Some("http://apt.test")).before("http", Some("a.test"), None);
        assert_eq!(proxies.through("http", "a.test", None), None);
        assert_eq!(proxies.through("http", "b.test", None), Some("http://apt.test"));
        assert_eq!(proxies.through("https", "b.test", None), None);
    }
}
