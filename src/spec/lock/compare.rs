//! Comparison of two locks, for the review of an update: additions, removals, changed versions, and weaker verifications.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use super::{Entry, Lock, LockedArtifact, LockedImage, LockedSuite, Verified, WantedSuite};

/// One difference. Shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The kind of difference.
    pub kind: Kind,
    /// `package`, `artifact`, `image`, or the lock's own `suite` and the like.
    pub what: &'static str,
    /// Its name, with the architecture if that is ambiguous otherwise.
    pub name: String,
    /// The old and the new value, for people.
    pub said: String,
}

/// The kinds of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has another version or another source.
    Moved,
    /// It has the same version and other bytes: the publisher changed a release, or somebody in between did.
    OtherBytes,
    /// The same bytes have a weaker verification than before.
    Weaker,
    /// The same bytes have another verification that is not weaker.
    Confirmed,
    /// Other sets need it, or other words of the request changed.
    Regrouped,
}

/// All differences: the lock's own values, artifacts, images, packages, each sorted by name.
pub(crate) fn differences(old: &Lock, new: &Lock) -> Vec<Difference> {
    let mut found = Vec::new();
    words(old, new, &mut found);
    sides(&old.artifacts, &new.artifacts, artifact, &mut found);
    sides(&old.images, &new.images, image, &mut found);
    sides(&old.entries, &new.entries, package, &mut found);
    found
}

fn sides<K: Ord, V: PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    tell: impl Fn(Option<&V>, Option<&V>) -> Vec<Difference>,
    found: &mut Vec<Difference>,
) {
    for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (from, to) = (old.get(key), new.get(key));
        if from != to {
            found.extend(tell(from, to));
        }
    }
}

/// Differences of the lock's own values.
fn words(old: &Lock, new: &Lock, found: &mut Vec<Difference>) {
    let mut word = |what, from: String, to: String| {
        if from != to {
            found.push(Difference { kind: Kind::Moved, what, name: String::new(), said: format!("{from} → {to}") });
        }
    };
    word("channel", old.channel.to_string(), new.channel.to_string());
    word("arch", old.arch.to_string(), new.arch.to_string());
    found.extend(suites(old, new));
    for set in old.request.keys().chain(new.request.keys()).collect::<BTreeSet<_>>() {
        let none = BTreeSet::new();
        let (from, to) = (old.request.get(set).unwrap_or(&none), new.request.get(set).unwrap_or(&none));
        let added = to.difference(from).map(|name| format!("+{name}"));
        let said: Vec<String> = added.chain(from.difference(to).map(|name| format!("-{name}"))).collect();
        if !said.is_empty() {
            found.push(Difference { kind: Kind::Regrouped, what: "request", name: set.to_string(), said: said.join(" ") });
        }
    }
}

/// Differences of suites: those that only one lock has, and those with another date.
fn suites(old: &Lock, new: &Lock) -> Vec<Difference> {
    let only_new = new.suites.iter().filter(|locked| !old.suites.iter().any(|other| other.suite == locked.suite));
    let said = |lock: &Lock, suite: &WantedSuite| match lock.suites.iter().find(|locked| locked.suite == *suite) {
        Some(LockedSuite { released: Some(time), .. }) => time.to_string(),
        Some(LockedSuite { released: None, .. }) => "not resolved".to_owned(),
        None => "none".to_owned(),
    };
    let all = old.suites.iter().chain(only_new).map(|locked| &locked.suite);
    let sides = all.map(|suite| (suite, said(old, suite), said(new, suite))).filter(|(_, from, to)| from != to);
    let told = |(suite, from, to)| Difference {
        kind: Kind::Moved,
        what: "suite",
        name: WantedSuite::to_string(suite),
        said: format!("{from} → {to}"),
    };
    sides.map(told).collect()
}

