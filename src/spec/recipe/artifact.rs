//! `[versions]`, `[artifact.NAME]` and `[image.NAME]` of a sources file: a channel's origins of what recipes name.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::Result;
use crate::common::document::{Located, Place, Section};
use crate::common::value::{Arch, ArtifactName, PackageName, Reference, ReleaseVersion, TreePath, shown_as_text};

use super::entry::{AbsolutePath, Target};
use super::{Mode, RecipePath};

/// The versions of a channel, by the name that its artifacts and images refer to.
pub(crate) type Versions = BTreeMap<ArtifactName, Located<ReleaseVersion>>;

/// An artifact: released bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its table, for messages.
    pub place: Place,
    /// Its origin.
    pub origin: Origin,
    /// The paths of its files in a role's image, if it comes as bytes and not as a package.
    pub install: Install,
}

/// The origin of an artifact in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A release of its publisher's.
    Release(Release),
    /// A package of the channel's archive, and links to its files at the artifact's usual paths.
    Package {
        /// The package's name in the archive.
        package: Located<PackageName>,
        /// The links: path in the tree, and target as written.
        links: Vec<(TreePath, String)>,
    },
    /// One file of a package that is not installed.
    PackageMember {
        /// The package's name in the archive.
        package: Located<PackageName>,
        /// The path of the file in the package.
        member: Located<MemberPath>,
    },
    /// A file of the user's, beside the recipes. Its version is a key in `[versions]`, for the bill of materials.
    Path {
        /// The file's path below `recipes/`.
        path: Located<RecipePath>,
        /// The key in `[versions]`; none for a file without a version.
        version: Option<Located<ArtifactName>>,
    },
    /// The channel lacks it, for this reason.
    Absent(String),
}

/// A publisher's release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The key in `[versions]`.
    pub version: Located<ArtifactName>,
    /// The address of the bytes.
    pub url: Located<Template>,
    /// The address of its checksum file; none if the publisher has none.
    pub checksum: Option<Located<Template>>,
}

/// The destination of an artifact's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Install {
    /// None: it is only built into container images.
    Nowhere,
    /// The bytes are the file.
    Whole {
        /// The file's path in the tree.
        path: TreePath,
        /// The file's permissions.
        mode: Mode,
    },
    /// The bytes are an archive.
    Unpack(Unpack),
}

/// The members of an archive to unpack, and their destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpack {
    /// The number of leading folders to strip from members' paths.
    pub strip: u32,
    /// The members, in the order of the text.
    pub members: Vec<Located<MemberPath>>,
    /// The destination folder; none for members that are only built into container images.
    pub into: Option<TreePath>,
    /// Their permissions.
    pub mode: Mode,
}

/// A container image that roles can have preloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its table, for messages.
    pub place: Place,
    /// The key in `[versions]`, if the full name depends on one.
    pub version: Option<Located<ArtifactName>>,
    /// The full name.
    pub reference: Located<Template>,
    /// Its content.
    pub content: ImageContent,
}

/// The content of a container image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageContent {
    /// The registry's image of this name.
    Pulled,
    /// Static programs of an artifact, in `/usr/local/bin`.
    Built {
        /// The artifact.
        from: Located<ArtifactName>,
        /// The files by name; the artifact's own name if it is not an archive.
        files: Vec<Located<MemberPath>>,
        /// The image's command.
        command: Vec<String>,
    },
    /// The channel lacks it, for this reason.
    Absent(String),
}

/// An address or a full name with `{version}`, `{arch}` and, for checksum files, `{url}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Fills in the values.
    pub fn fill(&self, version: Option<&ReleaseVersion>, arch: Arch, url: &str) -> String {
        let version = version.map(ToString::to_string).unwrap_or_default();
        self.0.replace("{url}", url).replace("{version}", &version).replace("{arch}", &arch.to_string())
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let plain = |c: char| c.is_ascii_graphic() && !"\"'\\`<>^|".contains(c);
        if text.is_empty() || !text.chars().all(plain) {
            return Err(format!("`{shown}` has characters that addresses and names do not have"));
        }
        let bare = ["{version}", "{arch}", "{url}"].iter().fold(text.to_owned(), |rest, known| rest.replace(known, ""));
        if bare.contains(['{', '}']) {
            return Err(format!("`{shown}` has braces around something else than version, arch or url"));
        }
        Ok(Template(text.to_owned()))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of a file in an archive: relative and clean.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberPath(String);

impl MemberPath {
    /// Its last component.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for MemberPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && part.chars().all(|c| c.is_ascii_graphic() && !"\"\\".contains(c))
        };
        match text.split('/').all(part) {
            true => Ok(MemberPath(text.to_owned())),
            false => Err(format!(
                "`{}` is not a path in an archive: expected a relative one without `.` and `..`, in printable ASCII",
                text.escape_debug()
            )),
        }
    }
}

