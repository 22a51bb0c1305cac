//! The URL of an API server on the command line.

use std::str::FromStr;

/// The URL of an API server: `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    /// The URL, without a slash at its end.
    pub text: String,
    /// The host, in lower case.
    pub host: String,
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || Err("it must be https://HOST:PORT, as in https://127.0.0.1:26000".to_owned());
        let text = text.strip_suffix('/').unwrap_or(text);
        let Some(rest) = text.strip_prefix("https://") else { return refused() };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        let is_port = |port: &str| port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
        let is_host = !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || b".-".contains(&c));
        match is_host && port.is_none_or(is_port) {
            true => Ok(ServerUrl { text: text.to_owned(), host: host.to_ascii_lowercase() }),
            false => refused(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_url_is_a_scheme_a_host_and_a_port() {
        for good in ["https://127.0.0.1:26000", "https://api.example.test", "https://API.example.test:443/"] {
            let url: ServerUrl = good.parse().unwrap();
            assert!(good.starts_with(&url.text) && !url.text.ends_with('/'), "{good}");
            assert_eq!(url.host, url.host.to_lowercase());
        }
        for bad in [
            "",
            "127.0.0.1:26000",
            "http://127.0.0.1",
            "https://",
            "https://a:0",
            "https://a:99999",
            "https://a/b",
            "https://u@a",
            "https://[::1]:1",
        ] {
            assert!(bad.parse::<ServerUrl>().is_err(), "{bad}");
        }
    }
}
