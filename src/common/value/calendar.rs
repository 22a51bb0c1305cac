//! Calendar dates, for the formats that store dates in fields or as text.

use std::fmt;

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
