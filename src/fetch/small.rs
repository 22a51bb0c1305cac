//! Small bodies into memory: checksum files, tokens, indexes of images. Nothing of them is kept, and nothing is believed
//! but by whoever knows a digest or a signature.

use std::time::Duration;

use super::answer::{Head, Verdict, looks_like_html};
use super::client::{Ask, Broken, BrokenKind, Message};
use super::local::MISSING;
use super::pace::{Pace, backoff, pause};
use super::registry::{self, Renewal};
use super::source::{Target, Unusable, shown};
use super::web::Web;
use super::why::{Failed, Why, refused};
use crate::error::Result;
use crate::value::Size;

/// What one request gave.
pub(super) enum Gave {
    /// An answer; of a refusal without its body.
    Answer(Head, Vec<u8>),
    /// More than was allowed.
    TooMuch,
    Broken(Broken),
}

/// Sends one request and takes all of its answer, up to `max` bytes.
pub(super) fn once(web: &Web<'_>, ask: Ask, max: u64, has_choice: bool) -> Result<Gave> {
    let transfer = web.ask(ask)?;
    let mut pace = Pace::of(web.options, has_choice);
    let (mut head, mut body) = (Head::default(), Vec::new());
    loop {
        match transfer.next()? {
            Message::Head(found) if (200..300).contains(&found.status) => head = found,
            Message::Head(found) => return Ok(Gave::Answer(found, Vec::new())),
            Message::Data(bytes) if (body.len() + bytes.len()) as u64 > max => return Ok(Gave::TooMuch),
            Message::Data(bytes) if !pace.keeps(bytes.len() as u64) => {
                let reason = format!("is too slow: {} after a long while", Size((body.len() + bytes.len()) as u64));
                return Ok(Gave::Broken(Broken { reason, kind: BrokenKind::Cut }));
            }
            Message::Data(bytes) => body.extend(bytes),
            Message::End => return Ok(Gave::Answer(head, body)),
            Message::Failed(broken) => return Ok(Gave::Broken(broken)),
        }
    }
}

/// What several servers together gave.
pub(super) enum Outcome {
    Body(Head, Vec<u8>),
    /// All of them know that it does not exist.
    Absent,
    Failed(Failed),
}

/// How asking one of them ended.
enum Ended {
    Body(Head, Vec<u8>),
    Absent(String),
    Later { why: Why, pause: Option<Duration> },
    Never(Why),
}

/// Asks each of `targets` in turn, and again after troubles that may pass, for a body of `max` bytes at most.
pub(super) fn get(web: &Web<'_>, targets: Vec<Result<Target, Unusable>>, max: u64) -> Result<Outcome> {
    let mut states: Vec<(Result<Target, Unusable>, Option<Ended>)> = targets.into_iter().map(|target| (target, None)).collect();
    let mut round = 0;
    loop {
        let mut asked = Duration::ZERO;
        for n in 0..states.len() {
            let has_choice = states.iter().enumerate().any(|(other, (target, last))| other != n && target.is_ok() && last.is_none());
            let (target, last) = &mut states[n];
            let Ok(target) = target else { continue };
            if matches!(last, None | Some(Ended::Later { .. })) {
                match ask(web, target, max, has_choice)? {
                    Ended::Body(head, body) => return Ok(Outcome::Body(head, body)),
                    ended => *last = Some(ended),
                }
            }
            if let Some(Ended::Later { pause: Some(pause), .. }) = last {
                asked = asked.max(*pause);
            }
        }
        let hope = states.iter().any(|(_, last)| matches!(last, Some(Ended::Later { .. })));
        if !hope || round == web.options.retries {
            return Ok(give_up(states));
        }
        let own = backoff(round, web.options.backoff, web.options.max_backoff);
        pause(asked.clamp(own, web.options.max_backoff.max(own)), web.cancel)?;
        round += 1;
    }
}

fn give_up(states: Vec<(Result<Target, Unusable>, Option<Ended>)>) -> Outcome {
    if states.iter().all(|(_, last)| matches!(last, Some(Ended::Absent(_)))) {
        return Outcome::Absent;
    }
    let source = |(target, last): (Result<Target, Unusable>, Option<Ended>)| match (target, last) {
        (Err((shown, reason)), _) => Some((shown, Why::Other(reason))),
        (Ok(target), Some(Ended::Absent(reason))) => Some((shown(&target.url), Why::Other(reason))),
        (Ok(target), Some(Ended::Later { why, .. } | Ended::Never(why))) => Some((shown(&target.url), why)),
        (Ok(_), Some(Ended::Body(..)) | None) => None,
    };
    Outcome::Failed(Failed { sources: states.into_iter().filter_map(source).collect() })
}

/// Asks one server, and again at once when it wants to know who we are.
fn ask(web: &Web<'_>, target: &Target, max: u64, has_choice: bool) -> Result<Ended> {
    let mut renewed = false;
    loop {
        let ask = web.request(target);
        let credential = ask.credential.clone();
        let (head, body) = match once(web, ask, max, has_choice)? {
            Gave::Answer(head, body) => (head, body),
            Gave::TooMuch => return Ok(Ended::Never(Why::Other(format!("sent more than {}", Size(max))))),
            Gave::Broken(broken) => {
                if broken.kind == BrokenKind::Final && broken.reason == MISSING {
                    return Ok(Ended::Absent(broken.reason));
                }
                return Ok(match broken.why() {
                    (why, true) => Ended::Never(why),
                    (why, false) => Ended::Later { why, pause: None },
                });
            }
        };
        if let Some(scope) = target.scope.as_ref().filter(|_| head.is_challenge()) {
            match registry::renew(web, scope, credential.as_ref(), std::mem::replace(&mut renewed, true), &head)? {
                Renewal::Again => continue,
                Renewal::Refused(why) => return Ok(Ended::Never(why)),
                Renewal::Later { why, pause } => return Ok(Ended::Later { why, pause }),
            }
        }
        return Ok(match head.judge(0, None) {
            Verdict::Take { .. } if looks_like_html(&body) => Ended::Never(Why::Portal(head.html())),
            Verdict::Take { .. } => Ended::Body(head, body),
            Verdict::Later { reason, pause } => Ended::Later { why: Why::Other(reason), pause },
            Verdict::Portal(reason) => Ended::Never(Why::Portal(reason)),
            Verdict::Refuse(reason) | Verdict::StartOver(reason) if head.is_absent() => Ended::Absent(reason),
            Verdict::Refuse(reason) | Verdict::StartOver(reason) => Ended::Never(refused(target, &head, reason)),
        });
    }
}
