//! What to tell when something did not come: every artifact with every source and its reason, and what to do.

use super::local::MISSING;
use super::work::{Failed, Why};
use super::{Source, Want};
use crate::error::{Class, Error};
use crate::value::Size;

/// More artifacts than these are counted, not listed: the network is down or the mirror is wrong, and a screen is enough.
const LISTED: usize = 20;

/// All that is missing at once, and where it could come from.
pub(super) fn offline(missing: &[&Want]) -> Error {
    let known: u64 = missing.iter().filter_map(|want| want.size).fold(0, u64::saturating_add);
    let unknown = missing.iter().filter(|want| want.size.is_none()).count();
    let more = if unknown > 0 { format!(" and {unknown} of unknown size") } else { String::new() };
    let things = count(missing.len());
    let mut error =
        Error::new(Class::Network, format!("{things} missing in the store ({}{more}), and --offline forbids to fetch", Size(known)));
    for want in missing {
        let size = want.size.map_or("unknown size".to_owned(), |size| Size(size).to_string());
        error = error.detail(format!("{}  {size}  {}  from {}", want.name, want.digest, origin(want)));
    }
    error.hint("run `kbake fetch` where there is a network, or leave --offline out")
}

fn count(n: usize) -> String {
    if n == 1 { "1 artifact is".to_owned() } else { format!("{n} artifacts are") }
}

fn origin(want: &Want) -> String {
    match &want.source {
        Source::Pool(path) => path.clone(),
        Source::Urls(urls) => {
            let shown: Vec<_> =
                urls.iter().map(|text| reqwest::Url::parse(text).map_or("?".to_owned(), |url| super::source::shown(&url))).collect();
            shown.join(" or ")
        }
    }
}

/// Nobody can be asked for `want`.
pub(super) fn sourceless(want: &Want) -> Error {
    match &want.source {
        Source::Pool(path) => Error::new(Class::Network, "no mirror is known to fetch packages from")
            .detail(format!("needed: {path}"))
            .hint("give one with `--mirror URL`, or name one in the host's apt sources"),
        Source::Urls(_) => Error::user(format!("no source is known for `{}`", want.name)).hint("its lock entry names no address"),
    }
}

/// The error for `failed`, of `wanted` artifacts, `untried` of which were not asked for any more.
pub(super) fn failed(failed: &[(&Want, &Failed)], wanted: usize, untried: usize) -> Error {
    let whys = || failed.iter().flat_map(|(_, failed)| failed.sources.iter().map(|(_, why)| why));
    let mismatch = failed.iter().find(|(_, failed)| failed.sources.iter().any(|(_, why)| matches!(why, Why::Mismatch(_))));
    let class = if mismatch.is_some() { Class::Integrity } else { Class::Network };
    let message = match (failed, mismatch) {
        ([(want, _)], Some(_)) => format!("hash mismatch for `{}`", want.name),
        ([(want, _)], None) => format!("cannot fetch `{}`", want.name),
        (_, Some((want, _))) => format!("cannot fetch {} of {wanted} artifacts; hash mismatch for `{}`", failed.len(), want.name),
        (_, None) => format!("cannot fetch {} of {wanted} artifacts", failed.len()),
    };
    let mut error = Error::new(class, message);
    for (want, failed) in failed.iter().take(LISTED) {
        error = describe(error, want, failed);
    }
    if failed.len() > LISTED {
        error = error.detail(format!("and {} more", failed.len() - LISTED));
    }
    if untried > 0 {
        error = error.detail(format!("{untried} more were not tried"));
    }
    if let Some((want, _)) = mismatch {
        error = error
            .hint(format!("nothing was kept; if it was released anew, run `kbake lock --upgrade {}` and review the change", want.name));
    }
    if whys().any(|why| matches!(why, Why::Portal(_))) {
        error = error.hint("a web page came in place of a file: log in to the network's portal, or check the proxy's settings");
    }
    if whys().all(|why| matches!(why, Why::Unreachable(_))) {
        error = error.hint("check the network, the proxy's settings and the mirrors; what is complete was kept");
    }
    if whys().any(|why| why.to_string().contains("UnknownIssuer")) {
        error = error.hint("this host does not trust the server's certificate: install the package ca-certificates, or the site's own CA");
    }
    if class == Class::Network && whys().all(|why| why.to_string().contains(" 404 ") || why.to_string() == MISSING) {
        error = error.hint("no source has it any more: add a mirror that has, or run `kbake lock --upgrade` and review the change");
    }
    error
}

fn describe(error: Error, want: &Want, failed: &Failed) -> Error {
    let size = want.size.map(|size| format!(" ({})", Size(size))).unwrap_or_default();
    let error = error.detail(format!("{}{size}: expected {}", want.name, want.digest));
    failed.sources.iter().fold(error, |error, (source, why)| error.detail(format!("  from {source}: {why}")))
}
