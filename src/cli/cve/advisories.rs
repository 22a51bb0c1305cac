//! The publishers' files: fetched and pinned, or read from the store or from a local file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use super::super::args::Cve;
use super::super::config::web_options;
use super::super::{Session, current_folder};
use crate::build;
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::report::{Item, ItemKind, Outcome, Report as _};
use crate::common::value::{ArtifactName, Sha256, Size};
use crate::spec::advisories::{Advisories, FILE_MAX, Fixed, Format, Pin, Pins, SOURCES, Source, Sources, Wanted, fixed_by, software};
use crate::spec::lock::Lock;
use crate::spec::project::{ADVISORIES_LOCK, Project};
use crate::storage::fetch::{self, Want};
use crate::storage::store::{Store, VerifyingReader};

/// The command that pins the newest files.
const UPDATE: &str = "`kbake cve --update` fetches and pins the newest advisories";

/// A publisher's file, with the place of its bytes.
pub(super) struct Given {
    name: ArtifactName,
    format: Format,
    bytes: Bytes,
}

enum Bytes {
    /// The user's file, and its path.
    Local(File, PathBuf),
    /// A blob in the store.
    Pinned(Box<Store>, Pin),
}

impl Session<'_> {
    /// Fetches the newest files into the store, and pins them.
    pub(super) fn update_advisories(&self, project: &Project, args: &Cve) -> Result<()> {
        let Project::Folder(folder) = project else {
            return Err(Error::user("there is no project here whose advisories could be pinned")
                .hint("`kbake init` writes the shipped recipes into this folder, for editing")
                .hint("or read local files: `kbake cve ROLE --advisories debian=FILE --advisories go=FILE`"));
        };
        let options = web_options(&args.web, self.cancel)?;
        let store = self.store()?;
        let mut pins = BTreeMap::new();
        for (name, Source { format, url }) in sources(project)?.0 {
            self.shell.say(&format!("fetching the advisories `{name}`"));
            let bytes = fetch::bytes(&url, FILE_MAX, &options, self.cancel)?;
            let bytes = bytes.ok_or_else(|| Error::user(format!("{url} does not exist")).hint(format!("check its `url` in {SOURCES}")))?;
            // A file that cannot be read replaces no pin of one that can.
            Advisories::default().add(format, &format!("{name} ({url})"), &bytes[..], &Wanted::default())?;
            let blob = store.insert(&bytes)?;
            self.shell.ended(&item(&name, blob.digest, blob.size), Outcome::Fetched);
            self.shell.say(&format!("{name}: {}, sha256:{}", Size(blob.size), blob.digest));
            pins.insert(name, Pin { sha256: blob.digest, size: blob.size });
        }
        let text = Pins(pins.clone()).to_text();
        build::record_advisories(&store, project, &current_folder()?, &text, pins.values().map(|pin| pin.sha256))?;
        if project.text(ADVISORIES_LOCK)?.as_deref() == Some(&text) {
            self.shell.say(&format!("{ADVISORIES_LOCK} is unchanged"));
            return Ok(());
        }
        let path = folder.join(ADVISORIES_LOCK);
        path.parent().map_or(Ok(()), fsx::create_dir_all)?;
        fsx::write_atomic(&path, 0o644, text.as_bytes())?;
        self.shell.say(&format!("{ADVISORIES_LOCK} is written"));
        Ok(())
    }

    /// The files to read, each from the command line or by its pin. Fetches pinned bytes that the store lacks.
    pub(super) fn given_advisories(&self, project: &Project, args: &Cve) -> Result<Vec<Given>> {
        let sources = sources(project)?;
        let unknown = args.advisories.iter().find(|(name, _)| !sources.0.contains_key(name));
        if let Some((name, _)) = unknown {
            let known: Vec<String> = sources.0.keys().map(ToString::to_string).collect();
            return Err(Error::user(format!("unknown advisories `{name}`")).detail(format!("known: {}", known.join(", "))));
        }
        let pins = pins(project)?;
        let mut given = Vec::new();
        for (name, source) in sources.0 {
            let bytes = match args.advisories.iter().rev().find(|(given, _)| *given == name) {
                Some((_, path)) => Bytes::Local(fsx::open_given(path)?, path.clone()),
                None => {
                    let pin = *pins.0.get(&name).ok_or_else(|| unpinned(&name))?;
                    let store = self.store()?;
                    let options = fetch::Options { offline: args.offline, ..web_options(&args.web, self.cancel)? };
                    fetch_pinned(&store, &name, &source, pin, &options, self.cancel)?;
                    Bytes::Pinned(Box::new(store), pin)
                }
            };
            given.push(Given { name, format: source.format, bytes });
        }
        Ok(given)
    }

    /// Reads the files, as far as they concern the wanted names.
    pub(super) fn read_advisories(&self, given: Vec<Given>, wanted: &Wanted) -> Result<Advisories> {
        let mut advisories = Advisories::default();
        for Given { name, format, bytes } in given {
            self.cancel.check()?;
            match bytes {
                Bytes::Local(file, path) => advisories.add(format, &path.display().to_string(), file, wanted)?,
                Bytes::Pinned(store, pin) => read_pinned(&store, &name, format, pin, wanted, &mut advisories)?,
            }
        }
        Ok(advisories)
    }

    /// The vulnerabilities that a new lock fixes, by the pinned advisories in the store. None if they are missing: a lock does not
    /// depend on them.
    pub(in crate::cli) fn fixed_by(&self, project: &Project, store: &Store, old: &Lock, new: &Lock) -> Result<Vec<Fixed>> {
        let (sources, pins) = (sources(project)?, pins(project)?);
        let wanted = Wanted::of(&[software(old), software(new)]);
        let mut advisories = Advisories::default();
        for (name, source) in sources.0 {
            let pin = pins.0.get(&name).copied();
            let Some(pin) = pin.filter(|pin| store.contains(&pin.sha256).unwrap_or(false)) else { continue };
            read_pinned(store, &name, source.format, pin, &wanted, &mut advisories)?;
        }
        Ok(fixed_by(&advisories, old, new))
    }
}

