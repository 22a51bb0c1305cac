//! Timing of downloads: cancellable pauses and a minimum speed. It decides when to give up, never which bytes are accepted.

use std::time::{Duration, Instant};

use super::Options;
use crate::common::error::Result;
use crate::common::value::Cancel;

/// Interval at which the cancellation flag is checked.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Sleeps. Fails on cancellation.
pub(super) fn pause(mut time: Duration, cancel: &Cancel) -> Result<()> {
    loop {
        cancel.check()?;
        let step = time.min(LOOK);
        if step.is_zero() {
            return Ok(());
        }
        std::thread::sleep(step);
        time -= step;
    }
}

/// The pause before retry `n` (from 0): it doubles, without jitter.
pub(super) fn backoff(n: u32, first: Duration, longest: Duration) -> Duration {
    first.saturating_mul(2u32.saturating_pow(n)).min(longest)
}

#[expect(clippy::disallowed_methods, reason = "decides only when to give up on a source, never what is kept")]
fn now() -> Instant {
    Instant::now()
}

/// Detects servers that drip: never silent, never done.
pub(super) struct Pace {
    window: Duration,
    least: u64,
    since: Instant,
    bytes: u64,
}

impl Pace {
    /// Requires `rate` bytes per second over each `window`.
    pub(super) fn new(rate: u64, window: Duration) -> Self {
        Pace { window, least: (u128::from(rate) * window.as_millis() / 1000) as u64, since: now(), bytes: 0 }
    }

    /// The required pace: lower if there is no untried source left.
    pub(super) fn of(options: &Options, has_choice: bool) -> Self {
        match has_choice {
            true => Pace::new(options.choice_rate.max(options.min_rate), options.choice_window.min(options.idle_timeout)),
            false => Pace::new(options.min_rate, options.idle_timeout),
        }
    }

    /// Counts `bytes`. False if they arrive too slowly.
    pub(super) fn keeps(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        if self.since.elapsed() < self.window {
            return true;
        }
        let enough = self.bytes >= self.least;
        (self.since, self.bytes) = (now(), 0);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let ms = Duration::from_millis;
        let pauses: Vec<_> = (0..6).map(|n| backoff(n, ms(500), ms(5000))).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 5000, 5000].map(ms));
        assert_eq!(backoff(u32::MAX, ms(500), ms(5000)), ms(5000));
    }

    #[test]
    fn a_drip_is_detected() {
        let mut drip = Pace::new(1000, Duration::ZERO);
        assert!(drip.keeps(0), "an empty window requires nothing");
        let mut drip = Pace::new(1_000_000, Duration::from_millis(20));
        let mut stream = Pace::new(1_000_000, Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(21));
        assert!(!drip.keeps(19_999));
        assert!(stream.keeps(20_000));
    }

    #[test]
    fn a_pause_can_be_interrupted() {
        let cancel = Cancel::new();
        cancel.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(pause(Duration::from_secs(3600), &cancel).is_err());
    }
}
