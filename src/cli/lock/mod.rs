//! `kbake lock`: recipes and sources → the lockfile.

mod choices;
mod online;
mod paths;
mod saved_image;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::choices::{choices, unused};
use self::online::Online;
use self::upgrade::upgrades;
use super::args::Lock as Args;
use super::config::web_options;
use super::environment::apt_host;
use super::{Session, current_folder};
use crate::build;
use crate::common::error::{Class, Error, Result};
use crate::common::fsx;
use crate::common::report::{Item, ItemKind, Outcome, Report as _};
use crate::common::value::{ArtifactName, Digest, Sha256};
use crate::spec::apt;
use crate::spec::compatibility;
use crate::spec::lock::{ArtifactSource, Base, Change, Lock, Request, changes, inherit, moved, regroup, used_artifacts};
use crate::spec::project::{self, BaseChannel, Channel, Project};
use crate::spec::recipe::{RecipePath, Sources};
use crate::spec::upstream::{self, Choices};
use crate::storage::fetch;

impl Session<'_> {
    /// `kbake lock`.
    pub(super) fn lock(&self, args: &Args) -> Result<()> {
        let project = self.project()?;
        let channel_name = self.channel()?;
        let name = project::lock_name(&channel_name);
        if args.check {
            let channel = project.channel(&channel_name)?;
            self.check_versions(&project, &channel.sources)?;
            let lock = channel.locked()?;
            lock.check(&name, &build::request(&channel)?)?;
            self.shell.ended(&lockfile(&name, &lock.to_text()), Outcome::Verified);
            self.shell.say(&format!("{name} matches the recipes"));
            return Ok(());
        }
        let Project::Folder(folder) = &project else {
            return Err(Error::user("there are no recipes here to lock")
                .hint("`kbake init` writes the shipped recipes into this folder, for editing"));
        };
        let channel = project.channel_to_lock(&channel_name)?;
        self.tell_channel()?;
        self.check_versions(&project, &channel.sources)?;
        let request = build::request(&channel)?;
        let (packages, releases) = upgrades(&args.upgrade, &request, channel.lock.as_ref())?;
        let choices = choices(args, releases, &channel, &current_folder()?, folder, self.cancel)?;
        self.tell_companions(args, &choices);
        let used = used_artifacts(&channel.sources, &channel.recipes)?;
        for own in choices.own.iter().filter(|own| !used.contains(&own.name) && args.set.iter().any(|(name, _)| *name == own.name)) {
            self.shell.notice(&unused(&own.name, &channel.sources));
        }
        let before = self.inherited(&project, &channel, &request, &choices.unset)?;
        let options = web_options(&args.web, self.cancel)?;
        let publisher = Online { project: &project, sources: &channel.sources, options, cancel: self.cancel };
        let say = |event: upstream::Event| self.shell.say(&event.to_string());
        let pins = upstream::lock(&request, before.as_ref(), &choices, &publisher, &say)?;
        // Without new requirements no server is asked.
        let known = before.as_ref().filter(|_| packages == apt::Upgrade::Nothing && args.at.is_none());
        let regrouped = known.map(|lock| regroup(lock, &request)).transpose()?.flatten().map(|lock| pinned(lock, pins.clone()));
        let (lock, changes) = match regrouped.filter(|lock| lock.check(&name, &request).is_ok()) {
            Some(lock) => {
                // A new lock that takes over its base's packages prints no changes.
                let changes = channel.lock.as_ref().map(|old| changes(Some(old), &lock, &BTreeSet::new()));
                (lock, changes.unwrap_or_default())
            }
            None => {
                let (lock, changes) = self.lock_packages(&project, args, packages, &channel, before.as_ref())?;
                (pinned(lock, pins), changes)
            }
        };
        let shown = moved(channel.lock.as_ref().or(before.as_ref()), &lock);
        for line in changes.iter().map(ToString::to_string).chain(shown.iter().map(ToString::to_string)) {
            self.shell.data(&format!("{line}\n"))?;
        }
        self.tell_fixed(&project, channel.lock.as_ref(), &lock)?;
        self.tell_own(&request, &choices, &lock);
        self.tell_pins(channel.lock.as_ref(), &lock);
        self.write_lock(&project, folder, &name, &lock)
    }

    /// Prints the vulnerabilities that the new lock fixes, if pinned advisories are in the store.
    fn tell_fixed(&self, project: &Project, old: Option<&Lock>, new: &Lock) -> Result<()> {
        let Some(old) = old.filter(|old| *old != new && project.text(project::ADVISORIES_LOCK).is_ok_and(|pins| pins.is_some())) else {
            return Ok(());
        };
        match self.fixed_by(project, &self.store()?, old, new) {
            Ok(all) => all.iter().try_for_each(|fixed| self.shell.data(&format!("{fixed}\n"))),
            Err(error) if error.class() == Class::User => {
                self.shell.notice(&format!("note: the fixed vulnerabilities are not known: {}", error.message()));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reports artifacts that are set or unset together with a named one.
    fn tell_companions(&self, args: &Args, choices: &Choices) {
        for own in choices.own.iter().filter(|own| !args.set.iter().any(|(name, _)| *name == own.name)) {
            self.shell.say(&format!("{} is in the same archive: it is set to {} too", own.name, own.path));
        }
        for name in choices.unset.iter().filter(|name| !args.unset.contains(name)) {
            self.shell.say(&format!("{name} is in the same archive: it returns to the publisher's too"));
        }
    }

    /// Reports local files that remain locked instead of a publisher's. The lock does not record whether they were set, or come from
    /// sources that named them.
    fn tell_own(&self, request: &Request, choices: &Choices, lock: &Lock) {
        for (key, entry) in lock.artifacts.iter().filter(|(_, entry)| entry.is_own()) {
            let is_published = request.artifacts.get(key).is_some_and(|want| matches!(want.source, ArtifactSource::Url(_)));
            if is_published && !choices.own.iter().any(|own| own.name == key.0) {
                self.shell.say(&format!("{} remains {}; `kbake lock --unset {}` returns to the publisher's", key.0, entry.source, key.0));
            }
        }
    }

    /// Reports unchanged, new or changed, and removed pins as events.
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

    /// The initial lock: the channel's own, with the entries of its bases' locks that the channel does not change.
    fn inherited(
        &self,
        project: &Project,
        channel: &Channel,
        request: &Request,
        given_back: &BTreeSet<ArtifactName>,
    ) -> Result<Option<Lock>> {
        let mut bases = Vec::new();
        for BaseChannel { sources, lock } in project.bases(&channel.sources.channel)? {
            match lock {
                Ok(Some(lock)) => bases.push(Base { sources, lock }),
                Ok(None) => {}
                Err(error) => {
                    let file = project::lock_name(sources.channel.as_str());
                    self.shell.notice(&format!("note: nothing is inherited from {file}: {}", error.message()));
                }
            }
        }
        let found = inherit(channel.lock.as_ref(), &bases, request, given_back)?;
        for (base, stale) in &found.stale {
            let (file, count) = (project::lock_name(base.as_str()), stale.len());
            let first = stale.first().map(String::as_str).unwrap_or_default();
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            self.shell.notice(&format!(
                "note: {file} does not match its own sources in {first}{more}, which is not inherited; `kbake lock --channel {base}` updates it"
            ));
        }
        if let Some(base) = &found.packages {
            self.shell.say(&format!("the packages are inherited from {}, as far as they are required", project::lock_name(base.as_str())));
        }
        for (base, count) in &found.taken {
            let entries = if *count == 1 { "entry is" } else { "entries are" };
            self.shell.say(&format!("{count} {entries} inherited from {}", project::lock_name(base.as_str())));
        }
        Ok(found.lock)
    }

    fn lock_packages(
        &self,
        project: &Project,
        args: &Args,
        upgrade: apt::Upgrade,
        channel: &Channel,
        before: Option<&Lock>,
    ) -> Result<(Lock, Vec<Change>)> {
        let host = apt_host();
        // The open store protects the work folder.
        let store = self.store()?;
        let scratch = store.work_folder("lock", &Sha256::of(project::lock_name(channel.sources.channel.as_str())))?;
        let web = web_options(&args.web, self.cancel)?;
        let login = |mirror: &str| fetch::netrc(mirror, &web);
        let file = |path: &RecipePath| project.bytes(&format!("recipes/{path}"));
        let options = apt::Options {
            host: &host,
            mirrors: &args.mirror,
            upgrade,
            at: args.at,
            login: &login,
            project: &file,
            scratch,
            cancel: self.cancel,
        };
        let wanted = apt::Wanted { recipes: &channel.recipes, sources: &channel.sources };
        apt::lock(wanted, before, &options, &|event| self.shell.say(&lock_event(&event)))
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

    /// Refuses incompatible versions, and warns of doubtful ones. A project without a compatibility table uses the shipped one.
    pub(super) fn check_versions(&self, project: &Project, sources: &Sources) -> Result<()> {
        let text = match project.text(compatibility::FILE)? {
            Some(text) => Some(text),
            None => Project::Shipped.text(compatibility::FILE)?,
        };
        let Some(text) = text else { return Ok(()) };
        for warning in compatibility::check(&compatibility::Table::parse(compatibility::FILE, &text)?, sources)? {
            self.shell.notice(&format!("note: {warning}"));
        }
        Ok(())
    }
}

/// All locked digests, by kind and name.
fn pins(lock: &Lock) -> BTreeMap<(&'static str, String), Digest> {
    let packages = lock.entries().map(|entry| (("package", entry.name.to_string()), entry.sha256.into()));
    let artifacts = lock.artifacts.iter().map(|((name, arch), entry)| (("artifact", format!("{name} ({arch})")), entry.digest));
    let images = lock.images.iter().map(|(name, image)| (("image", name.to_string()), image.digest.into()));
    packages.chain(artifacts).chain(images).collect()
}

/// The report item of a lockfile with this text.
fn lockfile<'a>(name: &'a str, text: &str) -> Item<'a> {
    Item { kind: ItemKind::File, name, digest: Some(Sha256::of(text).into()), bytes: Some(text.len() as u64) }
}

fn pinned(mut lock: Lock, pins: upstream::Pins) -> Lock {
    (lock.artifacts, lock.images) = (pins.artifacts, pins.images);
    lock
}

fn lock_event(event: &apt::Event) -> String {
    match event {
        apt::Event::Asking { suite, mirror } => format!("asking {mirror} for {suite}"),
        apt::Event::NotTakenOver { setting } => {
            format!("apt's {setting} is not used: set the mirror's CA with Acquire::https::CAInfo")
        }
        apt::Event::Refused { mirror, reason } => format!("{mirror}: {reason}"),
        apt::Event::Resolving { set } => format!("resolving {set}"),
    }
}
