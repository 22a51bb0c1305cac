//! Recipes and sources → lock entries, through the host's apt in a private state that sees one mirror, trusts one keyring and
//! ignores the host's own packages.
//!
//! Names go in, exact versions with digests come out; only indexes are downloaded. The lock does not name the mirror.

mod host;
mod mirror;
mod mirror_access;
mod output;
mod pins;
mod signature;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use secrecy::SecretString;

use crate::common::document::{Located, nearest};
use crate::common::error::Class;
use crate::common::fsx;
use crate::common::value::{Cancel, Fingerprint, PackageName, Version};
use crate::spec::lock::{Change, Entry, Lock, Request, SetName, Verified, changes, packages};
use crate::spec::recipe::{Recipe, Sources};
use crate::{Error, Result};

use output::Stanza;
use state::State;

pub(crate) use host::Host;
pub(crate) use mirror::{host_mirrors, shown, usable};
pub(crate) use mirror_access::MirrorAccess;
pub(crate) use pins::Upgrade;

/// The recipes and sources that request a channel's packages.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The base's recipe, then all roles'.
    pub recipes: &'a [Recipe],
    /// The channel.
    pub sources: &'a Sources,
}

/// Options of the resolution.
pub(crate) struct Options<'a> {
    /// The environment of the tools.
    pub host: &'a Host,
    /// Mirrors that the user named; they are tried before the host's own.
    pub mirrors: &'a [String],
    /// The packages that may move to a newer version.
    pub upgrade: Upgrade,
    /// The user's login for a mirror, as an entry of apt's netrc.
    pub login: &'a dyn Fn(&str) -> Result<Option<SecretString>>,
    /// A folder for apt's private state, about 60 MB, removed at the end.
    pub scratch: PathBuf,
    /// The user's request to stop.
    pub cancel: &'a Cancel,
}

/// Progress, for the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A mirror's indexes are fetched.
    Asking {
        /// The mirror's address, without a password.
        mirror: String,
    },
    /// A setting of the host's apt is ignored here.
    NotTakenOver {
        /// The setting as apt's configuration writes it: `Acquire::https::Verify-Peer "false"`.
        setting: String,
    },
    /// A mirror failed; the next one is tried.
    Refused {
        /// The mirror's address, without a password.
        mirror: String,
        /// The message of the error.
        reason: String,
    },
    /// A set's packages are resolved.
    Resolving {
        /// The name of the set.
        set: SetName,
    },
}

/// Resolves everything that is `wanted`, keeping the entries of the `old` lock.
///
/// # Errors
/// A host tool is missing; no mirror answers with a good signature; the suite lacks a name (with its place in the recipe);
/// dependencies cannot be met; or a locked version has other bytes.
pub(crate) fn lock(wanted: Wanted<'_>, old: Option<&Lock>, options: &Options<'_>, events: &dyn Fn(Event)) -> Result<(Lock, Vec<Change>)> {
    pins::check_upgrade(old, &options.upgrade)?;
    let (state, key) = ask(wanted.sources, options, events)?;
    let available = check_names(&state, wanted, old)?;
    let none = BTreeSet::new();
    let pins = old.map(|old| pins::pins(old, &options.upgrade, &available));
    if let Some(pins) = &pins {
        state.pin(&pins.kept)?;
    }
    let known = old.filter(|_| options.upgrade == Upgrade::Nothing).map(|old| Known { old, available: &available });
    let sets = resolve_sets(&state, wanted, known.as_ref(), events)?;
    let entries = entries(&state, &sets, old, &options.upgrade, &key)?;
    let lock = Lock::new(&Request::of(wanted.sources, wanted.recipes)?, entries)?;
    let changes = changes(old, &lock, pins.as_ref().map_or(&none, |pins| &pins.vanished));
    Ok((lock, changes))
}

