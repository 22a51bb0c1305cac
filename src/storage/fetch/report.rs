//! Errors of failed downloads: every artifact with every source and its reason, and hints.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Url;

use super::address::{host, server, shown};
use super::failure::{SourceError, SourceErrors};
use super::local::MISSING;
use super::{Source, Want};
use crate::common::error::{Class, Error};
use crate::common::value::Size;

/// Number of listed artifacts; the rest is only counted. With more failures the network is down or the mirror is wrong.
const LISTED: usize = 20;

/// The hint for a site without network.
const BY_BUNDLE: &str = "or transfer everything in one file: `kbake bundle create ROLE` on a host with network, `kbake bundle import FILE` here (docs/offline.md)";

/// The error for artifacts missing under `--offline`: all of them, with their sources.
pub(super) fn offline(missing: &[&Want]) -> Error {
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let message = format!("{} {verb} missing in the store ({}), and --offline forbids fetching", things(missing.len()), sum(missing));
    let error = missing.iter().fold(Error::new(Class::Network, message), |error, want| {
        error.detail(format!("{}  {}  {}  from {}", want.name, size(want), want.digest, origin(want)))
    });
    let error = error.hint("run `kbake fetch` with network access, or omit --offline").hint(BY_BUNDLE);
    own_file(error, missing)
}

/// The error for a query under `--offline`.
pub(super) fn offline_question(what: &str) -> Error {
    Error::new(Class::Network, format!("{what} must be fetched, and --offline forbids it")).hint("omit --offline")
}

fn things(n: usize) -> String {
    if n == 1 { "1 artifact".to_owned() } else { format!("{n} artifacts") }
}

fn which(wants: &[&Want]) -> String {
    if let [want] = wants { format!("`{}`", want.name) } else { things(wants.len()) }
}

/// The total size as text.
fn sum(wants: &[&Want]) -> String {
    let known: u64 = wants.iter().filter_map(|want| want.size).fold(0, u64::saturating_add);
    match wants.iter().filter(|want| want.size.is_none()).count() {
        0 => Size(known).to_string(),
        unknown if unknown == wants.len() => "size unknown".to_owned(),
        unknown => format!("{} and {unknown} of unknown size", Size(known)),
    }
}

fn size(want: &Want) -> String {
    want.size.map_or("size unknown".to_owned(), |size| Size(size).to_string())
}

fn origin(want: &Want) -> String {
    match &want.source {
        Source::Pool { path, .. } => path.clone(),
        Source::Registry { reference, .. } => reference.to_string(),
        Source::Urls(urls) => {
            let shown: Vec<_> = urls.iter().map(|text| reqwest::Url::parse(text).map_or("?".to_owned(), |url| shown(&url))).collect();
            shown.join(" or ")
        }
    }
}

/// The error for a want without any source.
pub(super) fn sourceless(want: &Want) -> Error {
    match &want.source {
        Source::Pool { archive, path } => Error::new(Class::Network, format!("no mirror of the archive `{archive}` is configured"))
            .detail("this host's apt has none among its sources")
            .detail(format!("needed: {path}"))
            .hint(format!("name one with `--mirror {archive}=URL`, or in the host's apt sources")),
        Source::Urls(_) | Source::Registry { .. } => {
            Error::user(format!("no source is known for `{}`", want.name)).hint("its lock entry has no address")
        }
    }
}

/// The error for `failed` and `untried` artifacts, out of `wanted`. Untried are those that only unreachable servers have.
pub(super) fn failed(failed: &[(&Want, &SourceErrors)], untried: &[&Want], wanted: usize) -> Error {
    let whys: Vec<&SourceError> = failed.iter().flat_map(|(_, failed)| failed.sources.iter().map(|(_, why)| why)).collect();
    let missing: Vec<&Want> = failed.iter().map(|(want, _)| *want).chain(untried.iter().copied()).collect();
    let from_pool = |want: &&Want| matches!(want.source, Source::Pool { .. });
    if whys.iter().all(|why| matches!(why, SourceError::Unreachable(_))) && !missing.iter().any(from_pool) {
        return unreachable(failed, &missing);
    }
    let mismatch = failed.iter().find(|(_, failed)| failed.sources.iter().any(|(_, why)| matches!(why, SourceError::Mismatch(_))));
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
    if let Some((want, _)) = failed.iter().find(|(_, failed)| failed.sources.iter().any(|(_, why)| matches!(why, SourceError::Unsized(_))))
    {
        error = error.hint(format!("`kbake lock --upgrade {}` locks its size, which then becomes the limit", locked_as(want)));
    }
    if failed.len() > LISTED {
        error = error.detail(format!("and {} more", failed.len() - LISTED));
    }
    if !untried.is_empty() {
        error = error.detail(format!("{} more were not tried", untried.len()));
    }
    if let Some((want, _)) = mismatch {
        error = error.hint(format!(
            "nothing was kept; if the publisher replaced the file, run `kbake lock --upgrade {}` and review the change",
            locked_as(want)
        ));
    }
    error = advise(error, &whys);
    if class == Class::Network && whys.iter().all(|why| is_absent(why)) {
        error = error.hint("no source has it any more: add a mirror that does, or run `kbake lock --upgrade` and review the change");
    }
    if class == Class::Network { ways_out(error, &missing) } else { error }
}

/// The error for a query for `what` that no target answered.
pub(super) fn unanswered(what: &str, failed: &SourceErrors) -> Error {
    let whys: Vec<&SourceError> = failed.sources.iter().map(|(_, why)| why).collect();
    let error = Error::new(Class::Network, format!("cannot fetch {what}"));
    advise(sources(error, failed), &whys)
}

