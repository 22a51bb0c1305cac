//! Recipes and sources → lock entries, through the host's apt in a private state that sees one mirror for each suite, trusts its
//! keyring and ignores the host's own packages.
//!
//! Names go in, exact versions with digests come out; only indexes are downloaded. The lock does not name the mirror.

mod armour;
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
use crate::common::value::{Cancel, Mirror, PackageName, Timestamp, Version};
use crate::spec::lock::{Change, Entry, Lock, LockedSuite, Request, SetName, Verified, WantedSuite, changes, packages};
use crate::spec::recipe::{Recipe, RecipePath, Sources, Suite, archives, check_mirrors};
use crate::{Error, Result};

use output::{Available, Stanza};
use signature::Signed;
use state::{Fetched, State, Surroundings};

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
    pub mirrors: &'a [Mirror],
    /// The packages that may move to a newer version.
    pub upgrade: Upgrade,
    /// The time whose state of the suites is asked for, from archives of snapshots; none for the current state.
    pub at: Option<Timestamp>,
    /// The user's login for a mirror, as an entry of apt's netrc.
    pub login: &'a dyn Fn(&str) -> Result<Option<SecretString>>,
    /// Reads a file below `recipes/`; none if it does not exist.
    pub project: &'a dyn Fn(&RecipePath) -> Result<Option<Vec<u8>>>,
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
        /// The suite.
        suite: String,
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
/// A host tool is missing; no mirror answers for a suite with a good signature, or none with a state that is as new as the lock's;
/// the suites lack a name (with its place in the recipe); dependencies cannot be met; or a locked version has other bytes.
pub(crate) fn lock(wanted: Wanted<'_>, old: Option<&Lock>, options: &Options<'_>, events: &dyn Fn(Event)) -> Result<(Lock, Vec<Change>)> {
    pins::check_upgrade(old, &options.upgrade)?;
    host::check_tools(options.host, options.cancel)?;
    let candidates = candidates(wanted.sources, options)?;
    let all: Vec<String> = candidates.iter().flatten().cloned().collect();
    let access = MirrorAccess::of_host(options.host, &all, options.cancel)?;
    access.refused.iter().cloned().for_each(|setting| events(Event::NotTakenOver { setting }));
    let Options { host, login, project, cancel, .. } = *options;
    let around = Surroundings { host, access: &access, login, project, cancel };
    let mut state = State::new(around, &options.scratch, wanted.sources, options.at.is_some())?;
    let mut suites = Vec::new();
    for (suite, mirrors) in wanted.sources.suites.iter().zip(&candidates) {
        let least = old.filter(|_| options.at.is_none()).and_then(|old| released(old, suite));
        suites.push(ask(&mut state, wanted.sources, suite, mirrors, least, options, events)?);
    }
    let available = check_names(&state, wanted, old)?;
    let none = BTreeSet::new();
    let pins = old.map(|old| pins::pins(old, &options.upgrade, &available));
    if let Some(pins) = &pins {
        state.pin(&pins.kept)?;
    }
    let known = old.filter(|_| options.upgrade == Upgrade::Nothing).map(|old| Known { old, available: &available });
    let sets = resolve_sets(&state, wanted, known.as_ref(), events)?;
    let entries = entries(&sets, &suites, old, &options.upgrade)?;
    let dated = |asked: &Asked<'_>| LockedSuite { suite: WantedSuite::of(asked.suite), released: Some(asked.signed.released) };
    let lock = Lock::new(&Request::of(wanted.sources, wanted.recipes)?, suites.iter().map(dated).collect(), entries)?;
    let changes = changes(old, &lock, pins.as_ref().map_or(&none, |pins| &pins.vanished));
    Ok((lock, changes))
}

/// A suite, and its state that a mirror offered.
struct Asked<'a> {
    suite: &'a Suite,
    signed: Signed,
    fetched: Fetched,
}

/// The date of the state in which a suite was locked.
fn released(old: &Lock, suite: &Suite) -> Option<Timestamp> {
    old.suites.iter().find(|locked| locked.suite.name == suite.name.value && locked.suite.archive == suite.archive)?.released
}

