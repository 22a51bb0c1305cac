//! The recipes' request to a channel, and the check that a lock still answers it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::common::document::Located;
use crate::common::value::{Arch, ArtifactName, PackageName, Reference, ReleaseVersion, RoleName};
use crate::spec::recipe::{ChannelName, ImageContent, Origin, Recipe, Sources, Subject, base_layers, role_layers, version};
use crate::{Error, Result};

use super::{ArtifactSource, Lock, LockedArtifact, LockedImage, LockedSuite, SetName, WantedSuite, relock, suite};

/// The request that a lock answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The channel.
    pub channel: ChannelName,
    /// The suites of its packages, in the order of the sources.
    pub suites: Vec<WantedSuite>,
    /// The architecture.
    pub arch: Arch,
    /// The packages requested by name.
    pub sets: BTreeMap<SetName, BTreeSet<PackageName>>,
    /// The requested artifacts, all for the channel's architecture.
    pub artifacts: BTreeMap<(ArtifactName, Arch), WantedArtifact>,
    /// The container images to pull, with their full names.
    pub images: BTreeMap<ArtifactName, Reference>,
    /// Artifacts of the channel that nothing requests, and those for other architectures. A lock may keep them, so that a role
    /// that comes back needs no network.
    pub spare_artifacts: BTreeMap<(ArtifactName, Arch), WantedArtifact>,
    /// Container images that nothing requests.
    pub spare_images: BTreeMap<ArtifactName, Reference>,
}

/// A requested artifact for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedArtifact {
    /// The version, if the sources state one.
    pub version: Option<ReleaseVersion>,
    /// The source of its bytes.
    pub source: ArtifactSource,
    /// The address of its checksum file, if its publisher has one.
    pub checksum: Option<String>,
}

impl WantedArtifact {
    /// True if a locked entry has this version and this source.
    pub fn is_met_by(&self, entry: &LockedArtifact) -> bool {
        self.version == entry.version && self.source == entry.source
    }
}

/// The packages that a channel's recipes request by name, with their places: those that recipes list, and those that provide
/// artifacts in this channel.
///
/// # Errors
/// A part or an artifact without a definition.
pub(crate) fn packages(sources: &Sources, recipes: &[Recipe]) -> Result<BTreeMap<SetName, Vec<Located<PackageName>>>> {
    let mut sets: BTreeMap<SetName, Vec<Located<PackageName>>> = BTreeMap::new();
    sets.insert(SetName::Tool, sources.tools.clone());
    for recipe in recipes {
        let (set, layers) = match &recipe.subject {
            Subject::Base => (SetName::Base, base_layers(recipes)?),
            Subject::Role(role) => (SetName::Role(role.clone()), role_layers(recipes, role)?),
            Subject::Part(_) => continue,
        };
        let mut named = Vec::new();
        for layer in layers {
            named.extend(layer.packages.iter().cloned());
            for name in &layer.artifacts {
                if let Origin::Package { package, .. } = &sources.artifact(name)?.origin {
                    named.push(package.clone());
                }
            }
            for artifact in bytes_of(sources, layer)? {
                if let Origin::PackageMember { package, .. } = &sources.artifact(artifact)?.origin {
                    sets.entry(SetName::Tool).or_default().push(package.clone());
                }
            }
        }
        sets.insert(set, named);
    }
    Ok(sets)
}

/// The artifacts that a recipe needs, including those only for container images.
fn bytes_of<'a>(sources: &'a Sources, recipe: &'a Recipe) -> Result<Vec<&'a Located<ArtifactName>>> {
    let mut needed: Vec<_> = recipe.artifacts.iter().collect();
    for image in &recipe.images {
        if let ImageContent::Built { from, .. } = &sources.image(image)?.content {
            needed.push(from);
        }
    }
    Ok(needed)
}

/// The recipes that are part of an image: those of the base and of the roles, and the parts that these name.
fn layers(recipes: &[Recipe]) -> Result<Vec<&Recipe>> {
    let mut found = Vec::new();
    for recipe in recipes {
        match &recipe.subject {
            Subject::Base => found.extend(base_layers(recipes)?),
            Subject::Role(role) => found.extend(role_layers(recipes, role)?),
            Subject::Part(_) => {}
        }
    }
    Ok(found)
}

/// The artifacts that any role needs, including those only for container images.
///
/// # Errors
/// An artifact or an image without a definition.
pub(crate) fn used_artifacts(sources: &Sources, recipes: &[Recipe]) -> Result<BTreeSet<ArtifactName>> {
    let mut used = BTreeSet::new();
    for recipe in layers(recipes)? {
        used.extend(bytes_of(sources, recipe)?.into_iter().map(|name| name.value.clone()));
    }
    Ok(used)
}

