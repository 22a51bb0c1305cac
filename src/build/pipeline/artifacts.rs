//! Artifacts and container images that a role's recipes name, as files of the image: their sources in the channel, their
//! paths in the image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::build::pipeline::origin;
use crate::build::role::{Facts, Runtime};
use crate::common::document::Located;
use crate::common::error::{Error, Result};
use crate::common::value::{ArtifactName, Digest, ReleaseVersion, Sha256, TreePath, quote};
use crate::spec::lock::{ArtifactSource, Entry, Lock, LockedArtifact};
use crate::spec::plan::{BuiltImage, Extraction, FileSource, Form, Owner, PlannedKind, PlannedNode, PulledImage};
use crate::spec::project::{Channel, Digests, Project};
use crate::spec::recipe::{Artifact, Image, ImageContent, Install, MemberPath, Origin, Part, Recipe, Sources, Subject};
use crate::storage::fetch::{Source, Want};

/// The folder for archives of container images in a role's image.
pub(in crate::build) const IMAGES: &str = "usr/share/kbake/images";
/// The folder for programs in container images that kbake builds.
const PROGRAMS: &str = "usr/local/bin";

/// The files, inputs and facts that follow from a role's artifacts and container images.
#[derive(Debug, Clone, Default)]
pub struct Artifacts {
    /// Files and links of the image.
    pub nodes: BTreeMap<TreePath, PlannedNode>,
    /// The origins of these files.
    pub origins: BTreeMap<TreePath, origin::Origin>,
    /// Artifacts that are locked themselves.
    pub locked: BTreeMap<ArtifactName, LockedArtifact>,
    /// Artifacts that are a file of a package which is not installed.
    pub members: BTreeMap<ArtifactName, Entry>,
    /// Downloads that they need, by digest.
    pub wants: BTreeMap<Digest, Want>,
    /// The user's own files among them, by digest.
    pub own: BTreeMap<Digest, OwnFile>,
    /// Container images from the user's own archives, by their manifests.
    pub own_images: BTreeMap<Sha256, OwnFile>,
    /// Artifacts and images that the channel does not have, with the reason.
    pub absent: Vec<Absent>,
    /// Facts for renderers.
    pub facts: Facts,
}

/// A local file of the user that the lockfile names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// The artifact's name.
    pub name: ArtifactName,
    /// The file's path.
    pub path: PathBuf,
    /// The remedy when the file is missing or changed: a command, with the step before it.
    pub again: String,
}

/// An artifact or image that a recipe names and the channel does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Absent {
    /// `artifact` or `image`, and its name.
    pub what: String,
    /// The reason.
    pub why: String,
}

/// Resolves the artifacts and images of `layers` in `channel`.
///
/// # Errors
/// A name that the channel does not know, an artifact that is not locked, or a path in the image that is used twice.
pub(crate) fn of(project: &Project, channel: &Channel, lock: &Lock, layers: &[&Recipe], digests: &dyn Digests) -> Result<Artifacts> {
    let mut work = Work { project, digests, sources: &channel.sources, lock, out: Artifacts::default() };
    work.out.facts.runtime = runtime(layers)?;
    for layer in layers {
        for name in &layer.artifacts {
            work.artifact(name)?;
        }
    }
    for layer in layers {
        for name in &layer.images {
            work.image(name)?;
        }
    }
    work.out.absent.sort();
    work.out.absent.dedup();
    Ok(work.out)
}

fn runtime(layers: &[&Recipe]) -> Result<Option<Runtime>> {
    let mut found = None;
    for layer in layers {
        let Subject::Part(name) = &layer.subject else { continue };
        let runtime = match Part::named(name.as_str()) {
            Some(Part::Containerd) => Runtime::Containerd,
            Some(Part::Crio) => Runtime::Crio,
            _ => continue,
        };
        if found.replace(runtime).is_some_and(|other| other != runtime) {
            return Err(Error::user("the role has two container runtimes: the parts `containerd` and `crio`")
                .hint("a kubelet talks to one: remove the other from the role's `parts`"));
        }
    }
    Ok(found)
}

/// The command that locks a local file.
fn set(name: &ArtifactName, path: &str) -> String {
    format!("kbake lock --set {name}={path}")
}

struct Work<'a> {
    project: &'a Project,
    digests: &'a dyn Digests,
    sources: &'a Sources,
    lock: &'a Lock,
    out: Artifacts,
}

