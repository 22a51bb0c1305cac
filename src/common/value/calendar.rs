//! Calendar dates, for the formats that store dates in fields or as text.

use std::fmt;
use std::str::FromStr;

use super::Epoch;

/// A point in time in the calendar, UTC. Displayed as in RFC 3339: `2025-01-31T23:59:59Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    /// The year, 1970 to 2038: an epoch is below 2³¹ seconds.
    pub year: u32,
    /// The month, 1 to 12.
    pub month: u32,
    /// The day of the month, 1 to 31.
    pub day: u32,
    /// The hour, 0 to 23.
    pub hour: u32,
    /// The minute, 0 to 59.
    pub minute: u32,
    /// The second, 0 to 59.
    pub second: u32,
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Converts by the proleptic Gregorian calendar. Counts whole years, then whole months: at most 68 and 12 steps.
pub(crate) fn civil(epoch: Epoch) -> Civil {
    let leap = |year: u32| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut days, rest) = (epoch.seconds() / 86_400, epoch.seconds() % 86_400);
    let mut year = 1970;
    while days >= 365 + u32::from(leap(year)) {
        days -= 365 + u32::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u32::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    Civil { year, month, day: days + 1, hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60 }
}

/// Days since 1970-01-01 in the Gregorian calendar, for years from 1 on. March counts as the year's first month, so that the
/// leap day comes last and the lengths of the months follow one formula.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The time of an archive's state, in whole seconds. Displayed as in RFC 3339, `2026-01-31T23:59:59Z`; parsed from that, or from a
/// date, which means its first second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(Epoch);

impl Timestamp {
    /// The time of the six numbers.
    fn of(year: u32, month: u32, day: u32, time: [u32; 3]) -> Option<Self> {
        let [hour, minute, second] = time;
        let seconds = days_from_civil(year.into(), month.into(), day.into()) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
        let epoch = Epoch::from_seconds(seconds).ok()?;
        // A day that the month lacks, or an hour that the day lacks, comes back as another one.
        (civil(epoch) == Civil { year, month, day, hour, minute, second }).then_some(Timestamp(epoch))
    }

    /// The value of the field `Date` of a release file: `Sat, 11 Jul 2026 10:16:37 UTC`
    /// ([Debian's repository format, "Date, Valid-Until"](https://wiki.debian.org/DebianRepository/Format#Date.2C_Valid-Until)).
    pub fn of_release(text: &str) -> Option<Self> {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let words: Vec<&str> = text.split_whitespace().collect();
        let &[_, day, month, year, clock, "UTC" | "GMT" | "+0000" | "Z"] = &words[..] else { return None };
        let month = MONTHS.iter().position(|name| *name == month)?;
        let clock: Vec<u32> = clock.split(':').map(|part| number(part, 2)).collect::<Option<_>>()?;
        let day = if day.len() == 1 { number(day, 1)? } else { number(day, 2)? };
        Timestamp::of(number(year, 4)?, u32::try_from(month).ok()? + 1, day, clock.try_into().ok()?)
    }

    /// The form in the addresses of archives of snapshots: `20260131T235959Z`.
    pub fn compact(self) -> String {
        self.to_string().replace(['-', ':'], "")
    }

    /// The time one day later; the same at the end of the calendar.
    pub fn next_day(self) -> Self {
        Epoch::from_seconds(i64::from(self.0.seconds()) + 86_400).map_or(self, Timestamp)
    }
}

/// A number of exactly `digits` digits.
fn number(text: &str, digits: usize) -> Option<u32> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        civil(self.0).fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = |text: &str, divider, lengths: [usize; 3]| -> Option<[u32; 3]> {
            let parts: Vec<&str> = text.split(divider).collect();
            let parts: [&str; 3] = parts.try_into().ok()?;
            let found: Option<Vec<u32>> = parts.into_iter().zip(lengths).map(|(part, length)| number(part, length)).collect();
            found?.try_into().ok()
        };
        let parsed = || {
            let (date, clock) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
            let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
            Timestamp::of(year, month, day, numbers(clock.strip_suffix('Z')?, ':', [2, 2, 2])?)
        };
        parsed().ok_or_else(|| format!("`{}` is not a time as 2026-01-31T23:59:59Z, or a date as 2026-01-31", text.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_match_those_of_date() {
        // Expected: the output of `date --utc --date=@SECONDS +%FT%TZ`.
        for (seconds, text) in [
            (1, "1970-01-01T00:00:01Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (2_147_483_647, "2038-01-19T03:14:07Z"),
        ] {
            assert_eq!(civil(Epoch::from_seconds(seconds).unwrap()).to_string(), text);
        }
    }

    #[test]
    fn times_of_archives_are_read_and_written() {
        let shown = |found: Option<Timestamp>| found.map(|time| time.to_string());
        let same = "2026-07-11T10:16:37Z";
        assert_eq!(shown(same.parse().ok()).as_deref(), Some(same));
        assert_eq!(shown(Timestamp::of_release("Sat, 11 Jul 2026 10:16:37 UTC")).as_deref(), Some(same));
        assert_eq!(shown(Timestamp::of_release("Sat, 1 Jan 2022 00:00:00 +0000")).as_deref(), Some("2022-01-01T00:00:00Z"));
        assert_eq!(shown("2026-11-01".parse().ok()).as_deref(), Some("2026-11-01T00:00:00Z"));
        let time: Timestamp = "2026-12-31T23:00:00Z".parse().unwrap();
        assert_eq!((time.compact().as_str(), time.next_day().to_string().as_str()), ("20261231T230000Z", "2027-01-01T23:00:00Z"));
        for bad in [
            "",
            "2026",
            "2026-02-29",
            "2026-13-01",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-1-1",
            "1970-01-01",
            "2039-01-01",
            "+026-01-01",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "Sat, 11 Jul 2026 10:16:37 CEST",
            "11 Jul 2026 10:16:37 UTC",
            "Sat, 11 Foo 2026 10:16:37 UTC",
            "Sat, 31 Feb 2026 10:16:37 UTC",
        ] {
            assert!(Timestamp::of_release(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        /// Compares with the inverse conversion, by another algorithm.
        #[test]
        fn dates_convert_back(seconds in 1i64..i64::from(i32::MAX)) {
            let text = civil(Epoch::from_seconds(seconds).unwrap()).to_string();
            let number = |from: usize, to: usize| text[from..to].parse::<i64>().unwrap();
            let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
            let years = if month <= 2 { year - 1 } else { year };
            let days = 365 * years + years / 4 - years / 100 + years / 400 + (153 * ((month + 9) % 12) + 2) / 5 + day - 1 - 719_468;
            prop_assert_eq!(days * 86_400 + number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19), seconds);
        }
    }
}
