//! Small bodies fetched into memory: checksum files, image indexes. Nothing is stored or trusted here; callers verify by a
//! digest or signature.

use std::time::Duration;

use super::address::{Unusable, shown};
use super::exchange::{self, Reply};
use super::failure::{SourceError, SourceErrors, refused};
use super::local::MISSING;
use super::message::BrokenKind;
use super::pace::{backoff, pause};
use super::response::{Head, Verdict, looks_like_html};
use super::target::Target;
use super::token::{self, Renewal};
use super::web::Web;
use crate::common::error::Result;
use crate::common::value::Size;

/// The result over all targets.
pub(super) enum Outcome {
    Body(Head, Vec<u8>),
    /// Every target says that the resource does not exist.
    Absent,
    Failed(SourceErrors),
}

/// The result of asking one target.
enum Ended {
    Body(Head, Vec<u8>),
    Absent(String),
    Later { why: SourceError, pause: Option<Duration> },
    Never(SourceError),
}

/// Asks each of `targets` in turn for a body of at most `max` bytes, with retries after temporary errors.
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
        (Err((shown, reason)), _) => Some((shown, SourceError::Other(reason))),
        (Ok(target), Some(Ended::Absent(reason))) => Some((shown(&target.url), SourceError::Other(reason))),
        (Ok(target), Some(Ended::Later { why, .. } | Ended::Never(why))) => Some((shown(&target.url), why)),
        (Ok(_), Some(Ended::Body(..)) | None) => None,
    };
    Outcome::Failed(SourceErrors { sources: states.into_iter().filter_map(source).collect() })
}

/// Asks one target, and once more with a credential if it requires one.
fn ask(web: &Web<'_>, target: &Target, max: u64, has_choice: bool) -> Result<Ended> {
    let mut renewed = false;
    loop {
        let ask = web.request(target);
        let credential = ask.credential.clone();
        let (head, body) = match exchange::send(web, ask, max, has_choice)? {
            Reply::Answer(head, body) => (head, body),
            Reply::TooMuch => return Ok(Ended::Never(SourceError::Other(format!("sent more than {}", Size(max))))),
            Reply::Broken(broken) => {
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
            match token::renew(web, scope, credential.as_ref(), std::mem::replace(&mut renewed, true), &head)? {
                Renewal::Again => continue,
                Renewal::Refused(why) => return Ok(Ended::Never(why)),
                Renewal::Later { why, pause } => return Ok(Ended::Later { why, pause }),
            }
        }
        return Ok(match head.judge(0, None) {
            Verdict::Take { .. } if looks_like_html(&body) => Ended::Never(SourceError::Portal(head.html())),
            Verdict::Take { .. } => Ended::Body(head, body),
            Verdict::Later { reason, pause } => Ended::Later { why: SourceError::Other(reason), pause },
            Verdict::Portal(reason) => Ended::Never(SourceError::Portal(reason)),
            Verdict::Refuse(reason) | Verdict::StartOver(reason) if head.is_absent() => Ended::Absent(reason),
            Verdict::Refuse(reason) | Verdict::StartOver(reason) => Ended::Never(refused(target, &head, reason)),
        });
    }
}
