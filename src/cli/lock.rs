//! `kbake lock`: recipes and sources → the lockfile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::args::Lock as Args;
use super::commands::host;
use super::config::web_options;
use super::saved::{Folders, saved_image};
use super::upgrade::upgrades;
use super::{Session, current_folder};
use crate::bake;
use crate::document::nearest;
use crate::error::{Class, Error, Result};
use crate::fetch;
use crate::fsx;
use crate::lock::{ArtifactSource, Base, Change, Lock, Request, changes, inherit, moved, regroup, used_artifacts};
use crate::project::{self, Below, Channel, OwnPath, Project};
use crate::recipe::{Artifact, Install, Origin, Sources};
use crate::release::{self, List, Own, OwnImage, Publisher, Wishes};
use crate::report::{Item, ItemKind, Outcome, Report as _};
use crate::resolve;
use crate::skew;
use crate::value::{ArtifactName, Cancel, Digest, Reference, Sha256};

/// A checksum file, or a text that has none, is at most this large, in bytes.
const MAX_TEXT: u64 = 1 << 20;

impl Session<'_> {
    /// `kbake lock`.
    pub fn lock(&self, args: &Args) -> Result<()> {
        let project = self.project()?;
        let channel_name = self.channel()?;
        let name = project::lock_name(&channel_name);
        if args.check {
            let channel = project.channel(&channel_name)?;
            self.check_versions(&project, &channel.sources)?;
            let lock = channel.locked()?;
            lock.check(&name, &bake::request(&channel)?)?;
            self.shell.ended(&lockfile(&name, &lock.to_text()), Outcome::Verified);
            self.shell.say(&format!("{name} fits the recipes"));
            return Ok(());
        }
        let Project::Folder(folder) = &project else {
            return Err(
                Error::user("there are no recipes here to lock").hint("`kbake init` writes the shipped ones into this folder, for editing")
            );
        };
        let channel = project.channel_to_lock(&channel_name)?;
        self.tell_channel()?;
        self.check_versions(&project, &channel.sources)?;
        let request = bake::request(&channel)?;
        let (packages, releases) = upgrades(&args.upgrade, &request, channel.lock.as_ref())?;
        let wishes = wishes(args, releases, &channel, &current_folder()?, folder, self.cancel)?;
        self.tell_companions(args, &wishes);
        let used = used_artifacts(&channel.sources, &channel.recipes)?;
        for own in wishes.own.iter().filter(|own| !used.contains(&own.name) && args.set.iter().any(|(name, _)| *name == own.name)) {
            self.shell.notice(&unused(&own.name, &channel.sources));
        }
        let before = self.inherited(&project, &channel, &request, &wishes.unset)?;
        let options = web_options(&args.web, self.cancel)?;
        let publisher = Online { project: &project, sources: &channel.sources, options, cancel: self.cancel };
        let say = |event: release::Event| self.shell.say(&event.to_string());
        let pins = release::lock(&request, before.as_ref(), &wishes, &publisher, &say)?;
        // No server need be asked when nothing new is asked for.
        let known = before.as_ref().filter(|_| packages == resolve::Upgrade::Nothing);
        let regrouped = known.map(|lock| regroup(lock, &request)).transpose()?.flatten().map(|lock| pinned(lock, pins.clone()));
        let (lock, changes) = match regrouped.filter(|lock| lock.check(&name, &request).is_ok()) {
            Some(lock) => {
                // A new lock with the packages of its base says nothing of them.
                let changes = channel.lock.as_ref().map(|old| changes(Some(old), &lock, &BTreeSet::new()));
                (lock, changes.unwrap_or_default())
            }
            None => {
                let (lock, changes) = self.lock_packages(args, packages, &channel, before.as_ref())?;
                (pinned(lock, pins), changes)
            }
        };
        let shown = moved(channel.lock.as_ref().or(before.as_ref()), &lock);
        for line in changes.iter().map(ToString::to_string).chain(shown.iter().map(ToString::to_string)) {
            self.shell.data(&format!("{line}\n"))?;
        }
        self.tell_own(&request, &wishes, &lock);
        self.tell_pins(channel.lock.as_ref(), &lock);
        self.write_lock(&project, folder, &name, &lock)
    }

    /// Names what is set or unset although nobody typed it.
    fn tell_companions(&self, args: &Args, wishes: &Wishes) {
        for own in wishes.own.iter().filter(|own| !args.set.iter().any(|(name, _)| *name == own.name)) {
            self.shell.say(&format!("{} comes out of the same archive: it is {} too", own.name, own.path));
        }
        for name in wishes.unset.iter().filter(|name| !args.unset.contains(name)) {
            self.shell.say(&format!("{name} came out of the same archive: it is the publisher's again too"));
        }
    }

    /// Names the files that stay in a publisher's place. A lock does not say whether they were set, or are left from sources that named
    /// them.
    fn tell_own(&self, request: &Request, wishes: &Wishes, lock: &Lock) {
        for (key, entry) in lock.artifacts.iter().filter(|(_, entry)| entry.is_own()) {
            let is_published = request.artifacts.get(key).is_some_and(|want| matches!(want.source, ArtifactSource::Url(_)));
            if is_published && !wishes.own.iter().any(|own| own.name == key.0) {
                self.shell.say(&format!("{} stays {}; `kbake lock --unset {}` returns to the publisher's", key.0, entry.source, key.0));
            }
        }
    }

    /// What is locked as before, new or another, and gone.
    fn tell_pins(&self, old: Option<&Lock>, new: &Lock) {
        let (before, now) = (old.map(pins).unwrap_or_default(), pins(new));
        let pin = |(name, digest): (&(&str, String), &Digest), outcome| {
            self.shell.ended(&Item { kind: ItemKind::Pin, name: &name.1, digest: Some(*digest), bytes: None }, outcome);
        };
        for (name, digest) in &now {
            pin((name, digest), if before.get(name) == Some(digest) { Outcome::Cached } else { Outcome::Fetched });
        }
        before.iter().filter(|(name, _)| !now.contains_key(*name)).for_each(|gone| pin(gone, Outcome::Removed));
    }

    /// The lock to begin with: the channel's own, with the entries of its bases' locks that it does not change.
    fn inherited(
        &self,
        project: &Project,
        channel: &Channel,
        request: &Request,
        given_back: &BTreeSet<ArtifactName>,
    ) -> Result<Option<Lock>> {
        let mut bases = Vec::new();
        for Below { sources, lock } in project.bases(&channel.sources.channel)? {
            match lock {
                Ok(Some(lock)) => bases.push(Base { sources, lock }),
                Ok(None) => {}
                Err(error) => {
                    let file = project::lock_name(sources.channel.as_str());
                    self.shell.notice(&format!("note: nothing is taken over from {file}: {}", error.message()));
                }
            }
        }
        let found = inherit(channel.lock.as_ref(), &bases, request, given_back)?;
        for (base, stale) in &found.stale {
            let (file, count) = (project::lock_name(base.as_str()), stale.len());
            let first = stale.first().map(String::as_str).unwrap_or_default();
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            self.shell.notice(&format!(
                "note: {file} does not fit its own sources in {first}{more}, which is not taken over; `kbake lock --channel {base}` mends it"
            ));
        }
        if let Some(base) = &found.packages {
            self.shell.say(&format!("the packages are those of {}, as far as they are asked for", project::lock_name(base.as_str())));
        }
        for (base, count) in &found.taken {
            let entries = if *count == 1 { "entry is" } else { "entries are" };
            self.shell.say(&format!("{count} {entries} taken over from {}", project::lock_name(base.as_str())));
        }
        Ok(found.lock)
    }

    fn lock_packages(
        &self,
        args: &Args,
        upgrade: resolve::Upgrade,
        channel: &Channel,
        before: Option<&Lock>,
    ) -> Result<(Lock, Vec<Change>)> {
        let host = host();
        // Open for as long as the folder is used.
        let store = self.store()?;
        let scratch = store.work_folder("lock", &Sha256::of(project::lock_name(channel.sources.channel.as_str())))?;
        let web = web_options(&args.web, self.cancel)?;
        let login = |mirror: &str| fetch::netrc(mirror, &web);
        let options = resolve::Options { host: &host, mirrors: &args.mirror, upgrade, login: &login, scratch, cancel: self.cancel };
        let wanted = resolve::Wanted { recipes: &channel.recipes, sources: &channel.sources };
        resolve::lock(wanted, before, &options, &|event| self.shell.say(&lock_event(&event)))
    }

    fn write_lock(&self, project: &Project, folder: &Path, name: &str, lock: &Lock) -> Result<()> {
        let path = folder.join(name);
        let text = lock.to_text();
        let file = lockfile(name, &text);
        if project.text(name)?.as_deref() == Some(&text) {
            self.shell.ended(&file, Outcome::Cached);
            self.shell.say(&format!("{name} is unchanged"));
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fsx::create_dir_all(parent)?;
        }
        fsx::write_atomic(&path, 0o644, text.as_bytes())?;
        self.shell.ended(&file, Outcome::Written);
        self.shell.say(&format!("{name} is written; review the change"));
        Ok(())
    }

    /// Refuses versions that do not go together, and says what may not. A project without the table uses the shipped one.
    pub fn check_versions(&self, project: &Project, sources: &Sources) -> Result<()> {
        let text = match project.text(skew::FILE)? {
            Some(text) => Some(text),
            None => Project::Shipped.text(skew::FILE)?,
        };
        let Some(text) = text else { return Ok(()) };
        for warning in skew::check(&skew::Table::parse(skew::FILE, &text)?, sources)? {
            self.shell.notice(&format!("note: {warning}"));
        }
        Ok(())
    }
}