fn package(from: Option<&Entry>, to: Option<&Entry>) -> Vec<Difference> {
    let Some(entry) = to.or(from) else { return Vec::new() };
    let name = format!("{} ({})", entry.name, entry.arch);
    let one = |kind, said: String| Difference { kind, what: "package", name: name.clone(), said };
    let (Some(from), Some(to)) = (from, to) else {
        let kind = if to.is_some() { Kind::Added } else { Kind::Removed };
        return vec![one(kind, format!("{}, for {}", entry.version, listed(&entry.sets)))];
    };
    let mut found = Vec::new();
    if from.version != to.version {
        found.push(one(Kind::Moved, format!("{} → {}", from.version, to.version)));
    } else if from.sha256 != to.sha256 {
        found.push(one(Kind::OtherBytes, format!("{}: sha256:{} → sha256:{}", to.version, from.sha256, to.sha256)));
    } else if from.archive != to.archive {
        found.push(one(Kind::Moved, format!("{} → {}", from.archive, to.archive)));
    } else if from.source != to.source || from.size != to.size {
        found.push(one(Kind::Moved, format!("{}, {} bytes → {}, {} bytes", from.source, from.size, to.source, to.size)));
    }
    found.extend(word_of(&from.verified, &to.verified).map(|(kind, said)| one(kind, said)));
    if from.sets != to.sets {
        found.push(one(Kind::Regrouped, format!("for {} → for {}", listed(&from.sets), listed(&to.sets))));
    }
    found
}

fn artifact(from: Option<&LockedArtifact>, to: Option<&LockedArtifact>) -> Vec<Difference> {
    let Some(entry) = to.or(from) else { return Vec::new() };
    let name = format!("{} ({})", entry.name, entry.arch);
    let one = |kind, said: String| Difference { kind, what: "artifact", name: name.clone(), said };
    let (Some(from), Some(to)) = (from, to) else {
        return vec![one(if to.is_some() { Kind::Added } else { Kind::Removed }, entry.shown())];
    };
    let mut found = Vec::new();
    if from.shown() != to.shown() {
        found.push(one(Kind::Moved, format!("{} → {}", from.shown(), to.shown())));
    } else if from.digest != to.digest {
        // A user's own build differs each time.
        let kind = if to.is_own() { Kind::Moved } else { Kind::OtherBytes };
        found.push(one(kind, format!("{}: {} → {}", to.shown(), from.digest, to.digest)));
    } else if from.source != to.source {
        found.push(one(Kind::Moved, format!("{} → {}", from.source, to.source)));
    } else if from.size != to.size {
        let size = |size: Option<u64>| size.map_or("unknown".to_owned(), |size| size.to_string());
        found.push(one(Kind::Confirmed, format!("size {} → {}", size(from.size), size(to.size))));
    }
    found.extend(word_of(&from.verified, &to.verified).map(|(kind, said)| one(kind, said)));
    found
}

fn image(from: Option<&LockedImage>, to: Option<&LockedImage>) -> Vec<Difference> {
    let Some(entry) = to.or(from) else { return Vec::new() };
    let one = |kind, said: String| Difference { kind, what: "image", name: entry.name.to_string(), said };
    let (Some(from), Some(to)) = (from, to) else {
        return vec![one(if to.is_some() { Kind::Added } else { Kind::Removed }, entry.reference.to_string())];
    };
    let mut found = Vec::new();
    if from.reference != to.reference {
        found.push(one(Kind::Moved, format!("{} → {}", from.reference, to.reference)));
    } else if from.digest != to.digest {
        found.push(one(Kind::OtherBytes, format!("{}: sha256:{} → sha256:{}", to.reference, from.digest, to.digest)));
    }
    found.extend(word_of(&from.verified, &to.verified).map(|(kind, said)| one(kind, said)));
    found
}

/// The change of a digest's verification. The address of a checksum file moves with the version, and does not count.
fn word_of(from: &Verified, to: &Verified) -> Option<(Kind, String)> {
    let said = || format!("verified by {from} → {to}");
    match (from, to) {
        (Verified::OpenPgp(a), Verified::OpenPgp(b)) if a != b => Some((Kind::Weaker, format!("{}: another key has signed", said()))),
        _ if strength(to) < strength(from) => Some((Kind::Weaker, said())),
        _ if std::mem::discriminant(from) != std::mem::discriminant(to) => Some((Kind::Confirmed, said())),
        _ => None,
    }
}

/// The strength of a verification: a signature; the publisher's own checksums; a person's choice; a third party's record; the
/// first download.
fn strength(verified: &Verified) -> u8 {
    match verified {
        Verified::OpenPgp(_) => 5,
        Verified::Checksum(_) => 4,
        Verified::Imported(_) | Verified::Local => 3,
        Verified::Recorded(_) | Verified::Registry => 2,
        Verified::Mirror(_) => 1,
        Verified::Download => 0,
    }
}

