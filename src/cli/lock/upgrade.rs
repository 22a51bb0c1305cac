//! Targets of `kbake lock --upgrade`: packages, artifacts and container images, which may share a name.

use std::collections::BTreeSet;

use crate::common::document::nearest;
use crate::common::error::{Class, Error, Result};
use crate::common::value::{ArtifactName, PackageName};
use crate::spec::apt;
use crate::spec::lock::{Lock, Request};
use crate::spec::recipe::ChannelName;
use crate::spec::upstream;

/// One thing to upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Package(PackageName),
    Artifact(ArtifactName),
    Image(ArtifactName),
}

/// The upgrades that the names select: `NAME`, `package:NAME`, `artifact:NAME`, `image:NAME`, an image's full name; an empty name
/// means everything.
///
/// # Errors
/// An ambiguous or unknown name; a name that is locked to a local file.
pub(super) fn upgrades(names: &[String], request: &Request, old: Option<&Lock>) -> Result<(apt::Upgrade, upstream::Upgrade)> {
    if names.is_empty() {
        return Ok((apt::Upgrade::Nothing, upstream::Upgrade::Nothing));
    }
    if names.iter().any(String::is_empty) {
        return Ok((apt::Upgrade::All, upstream::Upgrade::All));
    }
    let known = Known { request, old };
    let (mut packages, mut artifacts, mut images) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for text in names {
        match known.target(text)? {
            Target::Package(name) => _ = packages.insert(name),
            Target::Artifact(name) => _ = artifacts.insert(name),
            Target::Image(name) => _ = images.insert(name),
        }
    }
    let packages = if packages.is_empty() { apt::Upgrade::Nothing } else { apt::Upgrade::Names(packages) };
    Ok((packages, upstream::Upgrade::Names { artifacts, images }))
}

/// The objects that can be upgraded.
struct Known<'a> {
    request: &'a Request,
    old: Option<&'a Lock>,
}

impl Known<'_> {
    fn target(&self, text: &str) -> Result<Target> {
        let bad = |why: String| Error::new(Class::Usage, format!("--upgrade: {why}"));
        // Error messages about parts of an image contain its full name.
        if let Some((name, _)) = self.request.images.iter().find(|(_, reference)| reference.to_string() == text) {
            return Ok(Target::Image(name.clone()));
        }
        let target = match text.split_once(':') {
            Some(("package", name)) => return Ok(Target::Package(name.parse().map_err(bad)?)),
            Some(("artifact", name)) => self.artifact(name.parse().map_err(bad)?)?,
            Some(("image", name)) => self.image(name.parse().map_err(bad)?)?,
            Some((kind, _)) => {
                let error = bad(format!("`{}` is not a kind of lock entry", kind.escape_debug()));
                return Err(error.hint("the kinds are `package:NAME`, `artifact:NAME` and `image:NAME`"));
            }
            None => self.untyped(text)?,
        };
        match &target {
            Target::Artifact(name) => self.refuse_own(name)?,
            Target::Package(_) | Target::Image(_) => {}
        }
        Ok(target)
    }

    /// The target of a bare name, which must be unambiguous. An unknown name is taken for a package, because a lock may have any package.
    fn untyped(&self, text: &str) -> Result<Target> {
        let mut found = Vec::new();
        if let Ok(name) = text.parse::<ArtifactName>() {
            found.extend(self.artifacts().contains(&name).then(|| Target::Artifact(name.clone())));
            found.extend(self.images().contains(&name).then_some(Target::Image(name)));
        }
        if self.old.is_some_and(|lock| lock.entries().any(|entry| entry.name.as_str() == text)) {
            found.extend(text.parse().ok().map(Target::Package));
        }
        match &found[..] {
            [] => text.parse().map(Target::Package).map_err(|why| Error::new(Class::Usage, format!("--upgrade: {why}"))),
            [one] => Ok(one.clone()),
            several => Err(self.ambiguous(text, several)),
        }
    }

    fn ambiguous(&self, text: &str, several: &[Target]) -> Error {
        let words: Vec<&str> = several.iter().map(Target::kind).collect();
        let error = Error::new(Class::Usage, format!("--upgrade: `{text}` is {} in the channel `{}`", words.join(" and "), self.channel()));
        several.iter().fold(error, |error, target| error.hint(format!("kbake lock --upgrade {target} --channel {}", self.channel())))
    }

    fn artifact(&self, name: ArtifactName) -> Result<Target> {
        let known = self.artifacts();
        if known.contains(&name) { Ok(Target::Artifact(name)) } else { Err(unknown("artifact", &name, &known)) }
    }

    fn image(&self, name: ArtifactName) -> Result<Target> {
        let known = self.images();
        if known.contains(&name) { Ok(Target::Image(name)) } else { Err(unknown("image", &name, &known)) }
    }

    /// Refuses a local file, which has no publisher.
    fn refuse_own(&self, name: &ArtifactName) -> Result<()> {
        let own = self.old.iter().flat_map(|lock| lock.artifacts.values()).find(|entry| entry.name == *name && entry.is_own());
        let Some(entry) = own else { return Ok(()) };
        let channel = self.channel();
        let error = Error::user(format!("`{name}` is locked to the local file {}: it has no publisher to ask", entry.source));
        let wanted = self.request.artifacts.get(&(name.clone(), entry.arch));
        if wanted.is_some_and(|wanted| wanted.source == entry.source) {
            return Err(error.hint(format!("the channel's sources name it: `kbake lock --channel {channel}` locks its current content")));
        }
        Err(error
            .hint(format!("to lock the file's current content: kbake lock --set {name}=FILE --channel {channel}"))
            .hint(format!("to return to the publisher's: kbake lock --unset {name} --channel {channel}")))
    }

    /// The names of all requested or locked artifacts.
    fn artifacts(&self) -> BTreeSet<ArtifactName> {
        let asked = self.request.artifacts.keys().map(|(name, _)| name.clone());
        asked.chain(self.old.iter().flat_map(|lock| lock.artifacts.keys()).map(|(name, _)| name.clone())).collect()
    }

    fn images(&self) -> BTreeSet<ArtifactName> {
        self.request.images.keys().cloned().collect()
    }

    fn channel(&self) -> &ChannelName {
        &self.request.channel
    }
}