impl Request {
    /// The request of the sources and all recipes.
    ///
    /// # Errors
    /// A part, an artifact or an image without a definition.
    pub fn of(sources: &Sources, recipes: &[Recipe]) -> Result<Self> {
        let names = |named: Vec<Located<PackageName>>| named.into_iter().map(|package| package.value).collect();
        let sets = packages(sources, recipes)?.into_iter().map(|(set, named)| (set, names(named))).collect();
        let (mut artifacts, mut images) = (BTreeMap::new(), BTreeMap::new());
        for recipe in layers(recipes)? {
            for name in bytes_of(sources, recipe)? {
                // Images are built for one architecture only.
                artifacts.extend(wanted(sources, name)?.into_iter().filter(|((_, arch), _)| *arch == sources.arch));
            }
            for name in &recipe.images {
                let image = sources.image(name)?;
                if image.content == ImageContent::Pulled {
                    images.insert(name.value.clone(), image.full_name(&sources.versions)?);
                }
            }
        }
        let mut spare = Wanted::of_channel(sources)?;
        spare.artifacts.retain(|key, _| !artifacts.contains_key(key));
        spare.images.retain(|name, _| !images.contains_key(name));
        let Wanted { artifacts: spare_artifacts, images: spare_images } = spare;
        Ok(Request {
            channel: sources.channel.clone(),
            suites: sources.suites.iter().map(WantedSuite::of).collect(),
            arch: sources.arch,
            sets,
            artifacts,
            images,
            spare_artifacts,
            spare_images,
        })
    }
}

impl Request {
    /// The suites, before anything was resolved in them.
    pub fn unresolved(&self) -> Vec<LockedSuite> {
        self.suites.iter().map(WantedSuite::unresolved).collect()
    }
}

/// The recipes that decide a role's image: those of the base and of the role, with the parts of both.
///
/// # Errors
/// A part without a recipe.
pub(crate) fn recipes_for(recipes: &[Recipe], role: &RoleName) -> Result<Vec<Recipe>> {
    let layers = [base_layers(recipes)?, role_layers(recipes, role)?].concat();
    Ok(recipes.iter().filter(|recipe| layers.iter().any(|layer| layer.subject == recipe.subject)).cloned().collect())
}

/// All artifacts and pulled images of a channel, for every architecture.
pub(super) struct Wanted {
    pub artifacts: BTreeMap<(ArtifactName, Arch), WantedArtifact>,
    pub images: BTreeMap<ArtifactName, Reference>,
}

impl Wanted {
    pub(super) fn of_channel(sources: &Sources) -> Result<Self> {
        let mut found = Wanted { artifacts: BTreeMap::new(), images: BTreeMap::new() };
        for (name, artifact) in &sources.artifacts {
            found.artifacts.extend(wanted(sources, &Located { value: name.clone(), place: artifact.place.clone() })?);
        }
        for (name, image) in sources.images.iter().filter(|(_, image)| image.content == ImageContent::Pulled) {
            found.images.insert(name.clone(), image.full_name(&sources.versions)?);
        }
        Ok(found)
    }
}

/// An artifact's entries in the sources, for every architecture that it can be locked for.
fn wanted(sources: &Sources, name: &Located<ArtifactName>) -> Result<Vec<((ArtifactName, Arch), WantedArtifact)>> {
    let key = |arch| (name.value.clone(), arch);
    Ok(match &sources.artifact(name)?.origin {
        Origin::Release(release) => {
            let version = version(&sources.versions, &release.version)?;
            let one = |arch| {
                let url = release.url.value.fill(Some(version), arch, "");
                let checksum = release.checksum.as_ref().map(|checksum| checksum.value.fill(Some(version), arch, &url));
                (key(arch), WantedArtifact { version: Some(version.clone()), source: ArtifactSource::Url(url), checksum })
            };
            Arch::ALL.into_iter().map(one).collect()
        }
        Origin::Path { path, version: named } => {
            let source = ArtifactSource::Path(format!("recipes/{}", path.value));
            let version = named.as_ref().map(|named| version(&sources.versions, named)).transpose()?.cloned();
            vec![(key(sources.arch), WantedArtifact { version, source, checksum: None })]
        }
        Origin::Package { .. } | Origin::PackageMember { .. } | Origin::Absent(_) => Vec::new(),
    })
}

/// The scope of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The whole lock: superfluous entries are wrong, too.
    All,
    /// Some roles.
    Asked,
}