/// The mirrors to ask for each suite, in order: the user's, then the host's own; for an earlier state, the user's and the suite's
/// archive of snapshots.
fn candidates(sources: &Sources, options: &Options<'_>) -> Result<Vec<Vec<String>>> {
    let archives = archives(&sources.suites);
    check_mirrors(options.mirrors, &archives)?;
    let mut hosts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    if options.at.is_none() {
        for archive in &archives {
            hosts.insert(archive.name.as_str(), host_mirrors(options.host, archive, options.cancel)?);
        }
    }
    let mut found = Vec::new();
    for suite in &sources.suites {
        let given = options.mirrors.iter().filter(|mirror| mirror.may_have(suite.archive.as_str()));
        let mut mirrors = given.map(|mirror| address(&mirror.base)).collect::<Result<Vec<_>>>()?;
        match options.at {
            None => mirrors.extend(hosts.get(suite.archive.as_str()).into_iter().flatten().cloned()),
            Some(time) => mirrors.extend(suite.snapshot.iter().map(|snapshot| snapshot.value.at(time))),
        }
        let mut seen = BTreeSet::new();
        mirrors.retain(|mirror| seen.insert(mirror.clone()));
        found.push(mirrors);
    }
    Ok(found)
}

/// A mirror's address as typed, with a final slash.
fn address(given: &str) -> Result<String> {
    mirror::usable(given).ok_or_else(|| {
        Error::user(format!("`{}` is not a mirror address that kbake supports", shown(given)))
            .hint("give an http:, https: or file: address")
    })
}

/// Takes a suite from the first mirror that offers it with a good signature, in a state that is not older than `least`.
fn ask<'a>(
    state: &mut State<'_>,
    sources: &Sources,
    suite: &'a Suite,
    mirrors: &[String],
    least: Option<Timestamp>,
    options: &Options<'_>,
    events: &dyn Fn(Event),
) -> Result<Asked<'a>> {
    let mut refusals = Vec::new();
    for mirror in mirrors {
        events(Event::Asking { suite: suite.name.value.to_string(), mirror: shown(mirror) });
        let answer = state.update(suite, mirror).and_then(|fetched| {
            let signed = signature::signed(state, suite, sources.arch, &fetched.release, &sources.file)?;
            not_older(signed, least).map(|signed| Asked { suite, signed, fetched })
        });
        match answer {
            Ok(asked) => {
                state.accept(suite, mirror)?;
                return Ok(asked);
            }
            Err(error) if ![Class::Network, Class::Integrity].contains(&error.class()) => return Err(error),
            Err(error) => {
                events(Event::Refused { mirror: shown(mirror), reason: error.message().to_owned() });
                refusals.push((shown(mirror), state.explain(mirror, error)));
            }
        }
    }
    Err(no_mirror(suite, refusals, options.at, &sources.file))
}

/// Refuses a state that is older than the locked one. A mirror may be behind, so this is no integrity error; but an old release
/// file has a good signature too, and would bring back known vulnerabilities.
fn not_older(signed: Signed, least: Option<Timestamp>) -> Result<Signed> {
    match least.filter(|least| signed.released < *least) {
        None => Ok(signed),
        Some(least) => {
            let error = Error::new(Class::Network, "its state is older than the lockfile's");
            let error = error.detail(format!("locked {least}, found {}", signed.released));
            Err(error.hint("`--at TIME` goes back to an earlier state on purpose"))
        }
    }
}

