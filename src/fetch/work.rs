//! One artifact: its sources in turn, until one has given the right bytes or all have failed for good.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{Head, Verdict, looks_like_html};
use super::client::{Ask, BrokenKind, Message};
use super::credential::Credential;
use super::look::MAX_MANIFEST;
use super::pace::{LOOK, Pace, backoff, pause};
use super::registry::{self, Renewal};
use super::source::{Target, server, shown, targets};
use super::why::{Failed, Why, refused};
use super::{Job, RegistryKind, Source, Want, lock};
use crate::error::Error;
use crate::store::{Claim, Partial, Whole};
use crate::value::Size;

/// A download that broke off after so many new bytes goes on at once, and is not counted as a failure: a large
/// file over a bad line comes in pieces.
const WORTH_MORE: u64 = 1 << 20;

/// Why an artifact did not come.
pub(super) enum Failure {
    /// Nothing else can come either.
    Fatal(Error),
    /// Its sources.
    Sources(Failed),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Fatal(error)
    }
}

/// One source of an artifact.
struct Candidate {
    target: Target,
    /// What was shown to it the last time.
    credential: Option<Arc<Credential>>,
    /// Whether that was got right before.
    renewed: bool,
    /// Whether it was asked from byte 0 again because its ranges, or bytes of others, were no good.
    started_over: bool,
    /// What came of it the last time, and whether asking again is useless.
    why: Option<(Why, bool)>,
}

/// How asking a source once ended.
enum Ended {
    /// All bytes are there, and have the digest.
    Complete,
    /// The bytes are all there, and wrong.
    Mismatch(Why),
    /// Its ranges cannot be used.
    StartOver(String),
    /// It wants to know who we are.
    Challenged(Head),
    /// Ask again later.
    Later { why: Why, pause: Option<Duration> },
    /// Never ask it again.
    Never(Why),
}

/// Whether only servers may have it that cannot be reached.
pub(super) fn is_hopeless(job: &Job<'_>, want: &Want) -> bool {
    let dead = lock(&job.dead);
    let targets = targets(want, job.web.options);
    !targets.is_empty() && targets.iter().all(|target| target.as_ref().is_ok_and(|target| dead.contains(&server(&target.url))))
}

/// Brings all bytes of one artifact into the store; none when another one did.
pub(super) fn fetch_one<'a>(job: &Job<'a>, want: &Want) -> Result<Option<Whole<'a>>, Failure> {
    let Some(mut partial) = claim(job, want)? else { return Ok(None) };
    job.events.started(want, partial.len());
    if settle_old(&mut partial, want)? {
        return Ok(Some(partial.finish()?));
    }
    let mut sources = Sources::new(job, want)?;
    let mut round = 0;
    loop {
        let mut asked = None;
        for n in 0..sources.candidates.len() {
            if sources.candidates[n].why.as_ref().is_some_and(|(_, useless)| *useless) {
                continue;
            }
            match sources.ask(n, &mut partial)? {
                Asked::Complete => return Ok(Some(partial.finish()?)),
                Asked::Failed(pause) => asked = pause.or(asked),
            }
        }
        let Some(reason) = sources.hope() else { return Err(Failure::Sources(sources.give_up())) };
        if round == job.web.options.retries {
            return Err(Failure::Sources(sources.give_up()));
        }
        let own = backoff(round, job.web.options.backoff, job.web.options.max_backoff);
        let time = asked.unwrap_or_default().clamp(own, job.web.options.max_backoff.max(own));
        job.events.retry(want, time, &reason);
        pause(time, job.web.cancel)?;
        round += 1;
    }
}

/// The right to download, once no other process or thread is at it. None when another one brought it.
fn claim<'a>(job: &Job<'a>, want: &Want) -> Result<Option<Partial<'a>>, Error> {
    let mut told = false;
    loop {
        job.web.cancel.check()?;
        match job.store.partial_within(&want.digest, want.size, most(job, want), job.web.cancel)? {
            Claim::Ours(partial) => return Ok(Some(partial)),
            Claim::Present => return Ok(None),
            Claim::Busy if !std::mem::replace(&mut told, true) => job.events.waiting(want),
            Claim::Busy => pause(LOOK, job.web.cancel)?,
        }
    }
}

/// The most bytes that are taken. A lock does not say the size of an image's index, but none is large.
fn most(job: &Job<'_>, want: &Want) -> u64 {
    let max = job.web.options.max_unsized;
    let unsized_max = match want.source {
        Source::Registry { kind: RegistryKind::Manifest, .. } => max.min(MAX_MANIFEST),
        _ => max,
    };
    want.size.unwrap_or(unsized_max)
}

/// What an earlier run left may be all of it, or too much. True when it is all.
fn settle_old(partial: &mut Partial<'_>, want: &Want) -> Result<bool, Error> {
    if partial.is_empty() && want.size != Some(0) {
        return Ok(false);
    }
    if partial.found() == want.digest {
        return Ok(true);
    }
    if want.size.is_some_and(|size| partial.len() >= size) {
        partial.reset()?;
    }
    Ok(false)
}

