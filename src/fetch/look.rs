//! Questions to release hosts and registries whose answers are small, and which nobody has locked yet: what a file's
//! checksum is said to be, how large it is, what a tag means today. Who asks decides what to believe.

use super::answer::Head;
use super::client::{Ask, Message};
use super::small::{self, Outcome};
use super::source::{self, Target, Unusable, brief, shown, web_targets};
use super::web::Web;
use super::{Options, RegistryKind, registry, report};
use crate::error::{Class, Error, Result};
use crate::value::{Cancel, Reference, Sha256};

/// A manifest is at most this large: what the specification asks registries to take
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests>).
pub(super) const MAX_MANIFEST: u64 = 4 << 20;

/// The text at `url`, of `max` bytes at most; none when all that were asked say that there is no such thing.
/// [`Options::rewrites`] apply.
///
/// # Errors
/// [`Class::Network`]: nobody gave it, or `offline` is set; [`Class::Integrity`]: it is no text; [`Class::Interrupted`].
pub fn text(url: &str, max: u64, options: &Options, cancel: &Cancel) -> Result<Option<String>> {
    let options = &options.settled(!options.offline && source::is_rewritten(url, options))?;
    let targets = web_targets(url, options);
    let named = name(&targets);
    if options.offline {
        return Err(report::offline_question(&named));
    }
    match small::get(&Web::new(options, cancel), targets, max)? {
        Outcome::Body(head, body) => match String::from_utf8(body) {
            Ok(text) => Ok(Some(text)),
            Err(_) if head.packed.is_some() => {
                Err(Error::new(Class::Network, format!("{named} came packed, though it was asked for as it is"))
                    .detail(format!("Content-Encoding: {}", brief(&head.packed.unwrap_or_default()).escape_debug()))
                    .hint("mend what stands between here and the publisher, or ask a mirror: `--rewrite PREFIX=ADDRESS`"))
            }
            Err(_) => Err(Error::integrity(format!("{named} is no text"))),
        },
        Outcome::Absent => Ok(None),
        Outcome::Failed(failed) => Err(report::unanswered(&named, &failed)),
    }
}

/// How many bytes there are at `url`, as its server says; none when it does not say so, or nothing can be asked. Locked, it
/// bounds what is taken when the bytes themselves come; the digest alone says that they are right.
pub fn size(url: &str, options: &Options, cancel: &Cancel) -> Option<u64> {
    if options.offline {
        return None;
    }
    let options = &options.settled(source::is_rewritten(url, options)).ok()?;
    let web = Web::new(options, cancel);
    // Only the head of an answer with a body is waited for: the rest is not received.
    let answer = |target: &Target, head| match web.ask(Ask { head, ..web.request(target) }).ok()?.next().ok()? {
        Message::Head(head) => Some(head),
        _ => None,
    };
    let said = |head: Head| (head.status == 200 && !head.is_html() && head.packed.is_none()).then_some(head.content_length).flatten();
    // Some servers refuse to be asked so.
    web_targets(url, options).into_iter().flatten().find_map(|target| match answer(&target, true)? {
        head if matches!(head.status, 403 | 405 | 501) => said(answer(&target, false)?),
        head => said(head),
    })
}

/// What the tag of `reference` means now: the SHA-256 of the index (or manifest) that the registry gives for it, and its
/// bytes. They were hashed here; what the registry says of them is only compared.
///
/// # Errors
/// [`Class::User`]: the registry knows no such tag; [`Class::Integrity`]: the registry says another digest than its bytes
/// have; [`Class::Network`]: it did not answer, or `offline` is set; [`Class::Interrupted`].
pub fn tag_digest(reference: &Reference, options: &Options, cancel: &Cancel) -> Result<(Sha256, Vec<u8>)> {
    if options.offline {
        return Err(report::offline_question(&format!("the digest of {reference}")));
    }
    let targets = registry::targets(reference, RegistryKind::Manifest, reference.tag(), options);
    let named = name(&targets);
    match small::get(&Web::new(options, cancel), targets, MAX_MANIFEST)? {
        Outcome::Body(head, body) => {
            let found = Sha256::of(&body);
            match head.digest.as_deref() {
                Some(said) if said.starts_with("sha256:") && said != format!("sha256:{found}") => {
                    Err(Error::integrity(format!("the registry says of {reference} what its bytes are not"))
                        .detail(format!("from {named}"))
                        .detail(format!("said {}  found sha256:{found}", brief(said).escape_debug()))
                        .hint("try again; if it stays so, something between here and the registry is broken"))
                }
                _ => Ok((found, body)),
            }
        }
        Outcome::Absent => Err(Error::new(Class::User, format!("there is no container image {reference}"))
            .detail(format!("asked: {named}"))
            .hint("check its version and name in the sources")),
        Outcome::Failed(failed) => Err(report::unanswered(&format!("the digest of {reference}"), &failed)),
    }
}

/// What is asked for, as text that may be shown.
fn name(targets: &[Result<Target, Unusable>]) -> String {
    let one = |target: &Result<Target, Unusable>| match target {
        Ok(target) => shown(&target.url),
        Err((shown, _)) => shown.clone(),
    };
    targets.iter().map(one).collect::<Vec<_>>().join(" or ")
}