/// The first mirror that offers the suite with a good signature, and the key that signed.
fn ask<'a>(sources: &Sources, options: &Options<'a>, events: &dyn Fn(Event)) -> Result<(State<'a>, Fingerprint)> {
    host::check_tools(options.host, options.cancel)?;
    check_keyring(sources)?;
    let mut mirrors = Vec::new();
    for given in options.mirrors {
        let usable = mirror::usable(given);
        mirrors.push(usable.ok_or_else(|| {
            Error::user(format!("`{}` is not a mirror address that kbake supports", shown(given)))
                .hint("give an http:, https: or file: address")
        })?);
    }
    for own in host_mirrors(options.host, sources.suite.value.as_str(), options.cancel)? {
        if !mirrors.contains(&own) {
            mirrors.push(own);
        }
    }
    let access = MirrorAccess::of_host(options.host, &mirrors, options.cancel)?;
    access.refused.iter().cloned().for_each(|setting| events(Event::NotTakenOver { setting }));
    let mut refusals = Vec::new();
    for mirror in &mirrors {
        events(Event::Asking { mirror: shown(mirror) });
        let login = (options.login)(mirror)?;
        let state = State::new(options.host, &options.scratch, &access, login.as_ref(), sources, mirror, options.cancel)?;
        let answer = state.update().and_then(|()| signature::signer(&state, sources));
        match answer {
            Ok(key) => return Ok((state, key)),
            Err(error) if ![Class::Network, Class::Integrity].contains(&error.class()) => return Err(error),
            Err(error) => {
                events(Event::Refused { mirror: shown(mirror), reason: error.message().to_owned() });
                refusals.push((shown(mirror), access.explain(mirror, error)));
            }
        }
    }
    Err(no_mirror(sources, refusals))
}

fn check_keyring(sources: &Sources) -> Result<()> {
    if fsx::exists(sources.keyring.value.as_str().as_ref())? {
        return Ok(());
    }
    let error = sources.keyring.place.error(format!("the keyring `{}` does not exist", sources.keyring.value));
    Err(error.hint("install the package `debian-archive-keyring`, or name the file that holds the archive's keys"))
}

fn no_mirror(sources: &Sources, refusals: Vec<(String, Error)>) -> Error {
    let suite = &sources.suite.value;
    let broken = refusals.iter().any(|(_, error)| error.class() == Class::Integrity);
    let class = if broken { Class::Integrity } else { Class::Network };
    let (message, hint) = match (refusals.is_empty(), class) {
        (true, _) => (format!("no mirror is known that could carry the suite `{suite}`"), "name one with `--mirror URL`"),
        (_, Class::Integrity) => {
            (format!("no mirror offers the suite `{suite}` with a good signature"), "nothing was changed; name another with `--mirror URL`")
        }
        _ => (
            format!("no mirror answered for the suite `{suite}`"),
            "nothing was changed; check the network, or name another with `--mirror URL`",
        ),
    };
    let mut error = Error::new(class, message);
    if refusals.is_empty() {
        error = error.detail("this host's apt has no mirror of Debian's archive among its sources");
    }
    let mut remedies = BTreeSet::new();
    for (mirror, reason) in refusals {
        // The first line with the mirror, then the reason's other lines.
        error = error.detail(format!("{mirror}: {}", reason.message()));
        error = reason.details().iter().fold(error, |error, line| error.detail(format!("  {}", line.trim_start())));
        remedies.extend(reason.hints().iter().cloned());
    }
    remedies.into_iter().fold(error, Error::hint).hint(hint)
}

/// The archive's versions of all requested and locked packages, after refusing names that it lacks.
fn check_names(state: &State<'_>, wanted: Wanted<'_>, old: Option<&Lock>) -> Result<BTreeMap<PackageName, BTreeSet<Version>>> {
    let asked: Vec<_> = packages(wanted.sources, wanted.recipes)?.into_values().flatten().collect();
    let locked = old.iter().flat_map(|lock| lock.entries()).map(|entry| &entry.name);
    let names: BTreeSet<&PackageName> = asked.iter().map(|package| &package.value).chain(locked).collect();
    let output = state.run("apt-cache", ["madison"].into_iter().chain(names.iter().map(|name| name.as_str())))?;
    let available = output::available(&output.stdout);
    match asked.into_iter().find(|package| !available.contains_key(&package.value)) {
        None => Ok(available),
        Some(package) => Err(not_there(state, wanted.sources, &package)?),
    }
}

