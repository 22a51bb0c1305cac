//! The download of one artifact: its sources in turn, until one has delivered the right bytes or all have failed.

use std::sync::Arc;
use std::time::Duration;

use super::address::{server, shown};
use super::credential::Credential;
use super::failure::{SourceError, SourceErrors, refused};
use super::message::{Ask, BrokenKind, Message};
use super::pace::{LOOK, Pace, backoff, pause};
use super::query::MAX_MANIFEST;
use super::response::{Head, Verdict, looks_like_html};
use super::source::targets;
use super::target::Target;
use super::token::{self, Renewal};
use super::{Job, RegistryKind, Source, Want, lock};
use crate::common::error::Error;
use crate::common::value::Size;
use crate::storage::store::{Claim, Partial, Whole};

/// A download that broke off after this many new bytes resumes at once and does not count as a failure: a large file over
/// an unstable connection arrives in pieces.
const WORTH_MORE: u64 = 1 << 20;

/// The reason for a failed download.
pub(super) enum Failure {
    /// An error that also stops all other downloads.
    Fatal(Error),
    /// All sources failed.
    Sources(SourceErrors),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Fatal(error)
    }
}

/// One source of an artifact.
struct Candidate {
    target: Target,
    /// The credential of the last request.
    credential: Option<Arc<Credential>>,
    /// True if the credential was already renewed after a 401.
    renewed: bool,
    /// True if the download was already restarted from byte 0 because the source's ranges were unusable.
    started_over: bool,
    /// The last error, and whether it is permanent.
    why: Option<(SourceError, bool)>,
}

/// The result of one request to a source.
enum Ended {
    /// All bytes are present and have the digest.
    Complete,
    /// All bytes are present and have another digest.
    Mismatch(SourceError),
    /// The source's ranges are unusable.
    StartOver(String),
    /// The registry requires a credential.
    Challenged(Head),
    /// A temporary error.
    Later { why: SourceError, pause: Option<Duration> },
    /// A permanent error.
    Never(SourceError),
}

/// True if all sources of `want` are on dead servers.
pub(super) fn is_hopeless(job: &Job<'_>, want: &Want) -> bool {
    let dead = lock(&job.dead);
    let targets = targets(want, job.web.options);
    !targets.is_empty() && targets.iter().all(|target| target.as_ref().is_ok_and(|target| dead.contains(&server(&target.url))))
}

/// Downloads all bytes of one artifact; none if another process or thread has done so.
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

/// Claims the download, waiting for other processes and threads. None if another one completed it.
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

/// The size limit in bytes. The size of an image's index is not locked, but an index is small.
fn most(job: &Job<'_>, want: &Want) -> u64 {
    let max = job.web.options.max_unsized;
    let unsized_max = match want.source {
        Source::Registry { kind: RegistryKind::Manifest, .. } => max.min(MAX_MANIFEST),
        _ => max,
    };
    want.size.unwrap_or(unsized_max)
}

/// Checks the bytes of an earlier run, which may be complete or too many. True if they are complete.
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

/// The sources of one artifact and the state of its download.
struct Sources<'a> {
    job: &'a Job<'a>,
    want: &'a Want,
    candidates: Vec<Candidate>,
    /// Unusable addresses with their errors.
    unusable: Vec<(String, SourceError)>,
    /// The source that delivered all present bytes, if it is only one.
    giver: Option<usize>,
    /// The artifact's size in bytes according to the current server.
    total: Option<u64>,
}