/// Adds hints for the reasons that occur.
fn advise(mut error: Error, whys: &[&SourceError]) -> Error {
    if whys.iter().any(|why| matches!(why, SourceError::Portal(_))) {
        error = error.hint("a web page came instead of a file: log in to the network's portal, or check the proxy settings");
    }
    if whys.iter().all(|why| matches!(why, SourceError::Unreachable(_))) {
        error = error.hint("check the network, the proxy settings and the mirrors; completed downloads were kept");
    }
    let mut said = BTreeSet::new();
    for hint in whys.iter().filter_map(|why| remedy(why)) {
        if said.insert(hint.clone()) {
            error = error.hint(hint);
        }
    }
    if whys.iter().any(|why| why.to_string().contains("UnknownIssuer")) {
        error = error.hint("this host does not trust the server's certificate: install the package ca-certificates, or the site's CA");
    }
    error
}

/// The hint for a reason.
fn remedy(why: &SourceError) -> Option<String> {
    match why {
        SourceError::Login { host, .. } => Some(format!(
            "configure a login in ~/.config/kbake/config.toml: `[[login]]` with `host = \"{host}\"`, `user` and `password-file` (docs/upstream.md)"
        )),
        SourceError::TokenHost { host, token_host, .. } => Some(format!(
            "no password was sent; if {token_host} issues the tokens of {host}, add `token-host = \"{token_host}\"` to the `[[login]]` of `host = \"{host}\"`"
        )),
        SourceError::Proxy(_) => Some(
            "put them into the proxy's address: `http_proxy` and `https_proxy` take http://USER:PASSWORD@HOST:PORT, and so does apt's \
             `Acquire::http::Proxy`"
                .to_owned(),
        ),
        SourceError::Unreachable(reason) if reason.contains("the proxy ") => Some(
            "proxies are set by `http_proxy`, `https_proxy` and `no_proxy`, and for packages by apt's `Acquire::http::Proxy` \
             (docs/upstream.md)"
                .to_owned(),
        ),
        _ => None,
    }
}

fn is_absent(why: &SourceError) -> bool {
    let text = why.to_string();
    text.contains(" 404 ") || text == MISSING
}

/// The error if no release host or registry is reachable: one line per host, not per artifact.
fn unreachable(failed: &[(&Want, &SourceErrors)], missing: &[&Want]) -> Error {
    let mut hosts: BTreeMap<String, String> = BTreeMap::new();
    for (shown, why) in failed.iter().flat_map(|(_, failed)| &failed.sources) {
        let host = Url::parse(shown).map_or_else(|_| shown.clone(), |url| host(&url));
        hosts.entry(host).or_insert_with(|| why.to_string());
    }
    let names: Vec<&str> = hosts.keys().map(String::as_str).collect();
    let mut error =
        Error::new(Class::Network, format!("cannot fetch {} ({}): no connection to {}", which(missing), sum(missing), names.join(", ")));
    for (host, reason) in &hosts {
        error = error.detail(format!("{host}: {reason}"));
    }
    for want in missing {
        error = error.detail(format!("missing: {}  {}  {}", want.name, size(want), origin(want)));
    }
    let whys: Vec<&SourceError> = failed.iter().flat_map(|(_, failed)| failed.sources.iter().map(|(_, why)| why)).collect();
    ways_out(advise(error, &whys), missing)
}

/// Adds the alternatives to unreachable release hosts and registries. Debian packages have mirrors everywhere, and hints of
/// their own.
fn ways_out(mut error: Error, missing: &[&Want]) -> Error {
    let site = missing.iter().find_map(|want| match &want.source {
        Source::Urls(urls) => urls.iter().find_map(|url| Url::parse(url).ok()).map(|url| server(&url)),
        _ => None,
    });
    let registry = missing.iter().find_map(|want| match &want.source {
        Source::Registry { reference, .. } => Some(reference.registry()),
        _ => None,
    });
    if let Some(site) = &site {
        error = error.hint(format!(
            "use your own mirror: `--rewrite {site}/=https://MIRROR/`, or a local folder: `--rewrite {site}/=file:///FOLDER/`"
        ));
    }
    if let Some(registry) = registry {
        error = error.hint(format!("take images from your own registry: `--registry-mirror {registry}=https://MIRROR`"));
    }
    if site.is_some() || registry.is_some() {
        error = error.hint(BY_BUNDLE);
    }
    own_file(error, missing)
}

/// The name for `kbake lock --upgrade`: a package, an artifact and an image may share a name.
fn locked_as(want: &Want) -> String {
    match want.source {
        Source::Pool { .. } => format!("package:{}", want.name),
        Source::Urls(_) => format!("artifact:{}", want.name),
        Source::Registry { .. } => want.name.clone(),
    }
}

/// Adds the hint that an artifact can be a local file.
fn own_file(error: Error, missing: &[&Want]) -> Error {
    match missing.iter().find(|want| matches!(want.source, Source::Urls(_))) {
        Some(want) => error.hint(format!("or use a local file: `kbake lock --set {}=PATH`", want.name)),
        None => error,
    }
}

fn describe(error: Error, want: &Want, failed: &SourceErrors) -> Error {
    let size = want.size.map(|size| format!(" ({})", Size(size))).unwrap_or_default();
    sources(error.detail(format!("{}{size}: expected {}", want.name, want.digest)), failed)
}

fn sources(error: Error, failed: &SourceErrors) -> Error {
    failed.sources.iter().fold(error, |error, (source, why)| error.detail(format!("  from {source}: {why}")))
}
