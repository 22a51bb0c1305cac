//! A channel's sources file: the archive's suite, its trusted signing keys, and the epoch of images.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::common::document::{self, Located, Place, Section};
use crate::common::value::{Arch, ArtifactName, Epoch, Fingerprint, MachineArch, PackageName, RoleName, shown_as_text};
use crate::{Error, Result};

use super::artifact::{self, Artifact, Image, ImageContent, Origin, Release, Versions};
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
    /// The architecture that packages are resolved for.
    pub arch: Arch,
    /// The keyring on the host that holds the archive's keys.
    pub keyring: Located<Keyring>,
    /// Primary fingerprints of the trusted keys. The lock records the first one that signed.
    pub keys: Vec<Located<Fingerprint>>,
    /// The time of all files in images.
    pub epoch: Epoch,
    /// The roles of the channel; none if it has all of the project's.
    pub roles: Option<Vec<Located<RoleName>>>,
    /// Packages that are locked alone, without their dependencies: kbake reads them from the store.
    pub tools: Vec<Located<PackageName>>,
    /// The versions that artifacts and images refer to.
    pub versions: Versions,
    /// The channel's artifacts.
    pub artifacts: BTreeMap<ArtifactName, Artifact>,
    /// Container images.
    pub images: BTreeMap<ArtifactName, Image>,
}

/// The keys of a channel without a base.
const OWN_KEYS: [&str; 8] = ["kind", "suite", "components", "arch", "keyring", "keys", "epoch", "tools"];
/// The keys of every channel.
const COMMON_KEYS: [&str; 6] = ["channel", "base", "roles", "versions", "artifact", "image"];

impl Sources {
    /// The channel that the sources file `text` is based on, if any.
    ///
    /// # Errors
    /// See [`super::Recipe::parse`].
    pub fn base_of(file: &str, text: &str) -> Result<Option<Located<ChannelName>>> {
        document::open(file, text, REMEDY)?.optional("base")
    }

    /// Parses the sources file `text`, called `file` in messages. `base` is the channel that it is based on, already parsed:
    /// its archive, epoch, tools and roles are inherited, and so are its versions, artifacts and images except for those in
    /// `text`. `roles` is inherited or replaced as a whole.
    ///
    /// # Errors
    /// See [`super::Recipe::parse`].
    pub fn parse(file: &str, text: &str, base: Option<Sources>) -> Result<Self> {
        let mut root = document::open(file, text, REMEDY)?;
        let mut sources = match base {
            Some(base) => {
                root.only(&COMMON_KEYS)?;
                Sources { file: file.to_owned(), channel: root.required("channel")?.value, ..base }
            }
            None => {
                root.only(&[&OWN_KEYS[..], &COMMON_KEYS[..]].concat())?;
                Sources::own(file, &mut root)?
            }
        };
        sources.roles = roles(&mut root)?.or(sources.roles);
        sources.versions.extend(artifact::versions(&mut root)?);
        sources.artifacts.extend(artifact::tables(&mut root, "artifact", artifact::artifact)?);
        sources.images.extend(artifact::tables(&mut root, "image", artifact::image)?);
        sources.check()?;
        Ok(sources)
    }

    /// The values of a channel without a base.
    fn own(file: &str, root: &mut Section) -> Result<Self> {
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
            roles: None,
            versions: Versions::new(),
            artifacts: BTreeMap::new(),
            images: BTreeMap::new(),
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

    /// Refuses references to missing names.
    fn check(&self) -> Result<()> {
        for artifact in self.artifacts.values() {
            match &artifact.origin {
                Origin::Release(Release { version, .. }) | Origin::Path { version: Some(version), .. } => {
                    artifact::version(&self.versions, version)?;
                }
                Origin::Path { version: None, .. } | Origin::Package { .. } | Origin::PackageMember { .. } | Origin::Absent(_) => {}
            }
        }
        for image in self.images.values().filter(|image| !matches!(image.content, ImageContent::Absent(_))) {
            image.full_name(&self.versions)?;
            if let ImageContent::Built { from, .. } = &image.content {
                self.artifact(from)?;
            }
        }
        Ok(())
    }

    /// True if the channel has the role, according to its sources.
    pub fn has_role(&self, role: &RoleName) -> bool {
        self.roles.as_ref().is_none_or(|roles| roles.iter().any(|known| known.value == *role))
    }

    /// The artifact that a recipe or image names.
    ///
    /// # Errors
    /// The channel lacks it; the error names the nearest one.
    pub fn artifact(&self, name: &Located<ArtifactName>) -> Result<&Artifact> {
        self.artifacts.get(&name.value).ok_or_else(|| self.unknown("artifact", name, self.artifacts.keys()))
    }

    /// The container image that a recipe names.
    ///
    /// # Errors
    /// The channel lacks it; the error names the nearest one.
    pub fn image(&self, name: &Located<ArtifactName>) -> Result<&Image> {
        self.images.get(&name.value).ok_or_else(|| self.unknown("image", name, self.images.keys()))
    }

    fn unknown<'a>(&self, what: &str, name: &Located<ArtifactName>, known: impl Iterator<Item = &'a ArtifactName>) -> Error {
        let error = name.place.error(format!("the channel `{}` knows no {what} `{}`", self.channel, name.value));
        match document::nearest(name.value.as_str(), known.map(ArtifactName::as_str)) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint(format!("describe it in {}: `[{what}.{}]`", self.file, name.value)),
        }
    }
}

/// `roles`, if given.
fn roles(root: &mut Section) -> Result<Option<Vec<Located<RoleName>>>> {
    let Some(place) = root.key_place("roles") else { return Ok(None) };
    let found = root.list("roles")?;
    refuse_twins(&found, "role")?;
    if found.is_empty() {
        return Err(place.error("`roles` names no role").hint("without the key, the channel has all roles of the project"));
    }
    Ok(Some(found))
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

/// A suite's or component's name, as in an archive's paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(String);

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match word(text) {
            true => Ok(Word(text.to_owned())),
            false => Err(format!("`{}` is not a suite or component: expected a-z, 0-9, inner `-` and `.`", text.escape_debug())),
        }
    }
}

/// True for a word of a-z and 0-9 with inner `-` and `.`.
fn word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| plain(c) || matches!(c, '-' | '.');
    text.len() <= 63 && text.starts_with(plain) && text.ends_with(plain) && text.chars().all(inner)
}

/// The path of a keyring on the host: absolute, and without characters that apt's own files cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring(String);

impl FromStr for Keyring {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') || text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"';\\,[]".contains(c)) {
            return Err(format!("`{}` must be an absolute path without spaces or quotes", text.escape_debug()));
        }
        Ok(Keyring(text.to_owned()))
    }
}

shown_as_text!(ChannelName, Word, Keyring);

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

/// Days since 1970-01-01 in the Gregorian calendar, for years from 1 on. March counts as the year's first month, so that the
/// leap day comes last and the lengths of the months follow one formula.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}