/// The error for a name that cannot be locked: it is virtual, or unknown.
fn not_there(state: &State<'_>, sources: &Sources, package: &Located<PackageName>) -> Result<Error> {
    let (name, suite) = (&package.value, &sources.suite.value);
    let providers = output::providers(&state.run("apt-cache", ["showpkg", name.as_str()])?.stdout);
    if !providers.is_empty() {
        let names = providers.into_iter().collect::<Vec<_>>().join(", ");
        let error = package.place.error(format!("`{name}` is a virtual package in the suite `{suite}`, and cannot be locked"));
        return Ok(error.hint(format!("name one that provides it: {names}")));
    }
    let all = state.run("apt-cache", ["pkgnames"])?.stdout;
    let error = package.place.error(format!("the suite `{suite}` has no package `{name}`"));
    Ok(match nearest(name.as_str(), all.lines()) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint("check the name, or the `suite` and `components` of the sources file"),
    })
}

/// Package → version, and the sets that need it.
type Resolved = BTreeMap<PackageName, (Version, BTreeSet<SetName>)>;

/// A lock without upgrades, and the archive's current versions of its packages.
struct Known<'a> {
    old: &'a Lock,
    available: &'a BTreeMap<PackageName, BTreeSet<Version>>,
}

impl Known<'_> {
    /// A set's earlier resolution, if its request is unchanged and the archive still has all of those versions.
    fn set(&self, set: &SetName, names: &BTreeSet<PackageName>) -> Option<BTreeMap<PackageName, Version>> {
        let is_there =
            |(name, version): (&PackageName, &Version)| self.available.get(name).is_some_and(|versions| versions.contains(version));
        let entries = self.old.entries().filter(|entry| entry.sets.contains(set));
        let members: BTreeMap<_, _> = entries.map(|entry| (entry.name.clone(), entry.version.clone())).collect();
        let answered = |base: BTreeSet<PackageName>| names.iter().all(|name| members.contains_key(name) || base.contains(name));
        let same = self.old.request.get(set) == Some(names) && answered(self.old.members(&SetName::Base));
        (same && members.iter().all(is_there)).then_some(members)
    }
}

/// The base's closure first; a role's set is its additions to that. Sets with an unchanged request stay as they are: apt needs
/// seconds for each.
fn resolve_sets(state: &State<'_>, wanted: Wanted<'_>, known: Option<&Known<'_>>, events: &dyn Fn(Event)) -> Result<Resolved> {
    let mut asked = Request::of(wanted.sources, wanted.recipes)?.sets;
    let names = asked.remove(&SetName::Base).unwrap_or_default();
    let kept = known.and_then(|known| known.set(&SetName::Base, &names));
    // On a changed base, every role's additions may change.
    let known = known.filter(|_| kept.is_some());
    let base = match kept {
        Some(base) => base,
        None => {
            events(Event::Resolving { set: SetName::Base });
            closure(state, &SetName::Base, names)?
        }
    };
    let mut found: Resolved = BTreeMap::new();
    let mut add = |set: &SetName, packages: BTreeMap<PackageName, Version>| {
        for (name, version) in packages {
            found.entry(name).or_insert_with(|| (version, BTreeSet::new())).1.insert(set.clone());
        }
    };
    let tools = asked.remove(&SetName::Tool).unwrap_or_default();
    for (set, names) in asked {
        if let Some(packages) = known.and_then(|known| known.set(&set, &names)) {
            add(&set, packages);
            continue;
        }
        events(Event::Resolving { set: set.clone() });
        // The base is included by name, so that a role's choice among alternatives cannot change it.
        let names = names.into_iter().chain(base.keys().cloned()).collect();
        let mut packages = closure(state, &set, names)?;
        packages.retain(|name, _| !base.contains_key(name));
        add(&set, packages);
    }
    add(&SetName::Base, base);
    for tool in &tools {
        let stanza = only_stanza(state, &["show", "--no-all-versions", tool.as_str()])?;
        add(&SetName::Tool, [(stanza.name, stanza.version)].into());
    }
    Ok(found)
}