fn listed<T: Display>(items: &BTreeSet<T>) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind {
            Kind::Added => "add",
            Kind::Removed => "remove",
            Kind::Moved => "move",
            Kind::OtherBytes => "OTHER BYTES",
            Kind::Weaker => "WEAKER",
            Kind::Confirmed => "confirm",
            Kind::Regrouped => "regroup",
        };
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        write!(f, "{word:<11} {}{name}: {}", self.what, self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../lockfiles/upstream.lock");

    fn told(from: &str, to: &str) -> Vec<String> {
        let parse = |text: &str| Lock::parse(text, "l").unwrap();
        let text = SHIPPED.replacen(from, to, 1);
        assert_ne!(text, SHIPPED, "{from}");
        differences(&parse(SHIPPED), &parse(&text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_lock_does_not_differ_from_itself() {
        let lock = Lock::parse(SHIPPED, "l").unwrap();
        assert!(differences(&lock, &lock).is_empty());
    }

    #[test]
    fn each_thing_that_happens_has_its_word() {
        let lock = Lock::parse(SHIPPED, "l").unwrap();
        let package = lock.entries().next().unwrap().clone();
        let other = "0".repeat(64);
        let name = format!("{} ({})", package.name, package.arch);
        let digest = format!("sha256 = \"{}\"", package.sha256);
        assert_eq!(
            told(&digest, &format!("sha256 = \"{other}\"")),
            [format!("OTHER BYTES package {name}: {}: sha256:{} → sha256:{other}", package.version, package.sha256)]
        );
        let entry = super::super::print::lock(&lock);
        let start = entry.find("\n[[package]]").unwrap();
        let rest = &entry[start + 1..];
        let first = &rest[..rest.find("\n\n").unwrap() + 1];
        let moved = first.replace(&format!("version = \"{}\"", package.version), "version = \"9.9\"");
        assert_eq!(told(first, &moved), [format!("move        package {name}: {} → 9.9", package.version)]);
        assert_eq!(
            told(&format!("\n{first}"), ""),
            [format!("remove      package {name}: {}, for {}", package.version, listed(&package.sets))]
        );
        let weaker = first.replace(&format!("verified = \"{}\"", package.verified), "verified = \"download\"");
        assert_eq!(told(first, &weaker), [format!("WEAKER      package {name}: verified by {} → download", package.verified)]);
        let key = first.replace(&format!("verified = \"{}\"", package.verified), &format!("verified = \"openpgp:{}\"", "A".repeat(40)));
        assert!(told(first, &key)[0].ends_with(": another key has signed"));
    }

    #[test]
    fn artifacts_and_images_are_told_too() {
        let lock = Lock::parse(SHIPPED, "l").unwrap();
        let image = lock.images.values().next().unwrap();
        let other = "0".repeat(64);
        let said = told(&format!("sha256 = \"{}\"", image.digest), &format!("sha256 = \"{other}\""));
        assert_eq!(said, [format!("OTHER BYTES image {}: {}: sha256:{} → sha256:{other}", image.name, image.reference, image.digest)]);
        let artifact = lock.artifacts.values().next().unwrap();
        let said = told(&format!("{}", artifact.digest).replace("sha256:", "sha256 = \"").replace("sha512:", "sha512 = \""), &{
            let key = if artifact.digest.to_string().starts_with("sha512:") { "sha512" } else { "sha256" };
            format!("{key} = \"{}", "0".repeat(artifact.digest.to_string().len() - 7))
        });
        assert!(said[0].starts_with(&format!("OTHER BYTES artifact {} ({})", artifact.name, artifact.arch)), "{said:?}");
    }

    #[test]
    fn words_are_ranked() {
        let words =
            ["openpgp:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "checksum:https://a/b", "local", "registry", "mirror:x", "download"];
        let words: Vec<Verified> = words.iter().map(|word| word.parse().unwrap()).collect();
        for pair in words.windows(2) {
            assert_eq!(word_of(&pair[0], &pair[1]).unwrap().0, Kind::Weaker, "{pair:?}");
            assert_eq!(word_of(&pair[1], &pair[0]).unwrap().0, Kind::Confirmed, "{pair:?}");
        }
        let checksum = |at: &str| format!("checksum:https://{at}").parse::<Verified>().unwrap();
        assert_eq!(word_of(&checksum("a/1"), &checksum("a/2")), None);
    }
}
