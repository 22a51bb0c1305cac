//! Time, as far as downloads need it: pauses that can be interrupted, and a floor under the speed.
//! It decides when to give up, and never what is fetched.

use std::time::{Duration, Instant};

use super::Options;
use crate::error::Result;
use crate::value::Cancel;

/// How long it may take until a cancel request is noticed.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Sleeps.
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

/// The pause before repetition `n` (from 0): it doubles, without chance in it.
pub(super) fn backoff(n: u32, first: Duration, longest: Duration) -> Duration {
    first.saturating_mul(2u32.saturating_pow(n)).min(longest)
}

#[expect(clippy::disallowed_methods, reason = "decides only when to give up on a source, never what is kept")]
fn now() -> Instant {
    Instant::now()
}

/// Notices servers that drip: never silent, and never done.
pub(super) struct Pace {
    window: Duration,
    least: u64,
    since: Instant,
    bytes: u64,
}

impl Pace {
    /// Demands `rate` bytes per second over each `window`.
    pub fn new(rate: u64, window: Duration) -> Self {
        Pace { window, least: (u128::from(rate) * window.as_millis() / 1000) as u64, since: now(), bytes: 0 }
    }

    /// How fast a source must be: it may be slow where there is no choice, or where the choice was no better.
    pub fn of(options: &Options, has_choice: bool) -> Self {
        match has_choice {
            true => Pace::new(options.choice_rate.max(options.min_rate), options.choice_window.min(options.idle_timeout)),
            false => Pace::new(options.min_rate, options.idle_timeout),
        }
    }

    /// Takes note of `bytes`. False when they come too slowly.
    pub fn keeps(&mut self, bytes: u64) -> bool {
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
    fn a_drip_is_noticed_and_a_stream_is_not() {
        let mut drip = Pace::new(1000, Duration::ZERO);
        assert!(drip.keeps(0), "nothing is demanded of no time");
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