/// Asks publishers and registries themselves, or their mirrors.
struct Online<'a> {
    project: &'a Project,
    sources: &'a Sources,
    options: fetch::Options,
    cancel: &'a Cancel,
}

impl Publisher for Online<'_> {
    fn text(&self, url: &str) -> Result<Option<String>> {
        fetch::text(url, MAX_TEXT, &self.options, self.cancel)
    }

    fn is_mirrored(&self, what: &str) -> bool {
        let registry = what.split('/').next().unwrap_or_default();
        self.options.rewrites.iter().any(|(prefix, _)| what.starts_with(prefix.as_str()))
            || self.options.registry_mirrors.iter().any(|(name, _)| name == registry)
    }

    fn size(&self, url: &str) -> Option<u64> {
        fetch::size(url, &self.options, self.cancel)
    }

    fn tag_digest(&self, reference: &Reference) -> Result<Sha256> {
        Ok(fetch::tag_digest(reference, &self.options, self.cancel)?.0)
    }

    fn own_file(&self, path: &str) -> Result<(Sha256, u64)> {
        let file = self.project.own_file(path)?;
        let open = || file.as_ref().map(OwnPath::open).transpose().map(Option::flatten);
        if let Some(mut file) = open()? {
            for (name, _) in self.sources.artifacts.iter().filter(|(_, artifact)| is_at(artifact, path)) {
                bake::check_own(self.sources, name, &mut file, path)?;
            }
        }
        let found = open()?.map(|file| fsx::digest_of(&file, Path::new(path), self.cancel)).transpose()?;
        found.ok_or_else(|| {
            Error::user(format!("{path} is not there")).hint("the channel's sources name it: put the file there, or change its `path`")
        })
    }
}