/// The sources of one artifact, and the state of asking them.
struct Sources<'a> {
    job: &'a Job<'a>,
    want: &'a Want,
    candidates: Vec<Candidate>,
    /// Addresses that cannot be asked at all.
    unusable: Vec<(String, Why)>,
    /// The only source of all bytes that are there, if one is.
    giver: Option<usize>,
    /// How many bytes there are in all, as the server says that is being asked.
    total: Option<u64>,
}

/// How it went on after all immediate repetitions.
enum Asked {
    Complete,
    Failed(Option<Duration>),
}

impl<'a> Sources<'a> {
    fn new(job: &'a Job<'_>, want: &'a Want) -> Result<Sources<'a>, Error> {
        let (mut candidates, mut unusable) = (Vec::new(), Vec::new());
        for target in targets(want, job.web.options) {
            match target {
                Ok(target) => candidates.push(Candidate { target, credential: None, renewed: false, started_over: false, why: None }),
                Err((shown, reason)) => unusable.push((shown, Why::Other(reason))),
            }
        }
        if candidates.is_empty() && unusable.is_empty() {
            return Err(super::report::sourceless(want));
        }
        let down = lock(&job.down);
        // Stable: the user's order within each of the two groups.
        candidates.sort_by_key(|candidate| down.contains(&server(&candidate.target.url)));
        drop(down);
        Ok(Sources { job, want, candidates, unusable, giver: None, total: None })
    }

    /// Asks one source, and again at once where that is sensible.
    fn ask(&mut self, n: usize, partial: &mut Partial<'_>) -> Result<Asked, Error> {
        loop {
            let before = partial.len();
            if before == 0 {
                self.giver = Some(n);
            }
            let ended = self.ask_once(n, partial)?;
            let alone = self.giver == Some(n);
            let candidate = &mut self.candidates[n];
            let (why, useless, pause) = match ended {
                Ended::Complete => return Ok(Asked::Complete),
                Ended::Mismatch(_) if !alone => {
                    // Some of the bytes are an earlier run's or another source's, and any of them may be to blame.
                    partial.reset()?;
                    continue;
                }
                Ended::Mismatch(why) => {
                    partial.reset()?;
                    (why, true, None)
                }
                Ended::StartOver(_) if !std::mem::replace(&mut candidate.started_over, true) => {
                    partial.reset()?;
                    continue;
                }
                Ended::StartOver(reason) => (Why::Other(reason), true, None),
                Ended::Challenged(head) => match self.renew(n, &head)? {
                    None => continue,
                    Some(ended) => ended,
                },
                Ended::Later { .. } if partial.len() >= before.saturating_add(WORTH_MORE) => continue,
                Ended::Later { why, pause } => (why, false, pause),
                Ended::Never(why) => (why, true, None),
            };
            let candidate = &mut self.candidates[n];
            if let Why::Unreachable(_) = why {
                lock(&self.job.down).insert(server(&candidate.target.url));
            }
            candidate.why = Some((why, useless));
            return Ok(Asked::Failed(pause));
        }
    }

    /// Gets what a registry asks for. None when it can be asked again.
    fn renew(&mut self, n: usize, head: &Head) -> Result<Option<(Why, bool, Option<Duration>)>, Error> {
        let candidate = &mut self.candidates[n];
        let Some(scope) = &candidate.target.scope else {
            return Ok(Some((refused(&candidate.target, head, head.answered()), true, None)));
        };
        let renewed = std::mem::replace(&mut candidate.renewed, true);
        Ok(match registry::renew(&self.job.web, scope, candidate.credential.as_ref(), renewed, head)? {
            Renewal::Again => None,
            Renewal::Refused(why) => Some((why, true, None)),
            Renewal::Later { why, pause } => {
                candidate.renewed = false;
                Some((why, false, pause))
            }
        })
    }

    /// One request, and its body into `partial`.
    fn ask_once(&mut self, n: usize, partial: &mut Partial<'_>) -> Result<Ended, Error> {
        self.total = None;
        let web = &self.job.web;
        let mut pace = Pace::of(web.options, self.has_choice(n));
        let candidate = &mut self.candidates[n];
        let ask = Ask { from: partial.len(), ..web.request(&candidate.target) };
        candidate.credential.clone_from(&ask.credential);
        let transfer = web.ask(ask)?;
        let mut head: Option<Head> = None;
        let mut first = true;
        loop {
            match transfer.next()? {
                Message::Head(found) => match self.begin(n, &found, partial)? {
                    Some(ended) => return Ok(ended),
                    None => head = Some(found),
                },
                Message::Data(bytes) => {
                    let start = std::mem::replace(&mut first, false) && partial.is_empty();
                    if let Some(ended) = self.take(&bytes, start, head.as_ref(), partial)? {
                        return Ok(ended);
                    }
                    if !pace.keeps(bytes.len() as u64) {
                        if self.has_choice(n) {
                            // Asked last for the others too.
                            lock(&self.job.down).insert(server(&self.candidates[n].target.url));
                        }
                        let why = Why::Other(format!("is too slow: {} after a long while", Size(partial.len())));
                        return Ok(Ended::Later { why, pause: None });
                    }
                }
                Message::End => return Ok(self.end(partial, None, head.as_ref())),
                Message::Failed(broken) => {
                    if broken.kind == BrokenKind::Cut && head.is_some() {
                        return Ok(self.end(partial, Some(broken.reason), head.as_ref()));
                    }
                    return Ok(match broken.why() {
                        (why, true) => Ended::Never(why),
                        (why, false) => Ended::Later { why, pause: None },
                    });
                }
            }
        }
    }

    /// Judges the head. None to go on with the body.
    fn begin(&mut self, n: usize, head: &Head, partial: &mut Partial<'_>) -> Result<Option<Ended>, Error> {
        if head.is_challenge() && self.candidates[n].target.scope.is_some() {
            return Ok(Some(Ended::Challenged(head.clone())));
        }
        self.candidates[n].renewed = false;
        Ok(match head.judge(partial.len(), self.want.size) {
            Verdict::Take { start_over, total } => {
                self.total = total;
                let most = self.most();
                if total.is_some_and(|total| total > most) {
                    return Ok(Some(Ended::Never(self.too_large(format!("is larger than {}", Size(most))))));
                }
                // It ignores ranges, but what it sends is whole.
                if start_over {
                    partial.reset()?;
                    self.giver = Some(n);
                    self.job.events.progress(self.want, 0);
                } else if self.giver != Some(n) {
                    self.giver = None;
                }
                None
            }
            Verdict::StartOver(reason) => Some(Ended::StartOver(reason)),
            Verdict::Later { reason, pause } => Some(Ended::Later { why: Why::Other(reason), pause }),
            Verdict::Refuse(reason) => Some(Ended::Never(refused(&self.candidates[n].target, head, reason))),
            Verdict::Portal(reason) => Some(Ended::Never(Why::Portal(reason))),
        })
    }

    /// Takes a piece of the body. None to go on.
    fn take(&self, bytes: &[u8], start: bool, head: Option<&Head>, partial: &mut Partial<'_>) -> Result<Option<Ended>, Error> {
        if start
            && looks_like_html(bytes)
            && let Some(head) = head
            && (head.content_length.is_none() || head.content_length != self.want.size)
        {
            return Ok(Some(Ended::Never(Why::Portal(head.html()))));
        }
        if partial.len().saturating_add(bytes.len() as u64) > self.most() {
            partial.reset()?;
            let which = if self.want.size.is_some() { "the locked " } else { "" };
            let told = format!("sent more than {which}{} ({} bytes)", Size(self.most()), self.most());
            return Ok(Some(Ended::Never(self.too_large(told))));
        }
        partial.put(bytes)?;
        self.job.events.progress(self.want, partial.len());
        Ok(None)
    }

    /// The reason against a source that has more than is taken.
    fn too_large(&self, told: String) -> Why {
        match self.want.size {
            Some(_) => Why::Other(told),
            None => Why::Unsized(format!("{told}, the most that is taken where no size is locked")),
        }
    }

    /// No more bytes come; `broke` says why, when it was no clean end.
    fn end(&self, partial: &Partial<'_>, broke: Option<String>, head: Option<&Head>) -> Ended {
        let found = partial.found();
        if found == self.want.digest {
            return Ended::Complete;
        }
        // Without a locked size the server's word, or at last a clean end, says that these were all.
        let size = self.want.size.or(self.total);
        if size.map_or(broke.is_some(), |size| partial.len() < size) {
            let of = size.map(|size| format!(" of {size}")).unwrap_or_default();
            let how = broke.as_deref().unwrap_or("ended too early");
            return Ended::Later { why: Why::Other(format!("{how} (after {}{of} bytes)", partial.len())), pause: None };
        }
        Ended::Mismatch(match head {
            Some(head) if head.is_html() => Why::Portal(head.html()),
            _ => Why::Mismatch(found),
        })
    }

    /// See [`most`].
    fn most(&self) -> u64 {
        most(self.job, self.want)
    }

    /// True when there is another source that has not failed yet.
    fn has_choice(&self, n: usize) -> bool {
        self.candidates.iter().enumerate().any(|(other, candidate)| other != n && candidate.why.is_none())
    }

    /// The reason of the first source that may still give it; none when there is no such source.
    fn hope(&self) -> Option<String> {
        let (why, _) = self.candidates.iter().filter_map(|candidate| candidate.why.as_ref()).find(|(_, useless)| !useless)?;
        Some(why.to_string())
    }

    fn give_up(self) -> Failed {
        let unreachable = |candidate: &Candidate| matches!(candidate.why, Some((Why::Unreachable(_), _)));
        if self.unusable.is_empty() && self.candidates.iter().all(unreachable) {
            lock(&self.job.dead).extend(self.candidates.iter().map(|candidate| server(&candidate.target.url)));
        }
        let asked = self.candidates.into_iter().filter_map(|candidate| Some((shown(&candidate.target.url), candidate.why?.0)));
        Failed { sources: asked.chain(self.unusable).collect() }
    }
}