shown_as_text!(MemberPath);

/// `[versions]`.
pub(super) fn versions(root: &mut Section) -> Result<Versions> {
    let Some(mut section) = root.section("versions")? else { return Ok(Versions::new()) };
    let mut found = Versions::new();
    for key in section.key_names() {
        let place = section.key_place(&key).unwrap_or_else(|| section.place().clone());
        let name = key.parse::<ArtifactName>().map_err(|why| place.error(why))?;
        found.insert(name, section.required(&key)?);
    }
    Ok(found)
}

/// The tables of `[artifact.NAME]` or `[image.NAME]`, each parsed by `read`.
pub(super) fn tables<T>(root: &mut Section, key: &str, read: fn(&mut Section) -> Result<T>) -> Result<BTreeMap<ArtifactName, T>> {
    let Some(mut all) = root.section(key)? else { return Ok(BTreeMap::new()) };
    let mut found = BTreeMap::new();
    for key in all.key_names() {
        let place = all.key_place(&key).unwrap_or_else(|| all.place().clone());
        let name = key.parse::<ArtifactName>().map_err(|why| place.error(why))?;
        if let Some(mut section) = all.section(&key)? {
            found.insert(name, read(&mut section)?);
        }
    }
    Ok(found)
}

/// `[artifact.NAME]`.
pub(super) fn artifact(section: &mut Section) -> Result<Artifact> {
    section.only(&["version", "url", "checksum", "package", "member", "links", "path", "absent", "install", "mode", "unpack"])?;
    let place = section.place().clone();
    let install = install(section)?;
    let origin = origin(section)?;
    if matches!(&origin, Origin::PackageMember { .. }) && matches!(&install, Install::Unpack(_)) {
        return Err(place.error("`member` names the one file; there is nothing to `unpack`"));
    }
    Ok(Artifact { place, origin, install })
}

fn origin(section: &mut Section) -> Result<Origin> {
    let kinds = ["url", "package", "path", "absent"];
    let given: Vec<&str> = kinds.into_iter().filter(|kind| section.key_place(kind).is_some()).collect();
    let [kind] = given[..] else {
        let said = if given.is_empty() { "none of them".to_owned() } else { given.join(" and ") };
        return Err(section.place().error(format!("an artifact has one of `url`, `package`, `path` and `absent`; this has {said}")));
    };
    let companions: [(&str, &[&str]); 4] =
        [("version", &["url", "path"]), ("checksum", &["url"]), ("member", &["package"]), ("links", &["package"])];
    for (key, of) in companions {
        if let Some(place) = section.key_place(key).filter(|_| !of.contains(&kind)) {
            return Err(place.error(format!("`{key}` goes with `{}`, not with `{kind}`", of.join("` and `"))));
        }
    }
    Ok(match kind {
        "url" => {
            let release =
                Release { version: section.required("version")?, url: section.required("url")?, checksum: section.optional("checksum")? };
            if !["https://", "http://"].iter().any(|scheme| release.url.value.0.starts_with(scheme)) {
                return Err(release.url.place.error("`url` must begin with https:// or http://"));
            }
            // Over plain http, anybody on the network path could choose the digest.
            if let Some(checksum) = release.checksum.as_ref().filter(|checksum| checksum.value.0.starts_with("http://"))
                && release.url.value.0.starts_with("https://")
            {
                return Err(checksum.place.error("`checksum` must be as well protected as `url`: https://"));
            }
            Origin::Release(release)
        }
        "package" => {
            let package = section.required("package")?;
            match section.optional("member")? {
                Some(member) => Origin::PackageMember { package, member },
                None => Origin::Package { package, links: links(section)? },
            }
        }
        "path" => Origin::Path { path: section.required("path")?, version: section.optional("version")? },
        _ => Origin::Absent(section.required::<String>("absent")?.value),
    })
}