/// The file of the project that the sources name for an artifact, as lockfiles have it.
fn file_of_sources(artifact: &Artifact) -> Option<String> {
    match &artifact.origin {
        Origin::Path { path, .. } => Some(format!("recipes/{}", path.value)),
        _ => None,
    }
}

/// True when the sources name this file of the project, as lockfiles do, for the artifact.
fn is_at(artifact: &Artifact, path: &str) -> bool {
    file_of_sources(artifact).is_some_and(|own| own == path)
}

/// Everything that is locked, by its sort and name.
fn pins(lock: &Lock) -> BTreeMap<(&'static str, String), Digest> {
    let packages = lock.entries().map(|entry| (("package", entry.name.to_string()), entry.sha256.into()));
    let artifacts = lock.artifacts.iter().map(|((name, arch), entry)| (("artifact", format!("{name} ({arch})")), entry.digest));
    let images = lock.images.iter().map(|(name, image)| (("image", name.to_string()), image.digest.into()));
    packages.chain(artifacts).chain(images).collect()
}

/// A lockfile with this text, as the report knows it.
fn lockfile<'a>(name: &'a str, text: &str) -> Item<'a> {
    Item { kind: ItemKind::File, name, digest: Some(Sha256::of(text).into()), bytes: Some(text.len() as u64) }
}

