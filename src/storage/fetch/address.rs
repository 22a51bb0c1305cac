//! Addresses: parsed, compared, and shown without their secrets. No I/O.

use std::net::IpAddr;

use reqwest::Url;

/// Schemes allowed in a lockfile, which may come from a stranger: no access to local files.
pub(super) const WEB_SCHEMES: [&str; 2] = ["http", "https"];
/// An unusable address, shown without secrets, and the reason.
pub(super) type Unusable = (String, String);

/// Parses an address with one of `schemes`.
pub(super) fn parse(text: &str, schemes: &[&str]) -> Result<Url, Unusable> {
    // The text itself is not shown: a password cannot be removed from an address that does not parse.
    let url = Url::parse(text).map_err(|e| ("an address".to_owned(), format!("cannot be parsed: {e}")))?;
    if url.scheme() == "file" && url.to_file_path().is_err() {
        return Err((shown(&url), "names a host, but only local files can be read".to_owned()));
    }
    if url.scheme() == "file" && url.path().to_ascii_lowercase().contains("%2f") {
        return Err((shown(&url), "contains an encoded slash (%2F)".to_owned()));
    }
    if schemes.contains(&url.scheme()) {
        return Ok(url);
    }
    Err((shown(&url), format!("only {} are supported, not {}", schemes.join(" and "), url.scheme())))
}

/// An address without its possibly secret parts: user, password, query, fragment.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only for addresses that cannot have a user at all.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let query = url.query().is_some();
    url.set_query(None);
    url.set_fragment(None);
    if query { format!("{url}?…") } else { url.to_string() }
}

/// Limit for quoted server text, in characters: a header may have hundreds of kilobytes.
const REPEATED: usize = 300;

/// A server's text, shortened for a message.
pub(super) fn brief(text: &str) -> String {
    match text.char_indices().nth(REPEATED) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The host of an address, with the port unless it is the scheme's default.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("this machine");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// True for a loopback host: plain http to it cannot be intercepted.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The origin of an address: scheme, host and port.
pub(super) fn server(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// `HOST` or `HOST:PORT` in canonical form for comparisons: lower case, international names in Punycode, without the
/// default port of https. None if the text is anything else.
pub(crate) fn host_key(text: &str) -> Option<String> {
    let plain = !text.is_empty() && !text.contains(['/', '\\', '?', '#', '@']) && !text.contains(char::is_whitespace);
    let url = Url::parse(&format!("https://{text}/")).ok().filter(|_| plain)?;
    Some(host(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_canonical_form() {
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
    fn quoted_server_text_is_short() {
        assert_eq!(brief(&"é".repeat(REPEATED)), "é".repeat(REPEATED));
        assert_eq!(brief(&"é".repeat(REPEATED + 1)), "é".repeat(REPEATED) + "…");
    }

    #[test]
    fn shown_addresses_have_no_secrets() {
        let url = Url::parse("https://user:pw@h.test:8443/a/b?token=t#f").unwrap();
        assert_eq!(shown(&url), "https://h.test:8443/a/b?…");
        assert_eq!(shown(&Url::parse("http://h.test/a").unwrap()), "http://h.test/a");
        assert_eq!(server(&url), "https://h.test:8443");
    }
}