/// The publishers' files. A project that does not name any uses those of this version.
fn sources(project: &Project) -> Result<Sources> {
    let text = match project.text(SOURCES)? {
        Some(text) => text,
        None => Project::Shipped.text(SOURCES)?.ok_or_else(|| Error::internal(format!("{SOURCES} is not shipped")))?,
    };
    Sources::parse(SOURCES, &text)
}

fn pins(project: &Project) -> Result<Pins> {
    Ok(project.text(ADVISORIES_LOCK)?.map(|text| Pins::parse(ADVISORIES_LOCK, &text)).transpose()?.unwrap_or_default())
}

fn unpinned(name: &ArtifactName) -> Error {
    Error::user(format!("the advisories `{name}` are not pinned in {ADVISORIES_LOCK}"))
        .hint(UPDATE)
        .hint(format!("or read a local file: `kbake cve ROLE --advisories {name}=FILE`"))
}

/// Fetches pinned bytes that the store lacks.
fn fetch_pinned(
    store: &Store,
    name: &ArtifactName,
    source: &Source,
    pin: Pin,
    options: &fetch::Options,
    cancel: &crate::common::value::Cancel,
) -> Result<()> {
    let want = Want {
        name: format!("advisories {name}"),
        source: fetch::Source::Urls(vec![source.url.clone()]),
        digest: pin.sha256.into(),
        size: Some(pin.size),
    };
    fetch::fetch(store, &[want], options, &(), cancel).map_err(|error| repinned(&error, name))
}

/// The error of a fetch, with the commands that help here: advisories are not locked like artifacts, and their publishers replace them.
fn repinned(error: &Error, name: &ArtifactName) -> Error {
    let new = error.details().iter().fold(Error::new(error.class(), error.message()), |new, line| new.detail(line.clone()));
    let fitting = error.hints().iter().filter(|hint| !hint.contains("kbake "));
    let new = fitting.fold(new, |new, hint| new.hint(hint.clone()));
    new.hint(format!("publishers replace their advisories daily: {UPDATE}"))
        .hint(format!("or read a local file: `kbake cve ROLE --advisories {name}=FILE`"))
}

fn read_pinned(store: &Store, name: &ArtifactName, format: Format, pin: Pin, wanted: &Wanted, into: &mut Advisories) -> Result<()> {
    let gone = || Error::internal(format!("the advisories `{name}` are gone from the store"));
    let mut reader: VerifyingReader = store.reader(&pin.sha256)?.ok_or_else(gone)?;
    // Damaged bytes are reported as such, not as what they look like.
    let added = into.add(format, &format!("advisories `{name}`"), &mut reader, wanted);
    added.map_err(|error| store.explain(error, [pin.sha256]))?;
    // Only whoever reads to the end has read verified bytes.
    std::io::copy(&mut reader, &mut std::io::sink()).map(drop).map_err(|e| Error::io(format_args!("read the advisories `{name}`"), &e))
}

fn item<'a>(name: &'a ArtifactName, digest: Sha256, size: u64) -> Item<'a> {
    Item { kind: ItemKind::Blob, name: name.as_str(), digest: Some(digest.into()), bytes: Some(size) }
}
