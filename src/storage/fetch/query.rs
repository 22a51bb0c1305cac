//! Small queries to release hosts and registries about things that are not locked yet: a checksum file, a file's size, a tag's
//! current digest. Callers decide what to trust.

use super::address::{Unusable, brief, shown};
use super::in_memory::{self, Outcome};
use super::message::{Ask, Message};
use super::response::Head;
use super::source::{self, web_targets};
use super::target::Target;
use super::web::Web;
use super::{Options, RegistryKind, registry, report};
use crate::common::error::{Class, Error, Result};
use crate::common::value::{Cancel, Reference, Sha256};

/// Size limit of a manifest in bytes: the minimum that the specification requires registries to accept
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests>).
pub(super) const MAX_MANIFEST: u64 = 4 << 20;

/// The text at `url`, at most `max` bytes; none if every target says that it does not exist. [`Options::rewrites`] apply.
///
/// # Errors
/// [`Class::Network`]: no target delivered it, or `offline` is set; [`Class::Integrity`]: not UTF-8; [`Class::Interrupted`].
pub(crate) fn text(url: &str, max: u64, options: &Options, cancel: &Cancel) -> Result<Option<String>> {
    let Some((named, head, body)) = body(url, max, options, cancel)? else { return Ok(None) };
    match String::from_utf8(body) {
        Ok(text) => Ok(Some(text)),
        Err(_) if head.packed.is_some() => Err(coded(&named, &head)),
        Err(_) => Err(Error::integrity(format!("{named} is not UTF-8 text"))),
    }
}

/// The bytes at `url`, at most `max`; none if every target says that they do not exist. [`Options::rewrites`] apply.
///
/// # Errors
/// [`Class::Network`]: no target delivered them, or `offline` is set; [`Class::Interrupted`].
pub(crate) fn bytes(url: &str, max: u64, options: &Options, cancel: &Cancel) -> Result<Option<Vec<u8>>> {
    match body(url, max, options, cancel)? {
        Some((named, head, _)) if head.packed.is_some() => Err(coded(&named, &head)),
        found => Ok(found.map(|(_, _, body)| body)),
    }
}

/// The name of the targets, the head and the body; none if every target says that there is none.
fn body(url: &str, max: u64, options: &Options, cancel: &Cancel) -> Result<Option<(String, Head, Vec<u8>)>> {
    let options = &options.settled(!options.offline && source::is_rewritten(url, options))?;
    let targets = web_targets(url, options);
    let named = name(&targets);
    if options.offline {
        return Err(report::offline_question(&named));
    }
    match in_memory::get(&Web::new(options, cancel), targets, max)? {
        Outcome::Body(head, body) => Ok(Some((named, head, body))),
        Outcome::Absent => Ok(None),
        Outcome::Failed(failed) => Err(report::unanswered(&named, &failed)),
    }
}

/// The error for a body with a content coding.
fn coded(named: &str, head: &Head) -> Error {
    let coding = head.packed.as_deref().unwrap_or_default();
    Error::new(Class::Network, format!("{named} came with a content coding, although `identity` was requested"))
        .detail(format!("Content-Encoding: {}", brief(coding).escape_debug()))
        .hint("a proxy on the way may compress it: fix the proxy, or use a mirror: `--rewrite PREFIX=ADDRESS`")
}

/// The size in bytes of the file at `url` according to its server; none if the server does not say, or cannot be asked. The
/// locked size only limits a download; the digest decides about its content.
pub(crate) fn size(url: &str, options: &Options, cancel: &Cancel) -> Option<u64> {
    if options.offline {
        return None;
    }
    let options = &options.settled(source::is_rewritten(url, options)).ok()?;
    let web = Web::new(options, cancel);
    // For a GET, too, only the head is awaited; the body is not received.
    let answer = |target: &Target, head| match web.ask(Ask { head, ..web.request(target) }).ok()?.next().ok()? {
        Message::Head(head) => Some(head),
        _ => None,
    };
    let said = |head: Head| (head.status == 200 && !head.is_html() && head.packed.is_none()).then_some(head.content_length).flatten();
    // Some servers refuse HEAD.
    web_targets(url, options).into_iter().flatten().find_map(|target| match answer(&target, true)? {
        head if matches!(head.status, 403 | 405 | 501) => said(answer(&target, false)?),
        head => said(head),
    })
}

/// The current digest of `reference`'s tag: the SHA-256 of the index (or manifest) at the registry, with its bytes. It is
/// computed here and compared with the registry's own claim.
///
/// # Errors
/// [`Class::User`]: no such tag; [`Class::Integrity`]: the registry claims another digest than its bytes have;
/// [`Class::Network`]: no response, or `offline` is set; [`Class::Interrupted`].
pub fn tag_digest(reference: &Reference, options: &Options, cancel: &Cancel) -> Result<(Sha256, Vec<u8>)> {
    if options.offline {
        return Err(report::offline_question(&format!("the digest of {reference}")));
    }
    let targets = registry::targets(reference, RegistryKind::Manifest, reference.tag(), options);
    let named = name(&targets);
    match in_memory::get(&Web::new(options, cancel), targets, MAX_MANIFEST)? {
        Outcome::Body(head, body) => {
            let found = Sha256::of(&body);
            match head.digest.as_deref() {
                Some(said) if said.starts_with("sha256:") && said != format!("sha256:{found}") => {
                    Err(Error::integrity(format!("the registry's digest for {reference} does not match its bytes"))
                        .detail(format!("from {named}"))
                        .detail(format!("claimed {}  found sha256:{found}", brief(said).escape_debug()))
                        .hint("try again; if it happens again, check proxies and mirrors between here and the registry"))
                }
                _ => Ok((found, body)),
            }
        }
        Outcome::Absent => Err(Error::new(Class::User, format!("container image {reference} does not exist"))
            .detail(format!("asked: {named}"))
            .hint("check its version and name in the sources")),
        Outcome::Failed(failed) => Err(report::unanswered(&format!("the digest of {reference}"), &failed)),
    }
}

/// The targets as text for messages.
fn name(targets: &[Result<Target, Unusable>]) -> String {
    let one = |target: &Result<Target, Unusable>| match target {
        Ok(target) => shown(&target.url),
        Err((shown, _)) => shown.clone(),
    };
    targets.iter().map(one).collect::<Vec<_>>().join(" or ")
}