/// The packages to install for `names`, including the essential ones, on an empty system.
fn closure(state: &State<'_>, set: &SetName, names: BTreeSet<PackageName>) -> Result<BTreeMap<PackageName, Version>> {
    let arguments = ["install", "--simulate", "-q", "?essential"].into_iter().chain(names.iter().map(PackageName::as_str));
    let output = state.run("apt-get", arguments)?;
    if output.success {
        return output::installs(&output.stdout);
    }
    let error = Error::user(format!("apt finds no way to install the packages of `{set}` together"));
    let told = output.stdout.lines().skip_while(|line| !line.starts_with("The following packages have unmet")).take(20);
    let error = told.map(|line| line.trim_end().to_owned()).chain(output.complaint()).fold(error, Error::detail);
    Err(error.hint("if locked versions cause the conflict, `kbake lock --upgrade` moves all of them"))
}

fn only_stanza(state: &State<'_>, arguments: &[&str]) -> Result<Stanza> {
    let mut found = output::stanzas(&state.run("apt-cache", arguments)?.stdout)?;
    match (found.pop(), found.is_empty()) {
        (Some(stanza), true) => Ok(stanza),
        _ => Err(Error::internal(format!("`apt-cache {}` did not show one package", arguments.join(" ")))),
    }
}

/// The lock's entries for all resolved packages.
fn entries(state: &State<'_>, found: &Resolved, old: Option<&Lock>, upgrade: &Upgrade, key: &Fingerprint) -> Result<Vec<Entry>> {
    let named = found.iter().map(|(name, (version, _))| format!("{name}={version}"));
    let output = state.run("apt-cache", ["show".to_owned()].into_iter().chain(named))?;
    let mut stanzas: BTreeMap<PackageName, Stanza> = BTreeMap::new();
    for stanza in output::stanzas(&output.stdout)? {
        stanzas.insert(stanza.name.clone(), stanza);
    }
    let before: BTreeMap<&PackageName, &Entry> = old.iter().flat_map(|lock| lock.entries()).map(|entry| (&entry.name, entry)).collect();
    let mut entries = Vec::new();
    for (name, (version, sets)) in found {
        let stanza = stanzas.remove(name).filter(|stanza| stanza.version == *version);
        let stanza = stanza.ok_or_else(|| Error::internal(format!("apt resolved `{name}` {version} and then did not show it")))?;
        entries.push(entry(stanza, sets.clone(), before.get(name).copied(), upgrade, key)?);
    }
    Ok(entries)
}

fn entry(stanza: Stanza, sets: BTreeSet<SetName>, before: Option<&Entry>, upgrade: &Upgrade, key: &Fingerprint) -> Result<Entry> {
    let Stanza { name, version, arch, source, size, sha256 } = stanza;
    let mut verified = Verified::OpenPgp(key.clone());
    if let Some(before) = before.filter(|before| before.version == version && before.arch == arch) {
        if before.sha256 == sha256 {
            // The same bytes: the first verification stays, so that the line does not change.
            verified = before.verified.clone();
        } else if !pins::is_wanted(upgrade, &name) {
            let error = Error::integrity(format!("the archive has other bytes for `{name}` {version} than the lockfile"));
            let error = error.detail(format!("expected sha256:{}  found sha256:{sha256}", before.sha256));
            return Err(error.hint(format!("a version's bytes never change in Debian; if it was truly re-released, run `kbake lock --upgrade package:{name}` and review the change")));
        }
    }
    Ok(Entry { name, version, arch, source, size, sha256, verified, sets })
}