/// The result of a source after all immediate retries.
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
                Err((shown, reason)) => unusable.push((shown, SourceError::Other(reason))),
            }
        }
        if candidates.is_empty() && unusable.is_empty() {
            return Err(super::report::sourceless(want));
        }
        let down = lock(&job.down);
        // The sort is stable: the configured order remains within each group.
        candidates.sort_by_key(|candidate| down.contains(&server(&candidate.target.url)));
        drop(down);
        Ok(Sources { job, want, candidates, unusable, giver: None, total: None })
    }

    /// Asks one source, with immediate retries where they make sense.
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
                    // Some of the bytes came from an earlier run or another source, and any of them may be wrong.
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
                Ended::StartOver(reason) => (SourceError::Other(reason), true, None),
                Ended::Challenged(head) => match self.renew(n, &head)? {
                    None => continue,
                    Some(ended) => ended,
                },
                Ended::Later { .. } if partial.len() >= before.saturating_add(WORTH_MORE) => continue,
                Ended::Later { why, pause } => (why, false, pause),
                Ended::Never(why) => (why, true, None),
            };
            let candidate = &mut self.candidates[n];
            if let SourceError::Unreachable(_) = why {
                lock(&self.job.down).insert(server(&candidate.target.url));
            }
            candidate.why = Some((why, useless));
            return Ok(Asked::Failed(pause));
        }
    }

    /// Obtains the credential that a registry requests. None if the request can be repeated.
    fn renew(&mut self, n: usize, head: &Head) -> Result<Option<(SourceError, bool, Option<Duration>)>, Error> {
        let candidate = &mut self.candidates[n];
        let Some(scope) = &candidate.target.scope else {
            return Ok(Some((refused(&candidate.target, head, head.answered()), true, None)));
        };
        let renewed = std::mem::replace(&mut candidate.renewed, true);
        Ok(match token::renew(&self.job.web, scope, candidate.credential.as_ref(), renewed, head)? {
            Renewal::Again => None,
            Renewal::Refused(why) => Some((why, true, None)),
            Renewal::Later { why, pause } => {
                candidate.renewed = false;
                Some((why, false, pause))
            }
        })
    }

    /// Sends one request and writes its body to `partial`.
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
                            // Asked last for other artifacts too.
                            lock(&self.job.down).insert(server(&self.candidates[n].target.url));
                        }
                        let why = SourceError::Other(format!("is too slow: {} after a long while", Size(partial.len())));
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

    /// Judges the head. None to continue with the body.
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
                // The server ignores ranges and sends the whole file.
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
            Verdict::Later { reason, pause } => Some(Ended::Later { why: SourceError::Other(reason), pause }),
            Verdict::Refuse(reason) => Some(Ended::Never(refused(&self.candidates[n].target, head, reason))),
            Verdict::Portal(reason) => Some(Ended::Never(SourceError::Portal(reason))),
        })
    }

    /// Takes a piece of the body. None to continue.
    fn take(&self, bytes: &[u8], start: bool, head: Option<&Head>, partial: &mut Partial<'_>) -> Result<Option<Ended>, Error> {
        if start
            && looks_like_html(bytes)
            && let Some(head) = head
            && (head.content_length.is_none() || head.content_length != self.want.size)
        {
            return Ok(Some(Ended::Never(SourceError::Portal(head.html()))));
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

    /// The error for a source that exceeds the size limit.
    fn too_large(&self, told: String) -> SourceError {
        match self.want.size {
            Some(_) => SourceError::Other(told),
            None => SourceError::Unsized(format!("{told}, the limit for artifacts without a locked size")),
        }
    }

    /// Evaluates the end of a body; `broke` is the reason if the transfer broke off.
    fn end(&self, partial: &Partial<'_>, broke: Option<String>, head: Option<&Head>) -> Ended {
        let found = partial.found();
        if found == self.want.digest {
            return Ended::Complete;
        }
        // Without a locked size, the server's size or else a clean end decides whether the body is complete.
        let size = self.want.size.or(self.total);
        if size.map_or(broke.is_some(), |size| partial.len() < size) {
            let of = size.map(|size| format!(" of {size}")).unwrap_or_default();
            let how = broke.as_deref().unwrap_or("ended early");
            return Ended::Later { why: SourceError::Other(format!("{how} (after {}{of} bytes)", partial.len())), pause: None };
        }
        Ended::Mismatch(match head {
            Some(head) if head.is_html() => SourceError::Portal(head.html()),
            _ => SourceError::Mismatch(found),
        })
    }

    /// The size limit of [`most`].
    fn most(&self) -> u64 {
        most(self.job, self.want)
    }

    /// True if there is another source that has not failed yet.
    fn has_choice(&self, n: usize) -> bool {
        self.candidates.iter().enumerate().any(|(other, candidate)| other != n && candidate.why.is_none())
    }

    /// The error of the first source with only temporary errors; none if all errors are permanent.
    fn hope(&self) -> Option<String> {
        let (why, _) = self.candidates.iter().filter_map(|candidate| candidate.why.as_ref()).find(|(_, useless)| !useless)?;
        Some(why.to_string())
    }

    fn give_up(self) -> SourceErrors {
        let unreachable = |candidate: &Candidate| matches!(candidate.why, Some((SourceError::Unreachable(_), _)));
        if self.unusable.is_empty() && self.candidates.iter().all(unreachable) {
            lock(&self.job.dead).extend(self.candidates.iter().map(|candidate| server(&candidate.target.url)));
        }
        let asked = self.candidates.into_iter().filter_map(|candidate| Some((shown(&candidate.target.url), candidate.why?.0)));
        SourceErrors { sources: asked.chain(self.unusable).collect() }
    }
}
