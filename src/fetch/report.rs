//! What to tell when something did not come: every artifact with every source and its reason, and what to do.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Url;

use super::local::MISSING;
use super::source::{host, server};
use super::why::{Failed, Why};
use super::{Source, Want};
use crate::error::{Class, Error};
use crate::value::Size;

/// More artifacts than these are counted, not listed: the network is down or the mirror is wrong, and a screen is enough.
const LISTED: usize = 20;

/// How everything comes to a site without network.
const BY_BUNDLE: &str =
    "carry all of it in one file: `kbake bundle create ROLE` where there is a network, `kbake bundle import FILE` here (docs/offline.md)";

/// All that is missing at once, and where it could come from.
pub(super) fn offline(missing: &[&Want]) -> Error {
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let message = format!("{} {verb} missing in the store ({}), and --offline forbids to fetch", things(missing.len()), sum(missing));
    let error = missing.iter().fold(Error::new(Class::Network, message), |error, want| {
        error.detail(format!("{}  {}  {}  from {}", want.name, size(want), want.digest, origin(want)))
    });
    let error = error.hint("run `kbake fetch` where there is a network, or leave --offline out").hint(BY_BUNDLE);
    own_file(error, missing)
}

/// Nothing may be asked about `url`.
pub(super) fn offline_question(what: &str) -> Error {
    Error::new(Class::Network, format!("{what} must be asked for, and --offline forbids it")).hint("leave --offline out")
}

fn things(n: usize) -> String {
    if n == 1 { "1 artifact".to_owned() } else { format!("{n} artifacts") }
}

fn which(wants: &[&Want]) -> String {
    if let [want] = wants { format!("`{}`", want.name) } else { things(wants.len()) }
}

/// How much it is in all.
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
        Source::Pool(path) => path.clone(),
        Source::Registry { reference, .. } => reference.to_string(),
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
            .detail("this host's apt has no mirror of Debian's archive among its sources")
            .detail(format!("needed: {path}"))
            .hint("give one with `--mirror URL`, or name one in the host's apt sources"),
        Source::Urls(_) | Source::Registry { .. } => {
            Error::user(format!("no source is known for `{}`", want.name)).hint("its lock entry names no address")
        }
    }
}

/// The error for `failed` and `untried`, of `wanted` artifacts. Those are untried that only servers have which could not
/// be reached for others.
pub(super) fn failed(failed: &[(&Want, &Failed)], untried: &[&Want], wanted: usize) -> Error {
    let whys: Vec<&Why> = failed.iter().flat_map(|(_, failed)| failed.sources.iter().map(|(_, why)| why)).collect();
    let missing: Vec<&Want> = failed.iter().map(|(want, _)| *want).chain(untried.iter().copied()).collect();
    let from_pool = |want: &&Want| matches!(want.source, Source::Pool(_));
    if whys.iter().all(|why| matches!(why, Why::Unreachable(_))) && !missing.iter().any(from_pool) {
        return unreachable(failed, &missing);
    }
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
    if let Some((want, _)) = failed.iter().find(|(_, failed)| failed.sources.iter().any(|(_, why)| matches!(why, Why::Unsized(_)))) {
        error = error.hint(format!("`kbake lock --upgrade {}` locks its size, and then so much is taken", want.name));
    }
    if failed.len() > LISTED {
        error = error.detail(format!("and {} more", failed.len() - LISTED));
    }
    if !untried.is_empty() {
        error = error.detail(format!("{} more were not tried", untried.len()));
    }
    if let Some((want, _)) = mismatch {
        error = error.hint(format!(
            "nothing was kept; if it was released anew, run `kbake lock --upgrade {}` and review the change",
            locked_as(want)
        ));
    }
    error = advise(error, &whys);
    if class == Class::Network && whys.iter().all(|why| is_absent(why)) {
        error = error.hint("no source has it any more: add a mirror that has, or run `kbake lock --upgrade` and review the change");
    }
    if class == Class::Network { ways_out(error, &missing) } else { error }
}

/// A question that nobody answered: `what` was asked for.
pub(super) fn unanswered(what: &str, failed: &Failed) -> Error {
    let whys: Vec<&Why> = failed.sources.iter().map(|(_, why)| why).collect();
    let error = Error::new(Class::Network, format!("cannot fetch {what}"));
    advise(sources(error, failed), &whys)
}