/// The source of an artifact in this channel.
enum Bytes {
    /// An artifact under this digest.
    Locked(Digest),
    /// A file of a locked package.
    Member(FileSource, String),
    /// An installed package brings it.
    Package,
    /// The channel does not have it.
    Absent(String),
}

impl Work<'_> {
    fn artifact(&mut self, name: &Located<ArtifactName>) -> Result<()> {
        let artifact = self.sources.artifact(name)?;
        let bytes = self.bytes(&name.value, artifact)?;
        if let Origin::Package { links, .. } = &artifact.origin
            && matches!(bytes, Bytes::Package)
        {
            for (path, target) in links {
                self.put(path.clone(), PlannedNode::symlink(target.clone().into_bytes()), name)?;
            }
        }
        match (&bytes, &artifact.install) {
            (Bytes::Absent(why), _) => self.absent("artifact", &name.value, why.clone()),
            (Bytes::Package, _) | (Bytes::Member(..), Install::Nowhere) => {}
            (Bytes::Locked(_), Install::Nowhere) if matches!(artifact.origin, Origin::Release(_)) => {}
            (Bytes::Locked(_), Install::Nowhere) => {
                let error = artifact.place.error(format!("the local file `{}` has no path in the image", name.value));
                return Err(error.hint("give the artifact's table `install = \"/usr/local/bin/…\"`, or `unpack` when it is an archive"));
            }
            (Bytes::Locked(digest), Install::Whole { path, mode }) => {
                self.put(path.clone(), file(FileSource::Whole(*digest), mode.bits()), name)?;
            }
            (Bytes::Member(extract, _), Install::Whole { path, mode }) => {
                self.put(path.clone(), file(extract.clone(), mode.bits()), name)?
            }
            (Bytes::Locked(digest), Install::Unpack(unpack)) => {
                let Some(into) = &unpack.into else { return Ok(()) };
                for member in &unpack.members {
                    let path = below(into, member.value.name()).map_err(|why| member.place.error(why))?;
                    self.put(path, file(member_of(*digest, unpack.strip, &member.value), unpack.mode.bits()), name)?;
                }
            }
            (Bytes::Member(..), Install::Unpack(_)) => return Err(Error::internal("sources let a package's member be unpacked")),
        }
        Ok(())
    }

    fn image(&mut self, name: &Located<ArtifactName>) -> Result<()> {
        let image = self.sources.image(name)?;
        let own = self.lock.images.get(&name.value).and_then(|locked| Some((locked.digest, locked.path.as_ref()?)));
        if let (ImageContent::Absent(why), None) = (&image.content, own) {
            self.absent("image", &name.value, why.clone());
            return Ok(());
        }
        let reference = image.full_name(&self.sources.versions)?;
        let form = form(&self.out.facts);
        let pulled = |index| Extraction::Pulled(PulledImage { reference: reference.clone(), index, arch: self.sources.arch }, form);
        let (extraction, from) = match &image.content {
            _ if let Some((manifest, path)) = own => {
                // A link out of the project is refused here; a missing file is reported when it is needed.
                self.project.own_file(path)?;
                let own = OwnFile {
                    name: name.value.clone(),
                    path: self.project.own_path(path),
                    again: format!("run `{}` with the archive to use", set(&name.value, "FILE")),
                };
                self.out.own_images.insert(manifest, own);
                (pulled(manifest), None)
            }
            ImageContent::Built { from, files, command } => match self.programs(image, from, files)? {
                Ok(files) => {
                    let (arch, epoch) = (self.sources.arch, self.sources.epoch);
                    let built = BuiltImage { reference: reference.clone(), arch, epoch, command: command.clone(), files };
                    (Extraction::Built(built, form), Some(from.value.clone()))
                }
                Err(why) => {
                    self.absent("image", &name.value, why);
                    return Ok(());
                }
            },
            ImageContent::Pulled | ImageContent::Absent(_) => {
                let locked = self.lock.images.get(&name.value);
                let index = locked.ok_or_else(|| Error::internal(format!("the image `{}` is not locked", name.value)))?.digest;
                (pulled(index), None)
            }
        };
        let path = below(&TreePath::fixed(IMAGES), &format!("{}.tar", name.value)).map_err(Error::internal)?;
        let node = PlannedNode { mode: 0o644, owner: Owner::root(), kind: PlannedKind::Extraction(extraction) };
        let origin = origin::Origin::Image { name: name.value.clone(), reference: reference.clone(), from, by: name.place.clone() };
        self.put_as(path, node, name, origin)?;
        self.out.facts.images.insert(name.value.clone(), reference);
        Ok(())
    }

    /// The programs of an image that is built, or the reason why there are none.
    fn programs(
        &mut self,
        image: &Image,
        from: &Located<ArtifactName>,
        files: &[Located<MemberPath>],
    ) -> Result<Result<Vec<(TreePath, FileSource)>, String>> {
        let artifact = self.sources.artifact(from)?;
        let program = |name: &str| below(&TreePath::fixed(PROGRAMS), name).map_err(|why| image.place.error(why));
        let one = |path: TreePath, extract: FileSource| Ok(Ok(vec![(path, extract)]));
        match (self.bytes(&from.value, artifact)?, &artifact.install) {
            (Bytes::Absent(why), _) => Ok(Err(format!("it is built from `{}`: {why}", from.value))),
            (Bytes::Package, _) => {
                let error = from.place.error(format!("the channel installs `{}` as a package, of which no image can be built", from.value));
                Err(error.hint("give the artifact a `member`: the one file of the package that goes into the image"))
            }
            (Bytes::Member(extract, name), _) => one(program(&name)?, extract),
            (Bytes::Locked(digest), Install::Unpack(unpack)) => {
                let mut programs = Vec::new();
                for member in files {
                    programs.push((program(member.value.name())?, member_of(digest, unpack.strip, &member.value)));
                }
                match programs.is_empty() {
                    true => Err(image
                        .place
                        .error(format!("`{}` is an archive: say in `files` which of its files go into the image", from.value))),
                    false => Ok(Ok(programs)),
                }
            }
            (Bytes::Locked(digest), _) => one(program(from.value.as_str())?, FileSource::Whole(digest)),
        }
    }

    /// Resolves an artifact; records its download and its version.
    fn bytes(&mut self, name: &ArtifactName, artifact: &Artifact) -> Result<Bytes> {
        if let Some(locked) = self.lock.artifacts.get(&(name.clone(), self.sources.arch)) {
            let locked = locked.clone();
            return self.locked(&locked, artifact);
        }
        match &artifact.origin {
            Origin::Release(_) | Origin::Path { .. } => Err(Error::internal(format!("the artifact `{name}` is not locked"))),
            Origin::Absent(why) => Ok(Bytes::Absent(why.clone())),
            Origin::Package { package, .. } => {
                let version = self.lock.entries().find(|entry| entry.name == package.value).map(|entry| entry.version.to_string());
                self.version(name, version.as_deref().and_then(upstream_part));
                Ok(Bytes::Package)
            }
            Origin::PackageMember { package, member } => {
                let entry = self.lock.tool(package.value.as_str())?;
                let (digest, version) = (Digest::Sha256(entry.sha256), upstream_part(&entry.version.to_string()));
                let source = Source::Pool { archive: entry.archive.to_string(), path: entry.source.to_string() };
                let want = Want { name: entry.name.to_string(), source, digest, size: Some(entry.size) };
                self.out.wants.insert(digest, want);
                self.out.members.insert(name.clone(), entry.clone());
                self.version(name, version);
                let extract = FileSource::Member { archive: digest, strip: 0, member: member.value.as_str().to_owned() };
                Ok(Bytes::Member(extract, member.value.name().to_owned()))
            }
        }
    }

    fn locked(&mut self, locked: &LockedArtifact, artifact: &Artifact) -> Result<Bytes> {
        self.out.locked.insert(locked.name.clone(), locked.clone());
        match &locked.source {
            ArtifactSource::Url(url) => {
                let want = Want {
                    name: locked.name.to_string(),
                    source: Source::Urls(vec![url.clone()]),
                    digest: locked.digest,
                    size: locked.size,
                };
                self.out.wants.insert(locked.digest, want);
            }
            ArtifactSource::Path(path) => {
                let shown = path.clone();
                let found = self.project.own_file(path)?.map(|file| self.digests.of(&file)).transpose()?.flatten();
                let is_set = !matches!(&artifact.origin, Origin::Path { path: named, .. } if format!("recipes/{}", named.value) == *path);
                let path = self.project.own_path(path);
                // The file may be gone and its blob still be in the store.
                if let Some((found, _)) = found
                    && Digest::Sha256(found) != locked.digest
                {
                    return Err(Error::user(format!("{shown} has changed since it was locked as `{}`", locked.name))
                        .detail(format!("expected {}  found sha256:{found}", locked.digest))
                        .hint(format!(
                            "to take it as it is now, run `{}` and review the change",
                            match is_set {
                                true => set(&locked.name, &quote(&path.display().to_string())),
                                false => self.lock_again(),
                            }
                        )));
                }
                let again = match is_set {
                    true => format!("run `{}` with the file to use", set(&locked.name, "PATH")),
                    false => format!("change `path` in {}, and run `{}`", self.sources.file, self.lock_again()),
                };
                self.out.own.insert(locked.digest, OwnFile { name: locked.name.clone(), path, again });
            }
        }
        let wanted = match &artifact.origin {
            Origin::Release(release) => self.sources.versions.get(&release.version.value).map(|version| version.value.clone()),
            _ => None,
        };
        self.version(&locked.name, locked.version.clone().or(wanted));
        Ok(Bytes::Locked(locked.digest))
    }

    /// The command that locks again the local files that the sources name.
    fn lock_again(&self) -> String {
        format!("kbake lock --channel {}", self.sources.channel)
    }

    fn version(&mut self, name: &ArtifactName, version: Option<ReleaseVersion>) {
        if let Some(version) = version {
            self.out.facts.artifacts.insert(name.clone(), version);
        }
    }

    fn absent(&mut self, kind: &str, name: &ArtifactName, why: String) {
        self.out.absent.push(Absent { what: format!("{kind} `{name}`"), why });
    }

    fn put(&mut self, path: TreePath, node: PlannedNode, by: &Located<ArtifactName>) -> Result<()> {
        let locked = self.out.locked.get(&by.value).and_then(|locked| locked.version.as_ref()).map(ToString::to_string);
        let version = locked.or_else(|| self.out.members.get(&by.value).map(|package| package.version.to_string()));
        self.put_as(path, node, by, origin::Origin::Artifact { name: by.value.clone(), version, by: by.place.clone() })
    }

    fn put_as(&mut self, path: TreePath, node: PlannedNode, by: &Located<ArtifactName>, origin: origin::Origin) -> Result<()> {
        match self.out.nodes.get(&path) {
            // Two recipes may name the same artifact.
            Some(there) if *there == node => Ok(()),
            Some(_) => Err(by.place.error(format!("`{}` and another artifact both write {path}, with different contents", by.value))),
            None => {
                self.out.origins.insert(path.clone(), origin);
                self.out.nodes.insert(path, node);
                Ok(())
            }
        }
    }
}