fn no_mirror(suite: &Suite, refusals: Vec<(String, Error)>, at: Option<Timestamp>, file: &str) -> Error {
    let (name, archive) = (&suite.name.value, &suite.archive);
    let broken = refusals.iter().any(|(_, error)| error.class() == Class::Integrity);
    let class = if broken { Class::Integrity } else { Class::Network };
    let naming = format!("name one with `--mirror {archive}=URL`");
    let (message, hint) = match (refusals.is_empty(), class, at) {
        (true, _, None) => (format!("no mirror is known that could carry the suite `{name}`"), naming),
        (true, _, Some(_)) => {
            let hint = format!("add `snapshot` to the suite in `{file}`, or {naming}");
            (format!("no archive of snapshots is known for the suite `{name}`"), hint)
        }
        (_, Class::Integrity, _) => {
            let message = format!("no mirror offers the suite `{name}` with a good signature");
            (message, format!("nothing was changed; {}", naming.replace("one", "another")))
        }
        _ => {
            let hint = format!("nothing was changed; check the network, or {}", naming.replace("one", "another"));
            (format!("no mirror answered for the suite `{name}`"), hint)
        }
    };
    let mut error = Error::new(class, message);
    if refusals.is_empty() && at.is_none() {
        error = error.detail(format!("this host's apt has no mirror of the archive `{archive}` among its sources"));
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

/// The suites' versions of all requested and locked packages, after refusing names that they lack.
fn check_names(state: &State<'_>, wanted: Wanted<'_>, old: Option<&Lock>) -> Result<Available> {
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

/// The suites of a channel, for messages.
fn named(sources: &Sources) -> String {
    let names: Vec<String> = sources.suites.iter().map(|suite| format!("`{}`", suite.name.value)).collect();
    format!("the suite{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

/// The error for a name that cannot be locked: it is virtual, or unknown.
fn not_there(state: &State<'_>, sources: &Sources, package: &Located<PackageName>) -> Result<Error> {
    let (name, suites) = (&package.value, named(sources));
    let verb = if sources.suites.len() == 1 { "has" } else { "have" };
    let providers = output::providers(&state.run("apt-cache", ["showpkg", name.as_str()])?.stdout);
    if !providers.is_empty() {
        let names = providers.into_iter().collect::<Vec<_>>().join(", ");
        let error = package.place.error(format!("`{name}` is a virtual package in {suites}, and cannot be locked"));
        return Ok(error.hint(format!("name one that provides it: {names}")));
    }
    let all = state.run("apt-cache", ["pkgnames"])?.stdout;
    let error = package.place.error(format!("{suites} {verb} no package `{name}`"));
    Ok(match nearest(name.as_str(), all.lines()) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint("check the name, or the suites and their `components` in the sources file"),
    })
}

/// Package → version, and the sets that need it.
type Resolved = BTreeMap<PackageName, (Version, BTreeSet<SetName>)>;

/// A lock without upgrades, and the archive's current versions of its packages.
struct Known<'a> {
    old: &'a Lock,
    available: &'a Available,
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
    // Only downloads are printed, and on an empty system that is everything. `--simulate` would also order the installation, for
    // three times as long.
    let arguments = ["install", "--print-uris", "--yes", "-q", "?essential"].into_iter().chain(names.iter().map(PackageName::as_str));
    let output = state.run("apt-get", arguments)?;
    if output.success {
        return output::downloads(&output.stdout);
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
fn entries(found: &Resolved, suites: &[Asked<'_>], old: Option<&Lock>, upgrade: &Upgrade) -> Result<Vec<Entry>> {
    let before: BTreeMap<&PackageName, &Entry> = old.iter().flat_map(|lock| lock.entries()).map(|entry| (&entry.name, entry)).collect();
    let mut stanzas: BTreeMap<PackageName, (Stanza, &Asked<'_>)> = BTreeMap::new();
    // A version can be in several suites, at another path in each: the first one keeps it longest.
    for asked in suites {
        for stanza in described(found, &asked.fetched.packages)? {
            stanzas.entry(stanza.name.clone()).or_insert((stanza, asked));
        }
    }
    let mut entries = Vec::new();
    for (name, (version, sets)) in found {
        let Some((stanza, asked)) = stanzas.remove(name) else {
            return Err(Error::internal(format!("apt resolved `{name}` {version}, which is in no index")));
        };
        entries.push(entry(stanza, sets.clone(), before.get(name).copied(), upgrade, asked)?);
    }
    Ok(entries)
}

/// The stanzas of the resolved versions in indexes of packages.
fn described(found: &Resolved, indexes: &[PathBuf]) -> Result<Vec<Stanza>> {
    let mut stanzas = Vec::new();
    for index in indexes {
        let text = fsx::read_if_present(index)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        for part in text.split("\n\n").map(str::trim_start) {
            let name = part.strip_prefix("Package: ").and_then(|rest| rest.lines().next()?.parse::<PackageName>().ok());
            let Some((version, _)) = name.and_then(|name| found.get(&name)) else { continue };
            if part.lines().any(|line| line.strip_prefix("Version: ") == Some(version.as_str())) {
                stanzas.push(output::stanza(part)?);
            }
        }
    }
    Ok(stanzas)
}

fn entry(stanza: Stanza, sets: BTreeSet<SetName>, before: Option<&Entry>, upgrade: &Upgrade, asked: &Asked<'_>) -> Result<Entry> {
    let Stanza { name, version, arch, source_version, source, size, sha256 } = stanza;
    let mut verified = Verified::OpenPgp(asked.signed.key.clone());
    if let Some(before) = before.filter(|before| before.version == version && before.arch == arch) {
        if before.sha256 == sha256 {
            // The same bytes: the first verification stays, so that the line does not change.
            verified = before.verified.clone();
        } else if !pins::is_wanted(upgrade, &name) {
            let error = Error::integrity(format!("the archive has other bytes for `{name}` {version} than the lockfile"));
            let error = error.detail(format!("expected sha256:{}  found sha256:{sha256}", before.sha256));
            return Err(error.hint(format!("a version's bytes never change in an archive; if it was truly re-released, run `kbake lock --upgrade package:{name}` and review the change")));
        }
    }
    let archive = asked.suite.archive.clone();
    Ok(Entry { name, version, arch, source_version, archive, source, size, sha256, verified, sets })
}
