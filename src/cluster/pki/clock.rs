//! Plausibility of this host's clock, checked before the clock decides how long an authority lives.

use super::check::date;
use super::issue::{DAY, LAST};
use crate::cluster::model::Validity;
use crate::common::error::{Error, Result};

/// Days that a clock may be ahead of the newest package. Nobody uses a channel for that long without locking it again, and a
/// wrong clock is wrong by decades.
const AHEAD_DAYS: i64 = 20 * 365;

/// Refuses a clock that must be wrong. Certificates begin at `now`, in seconds since 1970; `epoch` is the date of the channel's
/// packages, which nobody can have earlier.
///
/// # Errors
/// A clock before `epoch`, or decades after it; one that would let a certificate end beyond the year 9999.
pub(crate) fn check_clock(now: i64, epoch: i64, validity: &Validity) -> Result<()> {
    let latest = epoch.saturating_add(AHEAD_DAYS * DAY);
    if now < epoch || now > latest {
        return Err(Error::user(format!("this host's clock says {}: certificates that begin then could not be used", date(now)))
            .detail(format!("expected {} (when the channel's packages were made) to {}", date(epoch), date(latest)))
            .hint("set the clock, and run the same command again: `timedatectl set-ntp true`, or `date --set='YYYY-MM-DD hh:mm'`"));
    }
    let ends = now.saturating_add(i64::from(validity.authorities.max(validity.certificates)).saturating_mul(DAY));
    if ends > LAST {
        return Err(Error::user(format!("certificates would end after {}, the last day that a certificate can express", date(LAST)))
            .detail(format!("`ca-days` is {}, `certificate-days` is {}", validity.authorities, validity.certificates))
            .hint("make them smaller in [pki] of the cluster file"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-10-01.
    const EPOCH: i64 = 1_790_812_800;

    fn at(now: i64, days: u32) -> Result<()> {
        check_clock(now, EPOCH, &Validity { authorities: days, certificates: 365 })
    }

    #[test]
    fn a_clock_in_another_age_makes_no_certificates() {
        // 1970, the first second of a board without a battery, a day too early; 2100, 2300, the last second.
        for now in [0, 946_684_800, EPOCH - 1, 4_102_444_800, 10_413_792_000, LAST, i64::MAX] {
            let error = at(now, 3650).unwrap_err().to_string();
            assert!(error.contains("this host's clock says") && error.contains("expected 2026-10-01"), "{now}: {error}");
        }
        for now in [EPOCH, EPOCH + DAY, EPOCH + 10 * 365 * DAY] {
            at(now, 3650).unwrap();
        }
    }

    #[test]
    fn no_certificate_ends_beyond_the_last_year() {
        assert!(at(EPOCH, 3_000_000).unwrap_err().to_string().contains("9999-12-31"));
        at(EPOCH, 36_500).unwrap();
    }
}