fn pinned(mut lock: Lock, pins: release::Pins) -> Lock {
    (lock.artifacts, lock.images) = (pins.artifacts, pins.images);
    lock
}

/// What was typed, with the files that it names.
fn wishes(args: &Args, upgrade: release::Upgrade, channel: &Channel, current: &Path, folder: &Path, cancel: &Cancel) -> Result<Wishes> {
    let list = args.import.as_ref().map(|file| List::parse(&file.display().to_string(), &fsx::read_given_to_string(file)?)).transpose()?;
    let mut unset: BTreeSet<ArtifactName> = args.unset.iter().cloned().collect();
    let locked_own = || channel.lock.iter().flat_map(|lock| lock.artifacts.values()).filter(|entry| entry.is_own());
    for name in &unset {
        if let Some(artifact) = channel.sources.artifacts.get(name) {
            refuse_file_of_sources(name, artifact, &channel.sources)?;
        }
        let is_own_image = channel.lock.iter().any(|lock| lock.images.get(name).is_some_and(|image| image.is_own()));
        if !is_own_image && !locked_own().any(|entry| entry.name == *name) {
            return Err(Error::user(format!("`{name}` is not locked as a file of one's own")).hint("there is nothing to unset"));
        }
    }
    let (mut own, mut own_images): (Vec<Own>, Vec<OwnImage>) = (Vec::new(), Vec::new());
    for (name, file) in &args.set {
        let is_set = own.iter().any(|other| other.name == *name) || own_images.iter().any(|other| other.name == *name);
        if unset.contains(name) || is_set {
            return Err(Error::new(Class::Usage, format!("`{name}` is set twice, or set and unset")));
        }
        match saved_image(name, file, channel, &Folders { current, project: folder }, cancel)? {
            Some(image) => own_images.push(image),
            None => own.push(own_file(name, file, channel, current, folder, cancel)?),
        }
    }
    let typed = |name: &ArtifactName| args.unset.contains(name) || args.set.iter().any(|(set, _)| set == name);
    // An archive that several artifacts come out of is set once, and given back once.
    for one in own.clone() {
        let Some((_, file)) = args.set.iter().find(|(set, _)| *set == one.name) else { continue };
        let mut file = fsx::open_read(&clean(&current.join(file)))?;
        let others = companions(&channel.sources, &one.name).into_iter().filter(|other| !typed(other));
        let fitting = others.filter(|other| bake::check_own(&channel.sources, other, &mut file, &one.path).is_ok());
        own.extend(fitting.map(|name| Own { name, ..one.clone() }));
    }
    for name in &args.unset {
        let source = |name: &ArtifactName| locked_own().find(|entry| entry.name == *name).map(|entry| &entry.source);
        let others = companions(&channel.sources, name).into_iter();
        unset.extend(others.filter(|other| !typed(other) && source(other).is_some() && source(other) == source(name)));
    }
    Ok(Wishes { upgrade, list, own, own_images, unset, tags: args.tags })
}

/// The word on a file that is locked, and is in no image.
fn unused(name: &ArtifactName, sources: &Sources) -> String {
    let found = format!("no recipe uses the artifact `{name}` of the channel `{}`: the file changes nothing", sources.channel);
    let way = match sources.images.contains_key(name) {
        true => format!("the container image `{name}` is set by an archive of it, as `docker save` writes it"),
        false => format!("a role or part takes it by `artifacts = [\"{name}\"]`"),
    };
    format!("{found}; {way}")
}