pub(super) fn check(lock: &Lock, file: &str, request: &Request, scope: Scope) -> Result<()> {
    let mut lines = Vec::new();
    different(&mut lines, "channel", &request.channel, &lock.channel);
    different(&mut lines, "suites", &suite::shown(&request.suites), &suite::shown(lock.suites.iter().map(|locked| &locked.suite)));
    different(&mut lines, "arch", &request.arch, &lock.arch);
    let none = BTreeSet::new();
    let unasked = lock.request.keys().filter(|_| scope == Scope::All);
    for set in request.sets.keys().chain(unasked).collect::<BTreeSet<_>>() {
        let wanted = request.sets.get(set).unwrap_or(&none);
        let locked = lock.request.get(set).unwrap_or(&none);
        match (request.sets.contains_key(set), lock.request.contains_key(set)) {
            (true, false) => lines.push(format!("{set}: not locked at all")),
            (false, true) => lines.push(format!("{set}: locked, but there is no such recipe")),
            _ => {}
        }
        lines.extend(wanted.difference(locked).map(|name| format!("{set}: `{name}` is missing")));
        // A tool may be needed by another role.
        if scope == Scope::All || *set != SetName::Tool {
            lines.extend(locked.difference(wanted).map(|name| format!("{set}: `{name}` is no longer asked for")));
        }
    }
    // A line removed by hand, or lost in a merge, leaves the request complete and the entries not.
    for (set, names) in lock.request.iter().filter(|(set, _)| scope == Scope::All || request.sets.contains_key(*set)) {
        let answered = |name: &PackageName| {
            lock.entries().any(|entry| {
                entry.name == *name && (entry.sets.contains(set) || (*set != SetName::Tool && entry.sets.contains(&SetName::Base)))
            })
        };
        lines.extend(names.iter().filter(|name| !answered(name)).map(|name| format!("{set}: `{name}` is asked for, but has no entry")));
    }
    lines.extend(missing_artifacts(lock, request));
    if scope == Scope::All {
        lines.extend(unasked_artifacts(lock, request));
    }
    if lines.is_empty() {
        return Ok(());
    }
    let error = Error::user(format!("the lockfile `{file}` is stale: it does not match the recipes"));
    Err(lines.into_iter().fold(error, Error::detail).hint(relock(&request.channel)))
}

/// The artifacts and images that the lock lacks, or that differ from the request.
fn missing_artifacts(lock: &Lock, request: &Request) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, wanted) in &request.artifacts {
        let shown = format!("artifact `{}` ({})", key.0, key.1);
        match lock.artifacts.get(key) {
            None => lines.push(format!("{shown}: is missing")),
            // A user's own build replaces whatever the sources say.
            Some(entry) if entry.is_own() && matches!(wanted.source, ArtifactSource::Url(_)) => {}
            Some(entry) => {
                if entry.version != wanted.version {
                    let shown_version = |version: &Option<ReleaseVersion>| version.as_ref().map_or("none".to_owned(), ToString::to_string);
                    lines.push(format!(
                        "{shown}: expected version {}, found {}",
                        shown_version(&wanted.version),
                        shown_version(&entry.version)
                    ));
                } else if entry.source != wanted.source {
                    lines.push(format!("{shown}: expected {}, found {}", wanted.source, entry.source));
                }
            }
        }
    }
    for (name, reference) in &request.images {
        match lock.images.get(name) {
            None => lines.push(format!("image `{name}`: is missing")),
            // A user's own archive replaces whatever the sources say.
            Some(entry) if entry.reference != *reference && !entry.is_own() => {
                lines.push(format!("image `{name}`: expected {reference}, found {}", entry.reference));
            }
            Some(_) => {}
        }
    }
    lines
}

/// The lock's artifacts and images that nothing requests.
fn unasked_artifacts(lock: &Lock, request: &Request) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, entry) in &lock.artifacts {
        let spare = request.spare_artifacts.get(key).is_some_and(|want| want.is_met_by(entry));
        if !request.artifacts.contains_key(key) && !entry.is_own() && !spare {
            lines.push(format!("artifact `{}` ({}): is no longer asked for", key.0, key.1));
        }
    }
    let kept = |name: &ArtifactName, entry: &LockedImage| {
        entry.is_own()
            || request.images.contains_key(name)
            || request.spare_images.get(name).is_some_and(|reference| *reference == entry.reference)
    };
    let unasked = lock.images.iter().filter(|(name, entry)| !kept(name, entry));
    lines.extend(unasked.map(|(name, _)| format!("image `{name}`: is no longer asked for")));
    lines
}

fn different<T: Display + PartialEq>(lines: &mut Vec<String>, what: &str, wanted: &T, locked: &T) {
    if wanted != locked {
        lines.push(format!("{what}: expected {wanted}, found {locked}"));
    }
}
