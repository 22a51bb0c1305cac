//! The head of a response, and the decision about its body before any byte is kept. No I/O.

use std::time::Duration;

use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};

use super::address::{brief, shown};
use crate::common::value::Size;

/// The parts of a response's head that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub status: u16,
    pub content_type: Option<String>,
    pub content_length: Option<u64>,
    pub content_range: Option<String>,
    pub retry_after: Option<String>,
    /// `WWW-Authenticate`, the challenges of a 401.
    pub authenticate: Option<Box<str>>,
    /// `Docker-Content-Digest`, a registry's claim about its response.
    pub digest: Option<String>,
    /// The final address after redirects, without secrets; none if there were no redirects.
    pub redirected: Option<String>,
    /// The proxy in between, without secrets.
    pub proxy: Option<Box<str>>,
    /// `Content-Encoding`, although `identity` was requested.
    pub packed: Option<Box<str>>,
}

/// The decision about a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Take the body. `total` is the artifact's full size according to the server.
    Take { start_over: bool, total: Option<u64> },
    /// Ask this source again from byte 0: its ranges are unusable.
    StartOver(String),
    /// A temporary error. `pause` is the server's `Retry-After`.
    Later { reason: String, pause: Option<Duration> },
    /// This source does not have the artifact.
    Refuse(String),
    /// Something other than the source answered.
    Portal(String),
}

impl Head {
    pub(super) fn of(response: &Response, asked: &Url) -> Head {
        let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Head {
            status: response.status().as_u16(),
            content_type: text(CONTENT_TYPE),
            content_length: text(CONTENT_LENGTH).and_then(|text| text.parse().ok()),
            content_range: text(CONTENT_RANGE),
            retry_after: text(RETRY_AFTER),
            authenticate: joined(response).map(Into::into),
            digest: text(HeaderName::from_static("docker-content-digest")),
            redirected: (response.url() != asked).then(|| brief(&shown(response.url()))),
            proxy: None,
            packed: text(CONTENT_ENCODING).filter(|how| !how.eq_ignore_ascii_case("identity")).map(Into::into),
        }
    }

    /// True for a 401 of the server itself, not of one that it redirected to.
    pub(super) fn is_challenge(&self) -> bool {
        self.status == 401 && self.redirected.is_none()
    }

