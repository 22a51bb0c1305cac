//! A channel's sources file: the suites of its packages, its artifacts and container images, and the epoch of images.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::common::document::{self, Located, Place, Section};
use crate::common::value::{Arch, ArtifactName, Epoch, MachineArch, PackageName, RoleName, days_from_civil};
use crate::{Error, Result};

use super::artifact::{self, Artifact, Image, ImageContent, Origin, Release, Versions};
use super::name::ChannelName;
use super::suite::{self, Suite};
use super::{REMEDY, refuse_twins};

/// A `recipes/sources/<channel>.toml` of the kind `debian-packages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The file's name, for messages.
    pub file: String,
    /// The channel: `debian`.
    pub channel: ChannelName,
    /// The suites that packages are resolved in, in the order of the text; never empty.
    pub suites: Vec<Suite>,
    /// The architecture that packages are resolved for.
    pub arch: Arch,
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
const OWN_KEYS: [&str; 2] = ["kind", "arch"];
/// The keys of every channel.
const COMMON_KEYS: [&str; 9] = ["channel", "base", "roles", "suite", "epoch", "tools", "versions", "artifact", "image"];

impl Sources {
    /// The channel that the sources file `text` is based on, if any.
    ///
    /// # Errors
    /// See [`super::Recipe::parse`].
    pub fn base_of(file: &str, text: &str) -> Result<Option<Located<ChannelName>>> {
        document::open(file, text, REMEDY)?.optional("base")
    }

    /// Parses the sources file `text`, called `file` in messages. `base` is the channel that it is based on, already parsed:
    /// its versions, artifacts and images are inherited except for those in `text`. Suites, epoch, tools and roles are inherited
    /// or replaced, each as a whole.
    ///
    /// # Errors
    /// See [`super::Recipe::parse`].
    pub fn parse(file: &str, text: &str, base: Option<Sources>) -> Result<Self> {
        let mut root = document::open(file, text, REMEDY)?;
        let mut sources = match base {
            Some(base) => {
                root.only(&COMMON_KEYS)?;
                let channel = root.required("channel")?.value;
                let suites = suite::suites(&mut root)?.unwrap_or(base.suites);
                let epoch = if root.key_place("epoch").is_some() { epoch(root.time("epoch")?)? } else { base.epoch };
                let tools = if root.key_place("tools").is_some() { tools(&mut root)? } else { base.tools };
                Sources { file: file.to_owned(), channel, suites, epoch, tools, ..base }
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
        Ok(Sources {
            file: file.to_owned(),
            channel: root.required("channel")?.value,
            suites: suite::suites(root)?.ok_or_else(|| root.missing("suite").hint("a channel without a base has tables `[[suite]]`"))?,
            arch: root.required::<MachineArch>("arch")?.value.0,
            epoch: epoch(root.time("epoch")?)?,
            tools: tools(root)?,
            roles: None,
            versions: Versions::new(),
            artifacts: BTreeMap::new(),
            images: BTreeMap::new(),
        })
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

/// `tools`.
fn tools(root: &mut Section) -> Result<Vec<Located<PackageName>>> {
    let found = root.list("tools")?;
    refuse_twins(&found, "tool")?;
    Ok(found)
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