/// The other artifacts that the publisher has in the same archive.
fn companions(sources: &Sources, name: &ArtifactName) -> Vec<ArtifactName> {
    let archive = |artifact: &Artifact| match (&artifact.origin, &artifact.install) {
        (Origin::Release(release), Install::Unpack(_)) => Some((release.version.value.clone(), release.url.value.clone())),
        _ => None,
    };
    let Some(of_name) = sources.artifacts.get(name).and_then(archive) else { return Vec::new() };
    let same = |(other, artifact): &(&ArtifactName, &Artifact)| *other != name && archive(artifact).as_ref() == Some(&of_name);
    sources.artifacts.iter().filter(same).map(|(other, _)| other.clone()).collect()
}

/// A file that the sources name is neither set nor given back: every lock reads it again.
fn refuse_file_of_sources(name: &ArtifactName, artifact: &Artifact, sources: &Sources) -> Result<()> {
    let Some(path) = file_of_sources(artifact) else { return Ok(()) };
    let error = artifact.place.error(format!("`{name}` is a file of the project in this channel: {path}"));
    Err(error.hint(format!("replace the file, or change its `path`; then run `kbake lock --channel {}`", sources.channel)))
}

/// A file that takes an artifact's place.
fn own_file(name: &ArtifactName, file: &Path, channel: &Channel, current: &Path, folder: &Path, cancel: &Cancel) -> Result<Own> {
    let sources = &channel.sources;
    let Some(artifact) = sources.artifacts.get(name) else {
        let error = Error::user(format!("the channel `{}` knows no artifact `{name}`", sources.channel));
        return Err(match nearest(name.as_str(), sources.artifacts.keys().map(ArtifactName::as_str)) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint(format!("describe it in {}: `[artifact.{name}]`", sources.file)),
        });
    };
    refuse_file_of_sources(name, artifact, sources)?;
    if let Origin::Package { package, .. } = &artifact.origin {
        let error = artifact.place.error(format!("`{name}` comes with the package `{}` in this channel", package.value));
        return Err(error.hint("to use a file of one's own, give the artifact's table `path` and `install` instead of `package`"));
    }
    let shown = file.display();
    let path = clean(&current.join(file));
    match fsx::facts_followed(&path)?.map(|facts| facts.kind) {
        Some(fsx::Kind::Folder) => {
            let error = Error::user(format!("{shown} is a folder; an artifact is one file"));
            return Err(error.hint("a folder with copies of many releases is a mirror: `--rewrite https://HOST/=file:///FOLDER/`"));
        }
        Some(fsx::Kind::Other | fsx::Kind::Link) => return Err(Error::user(format!("{shown} is a device, pipe or socket, not a file"))),
        Some(fsx::Kind::File) | None => {}
    }
    let (sha256, size) = fsx::digest_if_present(&path, cancel)?.ok_or_else(|| Error::user(format!("{shown} is not there")))?;
    if size == 0 {
        return Err(Error::user(format!("{shown} is empty")));
    }
    bake::check_own(sources, name, &mut fsx::open_read(&path)?, &shown.to_string())?;
    // Inside the project it is found wherever the project is checked out.
    let project = clean(&current.join(folder));
    // A link that leads out of it is good only on this machine, like any other path outside.
    let inside = path.strip_prefix(&project).ok().filter(|inside| fsx::Inside::find(&project, inside).is_ok_and(|found| found.is_some()));
    let inside = inside.map_or_else(|| path.clone(), Path::to_owned);
    let text = inside.to_str().filter(|text| !text.chars().any(|c| c.is_control() || "\"\\".contains(c)));
    let path = text.ok_or_else(|| Error::user(format!("the path of {shown} has characters that a lockfile does not take")))?.to_owned();
    Ok(Own { name: name.clone(), path, sha256, size })
}

/// The path without `.` and `..`, by its text alone.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = found.pop(),
            part => found.push(part),
        }
    }
    found
}

fn lock_event(event: &resolve::Event) -> String {
    match event {
        resolve::Event::Asking { mirror } => format!("asking {mirror}"),
        resolve::Event::NotTakenOver { setting } => {
            format!("apt's {setting} is not taken over: name the mirror's authority by Acquire::https::CAInfo")
        }
        resolve::Event::Refused { mirror, reason } => format!("{mirror}: {reason}"),
        resolve::Event::Resolving { set } => format!("resolving {set}"),
    }
}
