//! Facts about the host that a script can learn although it runs in namespaces of its own. They would be the same in a second
//! installation on the same host and day.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::common::fsx;
use crate::common::value::{Epoch, civil};

/// Files in which the kernel identifies a machine.
const FILES: &[(&str, &str)] = &[
    ("this host's boot id", "/proc/sys/kernel/random/boot_id"),
    ("this host's machine id", "/etc/machine-id"),
    ("this host's UUID", "/sys/class/dmi/id/product_uuid"),
    ("this host's serial number", "/sys/class/dmi/id/product_serial"),
    ("this host's serial number", "/sys/class/dmi/id/board_serial"),
];
/// The minimum length of a word: a shorter one may be a coincidence.
const SHORTEST: usize = 8;
/// The maximum length of a word, in bytes.
const LONGEST: u64 = 256;
/// Names of months, as programs write them.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A word from the host that no image may contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    /// A description for people.
    pub what: &'static str,
    /// The word.
    pub word: String,
}

/// The words of this host, and of the day of `now`. A file that the caller cannot read, no script could read either.
pub(super) fn of_host(now: Epoch) -> Vec<Fact> {
    let mut facts: Vec<Fact> = FILES.iter().map(|(what, path)| Fact { what, word: read(Path::new(path)) }).collect();
    let cards = Path::new("/sys/class/net");
    let address = |card| Fact { what: "a MAC address of this host", word: read(&cards.join(card).join("address")) };
    facts.extend(fsx::list(cards).unwrap_or_default().into_iter().map(address));
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    facts.push(Fact { what: "the version of this host's kernel", word: release });
    facts.extend(days(now));
    facts.retain(|fact| is_telling(&fact.word));
    facts
}

/// The start of a kernel file as text; empty if it cannot be read.
fn read(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    if read.is_ok() { text.trim().to_owned() } else { String::new() }
}

/// Today's date in common notations.
fn days(now: Epoch) -> Vec<Fact> {
    let civil = civil(now);
    let (year, month, day) = (civil.year, civil.month, civil.day);
    let name = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    let words = [
        format!("{year:04}-{month:02}-{day:02}"),
        format!("{year:04}/{month:02}/{day:02}"),
        format!("{year:04}{month:02}{day:02}"),
        format!("{day:02} {name} {year:04}"),
        format!("{name} {day:2} {year:04}"),
    ];
    words.into_iter().map(|word| Fact { what: "today's date", word }).collect()
}

/// False for words that many hosts have in common, such as a loop device's address of zeros.
fn is_telling(word: &str) -> bool {
    let mut letters: Vec<char> = word.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    letters.sort_unstable();
    letters.dedup();
    word.len() >= SHORTEST && letters.len() > 2 && word.chars().any(|c| c.is_ascii_digit())
}

impl Fact {
    /// True if the word is in `bytes`, in lower or upper case, with or without hyphens.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        let lower = self.word.to_ascii_lowercase();
        let plain = if self.what.ends_with("id") || self.what.ends_with("UUID") { lower.replace('-', "") } else { lower.clone() };
        let bytes = bytes.to_ascii_lowercase();
        [lower, plain].iter().any(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_words_are_known_and_told_from_common_ones() {
        let facts = of_host(Epoch::from_seconds(1_700_000_000).unwrap());
        let words = |what: &str| facts.iter().filter(|fact| fact.what == what).map(|fact| fact.word.as_str()).collect::<Vec<_>>();
        assert_eq!(words("today's date"), ["2023-11-14", "2023/11/14", "20231114", "14 Nov 2023", "Nov 14 2023"]);
        assert_eq!(words("this host's boot id")[0].len(), 36);
        assert!(words("a MAC address of this host").iter().all(|word| *word != "00:00:00:00:00:00"));
        let fact = Fact { what: "this host's UUID", word: "0E1f-22".into() };
        assert!(fact.is_in(b"x 0e1f-22") && fact.is_in(b"0E1F22.") && !fact.is_in(b"0e1f"));
        assert!(!is_telling("Not Specified") && !is_telling("0000-0000") && !is_telling("1234"));
    }
}