    /// True if the server says that the resource does not exist.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.status, 404 | 410)
    }

    /// Judges the response to a request from byte `from` on for an artifact of `size` bytes.
    pub(super) fn judge(&self, from: u64, size: Option<u64>) -> Verdict {
        match self.status {
            200 => self.judge_whole(from, size),
            206 if from == 0 => Verdict::Refuse("answered 206 Partial Content to a request for the whole file".to_owned()),
            206 => self.judge_part(from, size),
            416 if from > 0 => Verdict::StartOver(self.answered()),
            408 | 425 | 429 | 500 | 502 | 503 | 504 => Verdict::Later { reason: self.answered(), pause: self.pause() },
            511 => Verdict::Portal(self.answered()),
            300..400 => Verdict::Refuse(format!("{}, a redirect that is not followed", self.answered())),
            _ => Verdict::Refuse(self.answered()),
        }
    }

    fn judge_whole(&self, from: u64, size: Option<u64>) -> Verdict {
        let total = self.content_length;
        // An artifact of exactly the locked size may have any content type; its digest decides.
        if self.is_html() && (total.is_none() || total != size) {
            return Verdict::Portal(self.html());
        }
        match wrong_size(total, size) {
            Some(reason) => Verdict::Refuse(reason),
            None => Verdict::Take { start_over: from > 0, total },
        }
    }

    fn judge_part(&self, from: u64, size: Option<u64>) -> Verdict {
        let shown = brief(self.content_range.as_deref().unwrap_or("none"));
        let Some((first, last, total)) = self.content_range.as_deref().and_then(parse_range) else {
            return Verdict::StartOver(format!("answered 206 Partial Content without a valid Content-Range ({shown:?})"));
        };
        if let Some(reason) = wrong_size(total, size) {
            return Verdict::Refuse(reason);
        }
        if first != from || last < first || total.is_some_and(|total| last >= total) {
            return Verdict::StartOver(format!("answered with the range {shown:?} to a request from byte {from} on"));
        }
        Verdict::Take { start_over: false, total }
    }

    /// True if the content type is that of a web page.
    pub(super) fn is_html(&self) -> bool {
        let kind = self.content_type.as_deref().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        kind == "text/html" || kind == "application/xhtml+xml"
    }

    /// The reason text for a web page.
    pub(super) fn html(&self) -> String {
        let via = self.redirected.as_ref().map(|url| format!(", redirected to {url}")).unwrap_or_default();
        format!("answered with an HTML page{via}: likely a login portal or a proxy")
    }

    /// The reason text for a refusal.
    pub(super) fn answered(&self) -> String {
        let name = reqwest::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        format!("answered {} {}", self.status, name.unwrap_or("")).trim_end().to_owned()
    }

    /// `Retry-After` in seconds ([RFC 9110 §10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)). The date form would
    /// need a clock and is ignored.
    fn pause(&self) -> Option<Duration> {
        self.retry_after.as_deref()?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// All challenges, joined from possibly several headers.
fn joined(response: &Response) -> Option<String> {
    let all = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let text = all.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

fn wrong_size(total: Option<u64>, size: Option<u64>) -> Option<String> {
    let (total, size) = (total?, size?);
    (total != size).then(|| format!("has the wrong size: expected {size} bytes ({}), found {total}", Size(size)))
}

/// True if a body begins like a web page.
pub(super) fn looks_like_html(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"].iter().any(|tag| start.get(..tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag)))
}

/// Parses `Content-Range` (`bytes 5-9/10` or `bytes 5-9/*`) into first, last, total
/// ([RFC 9110 §14.4](https://www.rfc-editor.org/rfc/rfc9110#section-14.4)).
fn parse_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

/// Judges a response with `text` in every header, for the fuzzer.
pub(super) fn fuzz(status: u16, text: &str) {
    let said = || Some(text.to_owned());
    let length = text.trim().parse().ok();
    let head = Head {
        status,
        content_type: said(),
        content_length: length,
        content_range: said(),
        retry_after: said(),
        authenticate: said().map(Into::into),
        digest: said(),
        redirected: None,
        proxy: said().map(Into::into),
        packed: said().map(Into::into),
    };
    for (from, size) in [(0, None), (5, Some(10)), (5, length), (u64::MAX, Some(u64::MAX))] {
        head.judge(from, size);
    }
    looks_like_html(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Head {
        Head { status: 206, content_range: Some(text.to_owned()), ..Head::default() }
    }

    #[test]
    fn ranges_must_match_the_request() {
        let take = |total| Verdict::Take { start_over: false, total };
        assert_eq!(range("bytes 5-9/10").judge(5, Some(10)), take(Some(10)));
        assert_eq!(range("bytes 5-9/*").judge(5, Some(10)), take(None));
        assert_eq!(range("bytes 5-7/10").judge(5, None), take(Some(10)), "less than asked for is allowed");
        for lie in
            ["bytes 4-9/10", "bytes 0-9/10", "bytes 5-10/10", "bytes 5-4/10", "bytes */10", "5-9/10", "bytes 5-9", "bytes -5-9/10", ""]
        {
            assert!(matches!(range(lie).judge(5, Some(10)), Verdict::StartOver(_)), "{lie}");
        }
        assert!(matches!(range("bytes 5-9/11").judge(5, Some(10)), Verdict::Refuse(_)));
        assert!(matches!(range("bytes 0-9/10").judge(0, Some(10)), Verdict::Refuse(_)));
        assert!(matches!(Head { status: 206, ..Head::default() }.judge(5, None), Verdict::StartOver(_)), "no range at all");
    }

    #[test]
    fn statuses_are_temporary_or_permanent() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(Head { status, ..Head::default() }.judge(0, None), Verdict::Later { .. }), "{status}");
        }
        for status in [201, 204, 301, 304, 400, 401, 403, 404, 407, 410, 416, 451, 501, 505] {
            assert!(matches!(Head { status, ..Head::default() }.judge(0, None), Verdict::Refuse(_)), "{status}");
        }
        assert_eq!(Head { status: 404, ..Head::default() }.judge(0, None), Verdict::Refuse("answered 404 Not Found".to_owned()));
        let asks = |text: &str| Head { status: 429, retry_after: Some(text.to_owned()), ..Head::default() }.pause();
        assert_eq!(asks(" 7 "), Some(Duration::from_secs(7)));
        for odd in ["-1", "soon", "", "99999999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(asks(odd), None, "{odd}");
        }
    }

    #[test]
    fn web_pages_are_detected_by_type_and_content() {
        let page = |length| Head {
            status: 200,
            content_type: Some("Text/HTML; charset=utf-8".to_owned()),
            content_length: length,
            ..Head::default()
        };
        assert!(matches!(page(None).judge(0, Some(10)), Verdict::Portal(_)));
        assert!(matches!(page(Some(11)).judge(5, Some(10)), Verdict::Portal(_)), "and the bytes we have are kept");
        assert!(matches!(page(Some(11)).judge(0, None), Verdict::Portal(_)));
        assert!(matches!(page(Some(10)).judge(0, Some(10)), Verdict::Take { .. }));
        for html in ["<!DOCTYPE html>", "\u{feff} \r\n<HTML lang=en>", "<html"] {
            assert!(looks_like_html(html.as_bytes()), "{html}");
        }
        for other in ["", "<", "!<arch>\n", "<?xml", "\x1f\u{8b}<html"] {
            assert!(!looks_like_html(other.as_bytes()), "{other}");
        }
    }
}