fn links(section: &mut Section) -> Result<Vec<(TreePath, String)>> {
    let mut links = Vec::new();
    for mut link in section.sections("links")? {
        link.only(&["path", "target"])?;
        links.push((link.required::<AbsolutePath>("path")?.value.0, link.required::<Target>("target")?.value.0));
    }
    Ok(links)
}

fn install(section: &mut Section) -> Result<Install> {
    let whole = section.optional::<AbsolutePath>("install")?;
    let mode = section.optional::<Mode>("mode")?.map_or(Mode::fixed(0o755), |mode| mode.value);
    let Some(mut unpack) = section.section("unpack")? else {
        return Ok(whole.map_or(Install::Nowhere, |path| Install::Whole { path: path.value.0, mode }));
    };
    if let Some(path) = whole {
        return Err(path.place.error("an artifact has `install` or `unpack`, not both"));
    }
    unpack.only(&["strip", "members", "into"])?;
    let strip = unpack.optional_number("strip", 0..=9)?.map_or(0, |strip| u32::try_from(strip.value).unwrap_or(0));
    let members: Vec<Located<MemberPath>> = unpack.list("members")?;
    super::refuse_twins(&members, "member")?;
    if members.is_empty() {
        return Err(unpack.missing("members"));
    }
    let into = unpack.optional::<AbsolutePath>("into")?.map(|path| path.value.0);
    Ok(Install::Unpack(Unpack { strip, members, into, mode }))
}

/// `[image.NAME]`.
pub(super) fn image(section: &mut Section) -> Result<Image> {
    section.only(&["version", "reference", "from", "files", "command", "absent"])?;
    let place = section.place().clone();
    if let Some(reason) = section.optional::<String>("absent")? {
        if let Some(other) = ["version", "reference", "from", "files", "command"].into_iter().find_map(|key| section.key_place(key)) {
            return Err(other.error("an image that is `absent` has no other keys"));
        }
        let reference = Located { value: Template(String::new()), place: reason.place };
        return Ok(Image { place, version: None, reference, content: ImageContent::Absent(reason.value) });
    }
    let version = section.optional("version")?;
    let reference = section.required::<Template>("reference")?;
    let files = section.list("files")?;
    let command: Vec<String> = section.list::<String>("command")?.into_iter().map(|word| word.value).collect();
    let content = match section.optional("from")? {
        Some(_) if command.is_empty() => {
            return Err(section.missing("command").hint("add the image's command: `command = [\"/usr/local/bin/…\"]`"));
        }
        Some(from) => ImageContent::Built { from, files, command },
        None if command.is_empty() && files.is_empty() => ImageContent::Pulled,
        None => return Err(section.missing("from").hint("`files` and `command` are for images that are built `from` an artifact")),
    };
    Ok(Image { place, version, reference, content })
}

impl Image {
    /// The full name, given the channel's versions.
    ///
    /// # Errors
    /// A missing version, an invalid full name, or an image that the channel lacks.
    pub fn full_name(&self, versions: &Versions) -> Result<Reference> {
        if let ImageContent::Absent(reason) = &self.content {
            return Err(self.place.error(format!("the channel does not have this image: {reason}")));
        }
        let version = self.version.as_ref().map(|name| version(versions, name)).transpose()?;
        let text = self.reference.value.fill(version, Arch::Amd64, "");
        text.parse().map_err(|why| self.reference.place.error(format!("bad `reference`: {why}")))
    }
}

/// The version that an artifact or image refers to.
///
/// # Errors
/// There is none of that name.
pub(crate) fn version<'a>(versions: &'a Versions, name: &Located<ArtifactName>) -> Result<&'a ReleaseVersion> {
    versions.get(&name.value).map(|version| &version.value).ok_or_else(|| {
        let error = name.place.error(format!("`[versions]` has no `{}`", name.value));
        error.hint(format!("known: {}", versions.keys().map(ArtifactName::as_str).collect::<Vec<_>>().join(", ")))
    })
}