fn unknown(kind: &str, name: &ArtifactName, known: &BTreeSet<ArtifactName>) -> Error {
    let error = Error::user(format!("cannot upgrade the {kind} `{name}`: no recipe of the channel uses it"));
    match nearest(name.as_str(), known.iter().map(ArtifactName::as_str)) {
        Some(meant) => error.hint(format!("did you mean `{kind}:{meant}`?")),
        None => error.hint(format!("known: {}", known.iter().map(ArtifactName::as_str).collect::<Vec<_>>().join(", "))),
    }
}

impl Target {
    fn kind(&self) -> &'static str {
        match self {
            Target::Package(_) => "a package",
            Target::Artifact(_) => "an artifact",
            Target::Image(_) => "a container image",
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Package(name) => write!(f, "package:{name}"),
            Target::Artifact(name) => write!(f, "artifact:{name}"),
            Target::Image(name) => write!(f, "image:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::value::Arch;
    use crate::spec::lock::{ArtifactSource, Verified};
    use crate::spec::project::Project;

    fn shipped() -> (Request, Lock) {
        let channel = Project::Shipped.channel("upstream").unwrap();
        (crate::build::request(&channel).unwrap(), channel.lock.unwrap())
    }

    fn asked(names: &[&str], request: &Request, old: &Lock) -> Result<(apt::Upgrade, upstream::Upgrade)> {
        upgrades(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), request, Some(old))
    }

    fn of(names: &[&str]) -> BTreeSet<ArtifactName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn an_ambiguous_name_is_refused_with_both_meanings() {
        let (request, lock) = shipped();
        let error = asked(&["kube-proxy"], &request, &lock).unwrap_err();
        assert!(error.message().contains("`kube-proxy` is an artifact and a container image"), "{error}");
        let hints = ["artifact", "image"].map(|kind| format!("kbake lock --upgrade {kind}:kube-proxy --channel upstream"));
        assert_eq!(error.hints(), hints);
        for (name, artifacts, images) in
            [("artifact:kube-proxy", of(&["kube-proxy"]), of(&[])), ("image:kube-proxy", of(&[]), of(&["kube-proxy"]))]
        {
            let (packages, releases) = asked(&[name], &request, &lock).unwrap();
            assert_eq!((packages, releases), (apt::Upgrade::Nothing, upstream::Upgrade::Names { artifacts, images }));
        }
    }

    #[test]
    fn unknown_kinds_and_names_are_named() {
        let (request, lock) = shipped();
        let full = request.images[&"pause".parse().unwrap()].to_string();
        assert_eq!(asked(&[&full], &request, &lock).unwrap().1, upstream::Upgrade::Names { artifacts: of(&[]), images: of(&["pause"]) });
        let package = asked(&["package:openssh-server"], &request, &lock).unwrap().0;
        assert_eq!(package, apt::Upgrade::Names(["openssh-server".parse().unwrap()].into()));
        assert_eq!(asked(&["openssh-server"], &request, &lock).unwrap().0, package);
        for (name, words) in [
            ("artifact:kubelett", "did you mean `artifact:kubelet`?"),
            ("image:corednss", "did you mean `image:coredns`?"),
            ("artifact:coredns", "no recipe of the channel uses it"),
            ("blob:kubelet", "`blob` is not a kind of lock entry"),
            ("package:Not_one", "is not a Debian package name"),
        ] {
            let error = asked(&[name], &request, &lock).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_local_file_is_not_upgraded() {
        let (request, mut lock) = shipped();
        let key = ("kubelet".parse().unwrap(), Arch::Amd64);
        let entry = lock.artifacts.get_mut(&key).unwrap();
        (entry.source, entry.verified, entry.version) = (ArtifactSource::Path("mine".into()), Verified::Local, None);
        for name in ["kubelet", "artifact:kubelet"] {
            let error = asked(&[name], &request, &lock).unwrap_err().to_string();
            assert!(error.contains("the local file mine") && error.contains("kbake lock --unset kubelet --channel upstream"), "{error}");
        }
        assert!(asked(&["kubectl"], &request, &lock).is_ok());
    }
}
