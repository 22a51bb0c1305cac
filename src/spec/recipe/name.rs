//! The vocabulary of a recipe: modes, owners, units, and the names of files beside the recipe.

use std::fmt;
use std::str::FromStr;

/// Permission bits in the usual notation: octal digits in a string, `"0644"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u16);

impl Mode {
    /// A mode from a literal; bits above 0o7777 are dropped.
    pub const fn fixed(bits: u16) -> Self {
        Mode(bits & 0o7777)
    }

    /// The bits, at most 0o7777.
    pub fn bits(self) -> u16 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.chars().all(|c| ('0'..='7').contains(&c));
        if !digits || !(3..=4).contains(&text.len()) {
            return Err(format!("`{}` is not a mode: expected three or four octal digits, like \"0644\"", text.escape_debug()));
        }
        u16::from_str_radix(text, 8).map(Mode).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A user's or group's name. Its number is looked up in the base's own passwd and group files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerName(String);

impl OwnerName {
    /// The superuser, and its group.
    pub fn root() -> Self {
        OwnerName("root".into())
    }
}

impl FromStr for OwnerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        if text.len() > 32 || !text.starts_with(first) || !text.chars().all(inner) {
            return Err(format!("`{}` is not a user or group name", text.escape_debug()));
        }
        Ok(OwnerName(text.to_owned()))
    }
}

/// A systemd unit by its file name: `etcd.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(String);

/// The unit types of systemd.unit(5).
const UNIT_TYPES: [&str; 11] = ["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];

impl FromStr for UnitName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let sound = text.rsplit_once('.').is_some_and(|(stem, kind)| !stem.is_empty() && UNIT_TYPES.contains(&kind));
        if !sound || text.len() > 255 || text.starts_with('.') || !text.chars().all(inner) {
            return Err(format!("`{}` is not a unit name like `etcd.service`", text.escape_debug()));
        }
        Ok(UnitName(text.to_owned()))
    }
}

/// A file beside the recipes: a relative path with `/`, never out of their folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecipePath(String);

impl FromStr for RecipePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sound = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !text.split('/').all(sound) || text.contains(|c: char| c.is_control() || c == '\\') {
            return Err(format!("`{}` must be a plain path inside the recipes' folder", text.escape_debug()));
        }
        Ok(RecipePath(text.to_owned()))
    }
}

/// The name of a channel, which is also that of its sources file and its lockfile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelName(String);

impl ChannelName {
    /// The default channel.
    pub fn usual() -> Self {
        ChannelName("upstream".into())
    }
}

impl FromStr for ChannelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match word(text) {
            true => Ok(ChannelName(text.to_owned())),
            false => Err(format!("`{}` is not a channel name: expected a-z, 0-9 and inner `-` and `.`", text.escape_debug())),
        }
    }
}

/// The name of a suite, a component or an archive, as in its paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(String);

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match word(text) {
            true => Ok(Word(text.to_owned())),
            false => Err(format!(
                "`{}` is not the name of a suite, component or archive: expected a-z, 0-9, inner `-` and `.`",
                text.escape_debug()
            )),
        }
    }
}

/// True for a word of a-z and 0-9 with inner `-` and `.`.
fn word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| plain(c) || matches!(c, '-' | '.');
    text.len() <= 63 && text.starts_with(plain) && text.ends_with(plain) && text.chars().all(inner)
}

crate::common::value::shown_as_text!(OwnerName, UnitName, RecipePath, ChannelName, Word);