/// What the reasons have in common, and what to do about it.
fn advise(mut error: Error, whys: &[&Why]) -> Error {
    if whys.iter().any(|why| matches!(why, Why::Portal(_))) {
        error = error.hint("a web page came in place of a file: log in to the network's portal, or check the proxy's settings");
    }
    if whys.iter().all(|why| matches!(why, Why::Unreachable(_))) {
        error = error.hint("check the network, the proxy's settings and the mirrors; what is complete was kept");
    }
    let mut said = BTreeSet::new();
    for hint in whys.iter().filter_map(|why| remedy(why)) {
        if said.insert(hint.clone()) {
            error = error.hint(hint);
        }
    }
    if whys.iter().any(|why| why.to_string().contains("UnknownIssuer")) {
        error = error.hint("this host does not trust the server's certificate: install the package ca-certificates, or the site's own CA");
    }
    error
}

/// The remedy for a reason.
fn remedy(why: &Why) -> Option<String> {
    match why {
        Why::Login { host, .. } => Some(format!(
            "say who you are there in ~/.config/kbake/config.toml: `[[login]]` with `host = \"{host}\"`, `user` and `password-file` (docs/upstream.md)"
        )),
        Why::TokenHost { host, token_host, .. } => Some(format!(
            "no password was sent; if {token_host} gives the tokens of {host}, write `token-host = \"{token_host}\"` into the `[[login]]` of `host = \"{host}\"`"
        )),
        Why::Proxy(_) => Some(
            "write them into the proxy's address: `http_proxy` and `https_proxy` are http://USER:PASSWORD@HOST:PORT, and so is apt's \
             `Acquire::http::Proxy`"
                .to_owned(),
        ),
        Why::Unreachable(reason) if reason.contains("the proxy ") => Some(
            "proxies are named by `http_proxy`, `https_proxy` and `no_proxy`, and for packages by apt's `Acquire::http::Proxy` \
             (docs/upstream.md)"
                .to_owned(),
        ),
        _ => None,
    }
}

fn is_absent(why: &Why) -> bool {
    let text = why.to_string();
    text.contains(" 404 ") || text == MISSING
}

/// No host that releases or images come from can be reached: told once, and not once per artifact.
fn unreachable(failed: &[(&Want, &Failed)], missing: &[&Want]) -> Error {
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
    let whys: Vec<&Why> = failed.iter().flat_map(|(_, failed)| failed.sources.iter().map(|(_, why)| why)).collect();
    ways_out(advise(error, &whys), missing)
}

/// How releases and images come to where their hosts do not answer. Debian's packages have mirrors everywhere, and their
/// own hints.
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
            "from a mirror of yours: `--rewrite {site}/=https://MIRROR/`, or to a folder: `--rewrite {site}/=file:/FOLDER/`"
        ));
    }
    if let Some(registry) = registry {
        error = error.hint(format!("images from a registry of yours: `--registry-mirror {registry}=https://MIRROR`"));
    }
    if site.is_some() || registry.is_some() {
        error = error.hint(BY_BUNDLE);
    }
    own_file(error, missing)
}

/// The name by which a lock is told what to move: a package, an artifact and an image may have one name.
fn locked_as(want: &Want) -> String {
    match want.source {
        Source::Pool(_) => format!("package:{}", want.name),
        Source::Urls(_) => format!("artifact:{}", want.name),
        Source::Registry { .. } => want.name.clone(),
    }
}

/// An artifact may be a file that the user has.
fn own_file(error: Error, missing: &[&Want]) -> Error {
    match missing.iter().find(|want| matches!(want.source, Source::Urls(_))) {
        Some(want) => error.hint(format!("with a file that you have: `kbake lock --set {}=PATH`", want.name)),
        None => error,
    }
}

fn describe(error: Error, want: &Want, failed: &Failed) -> Error {
    let size = want.size.map(|size| format!(" ({})", Size(size))).unwrap_or_default();
    sources(error.detail(format!("{}{size}: expected {}", want.name, want.digest)), failed)
}

fn sources(error: Error, failed: &Failed) -> Error {
    failed.sources.iter().fold(error, |error, (source, why)| error.detail(format!("  from {source}: {why}")))
}