/// The form of a role's container images: containerd gets them unpacked, CRI-O imports archives.
fn form(facts: &Facts) -> Form {
    match facts.runtime {
        Some(Runtime::Containerd) => Form::Unpacked,
        Some(Runtime::Crio) | None => Form::Archive,
    }
}

fn file(extract: FileSource, mode: u16) -> PlannedNode {
    PlannedNode { mode, owner: Owner::root(), kind: PlannedKind::Extraction(Extraction::File(extract)) }
}

fn member_of(archive: Digest, strip: u32, member: &MemberPath) -> FileSource {
    FileSource::Member { archive, strip, member: member.as_str().to_owned() }
}

fn below(folder: &TreePath, name: &str) -> Result<TreePath, String> {
    TreePath::parse(&[folder.as_bytes(), b"/", name.as_bytes()].concat(), false)
}

/// The publisher's version in a Debian one: `1:1.6.20~ds1-1+deb12u3` → `1.6.20`.
fn upstream_part(version: &str) -> Option<ReleaseVersion> {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    version[..end].trim_end_matches('.').parse().ok()
}

/// The artifact's name in messages, by digest.
pub(crate) fn name_of(artifacts: &Artifacts, digest: &Digest) -> String {
    let wanted = artifacts.wants.get(digest).map(|want| want.name.clone());
    wanted.or_else(|| artifacts.own.get(digest).map(|own| own.name.to_string())).unwrap_or_else(|| digest.to_string())
}

/// The images that are pulled.
pub(crate) fn pulled(artifacts: &Artifacts) -> Vec<&PulledImage> {
    let images = artifacts.nodes.values().filter_map(|node| match &node.kind {
        PlannedKind::Extraction(Extraction::Pulled(image, _)) => Some(image),
        _ => None,
    });
    images.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publishers_version_is_found_in_debians() {
        for (debian, upstream) in
            [("1.6.20~ds1-1+deb12u3", "1.6.20"), ("1:1.35.0-4+deb12u1+b1", "1.35.0"), ("3.4.23-4+b4", "3.4.23"), ("0.1.7-1+b2", "0.1.7")]
        {
            assert_eq!(upstream_part(debian).map(|version| version.to_string()).as_deref(), Some(upstream));
        }
        assert_eq!(upstream_part("git20200101"), None);
    }
}
