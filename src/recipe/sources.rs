//! A channel's sources file: which suite of which archive, whose signature, and the one time that images know.

use std::fmt;
use std::str::FromStr;

use crate::Result;
use crate::document::{self, Located, Place};
use crate::value::{Arch, Epoch, Fingerprint, MachineArch, PackageName};

use super::{REMEDY, refuse_twins};

/// A `recipes/sources/<channel>.toml` of the kind `debian-packages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The file's name, for messages.
    pub file: String,
    /// The channel: `debian`.
    pub channel: ChannelName,
    /// The archive's suite, by codename.
    pub suite: Located<Word>,
    /// The suite's components, in the order of the text.
    pub components: Vec<Located<Word>>,
    /// The machine that packages are resolved for.
    pub arch: Arch,
    /// The keyring on the host that holds the archive's keys.
    pub keyring: Located<Keyring>,
    /// Primary fingerprints of the keys whose signature counts. The first one that signed is recorded in the lock.
    pub keys: Vec<Located<Fingerprint>>,
    /// The one time that images know.
    pub epoch: Epoch,
    /// Packages that are locked by themselves, without what they depend on: kbake reads them from the store.
    pub tools: Vec<Located<PackageName>>,
}

impl Sources {
    /// Reads the sources file `text`, called `file` in messages.
    ///
    /// # Errors
    /// As [`super::Recipe::parse`].
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut root = document::open(file, text, REMEDY)?;
        root.only(&["channel", "kind", "suite", "components", "arch", "keyring", "keys", "epoch", "tools"])?;
        root.required::<Kind>("kind")?;
        let sources = Sources {
            file: file.to_owned(),
            channel: root.required("channel")?.value,
            suite: root.required("suite")?,
            components: root.list("components")?,
            arch: root.required::<MachineArch>("arch")?.value.0,
            keyring: root.required("keyring")?,
            keys: root.list("keys")?,
            epoch: epoch(root.time("epoch")?)?,
            tools: root.list("tools")?,
        };
        refuse_twins(&sources.components, "component")?;
        refuse_twins(&sources.keys, "key")?;
        refuse_twins(&sources.tools, "tool")?;
        for (key, empty) in [("components", sources.components.is_empty()), ("keys", sources.keys.is_empty())] {
            if empty {
                return Err(root.place().error(format!("`{file}` needs at least one value in `{key}`")));
            }
        }
        Ok(sources)
    }
}

struct Kind;

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "debian-packages" => Ok(Kind),
            _ => Err(format!("unknown kind `{}`; known: debian-packages", text.escape_debug())),
        }
    }
}

/// The name of a channel: of its sources file and its lockfile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelName(String);

impl ChannelName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match word(text, "-") {
            true => Ok(ChannelName(text.to_owned())),
            false => Err(format!("`{}` is no channel name: a-z, 0-9 and inner `-`", text.escape_debug())),
        }
    }
}

/// A suite's or component's name, as it stands in an archive's paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(String);

impl Word {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match word(text, "-.") {
            true => Ok(Word(text.to_owned())),
            false => Err(format!("`{}` is no suite or component: a-z, 0-9, inner `-` and `.`", text.escape_debug())),
        }
    }
}

fn word(text: &str, also: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| plain(c) || also.contains(c);
    text.len() <= 63 && text.starts_with(plain) && text.ends_with(plain) && text.chars().all(inner)
}

/// The path of a keyring on the host. Absolute, and without what apt's own files could not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring(String);

impl Keyring {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Keyring {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') || text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"';\\,[]".contains(c)) {
            return Err(format!("`{}` must be an absolute path without spaces or quotes", text.escape_debug()));
        }
        Ok(Keyring(text.to_owned()))
    }
}

macro_rules! shown {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

shown!(ChannelName, Word, Keyring);

/// A date-time with its offset from UTC, as seconds.
fn epoch(time: Located<toml::value::Datetime>) -> Result<Epoch> {
    let wrong = |place: &Place, reason: &str| place.error(format!("bad `epoch`: {reason}"));
    let (Some(date), Some(clock), Some(offset)) = (time.value.date, time.value.time, time.value.offset) else {
        return Err(wrong(&time.place, "give date, time and zone, like 2026-01-31T12:00:00Z: a local time depends on the host"));
    };
    let minutes = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let second = i64::from(clock.second.unwrap_or(0));
    let seconds = days * 86_400 + i64::from(clock.hour) * 3600 + i64::from(clock.minute) * 60 + second - minutes * 60;
    Epoch::from_seconds(seconds).map_err(|reason| wrong(&time.place, &reason))
}

/// Days since 1970-01-01 in the Gregorian calendar, for years from 1 on. March is counted as the year's first month, so
/// that the leap day comes last and the lengths of the months follow one line.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}
