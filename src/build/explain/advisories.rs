//! The software of a role's image by the names of advisories: Debian's sources from the lock, Go modules from the programs' build
//! information.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::built_without_modules;
use crate::build::sbom::{Advised, Bill, Item, Kind, package_id};
use crate::build::{Bake, Resolved};
use crate::common::error::Result;
use crate::common::value::{ArtifactName, Version};
use crate::spec::advisories::{self, Inside, Module, Package, Software, own_modules, without_rebuild};
use crate::spec::lock::Entry;

/// The facts of an item that name a part without readable contents.
const UNREAD: [&str; 2] = ["not-read", "modules-not-read"];

impl Bake<'_> {
    /// The software of a role's image. The answer does not depend on whether the image was built.
    ///
    /// # Errors
    /// An input is not in the store, or is damaged.
    pub(crate) fn software(&self, resolved: &Resolved) -> Result<Software> {
        Ok(software(resolved, &self.bill_for(resolved, "the search for Go modules", "run `kbake fetch` first")?))
    }
}

/// The software in a bill.
fn software(resolved: &Resolved, bill: &Bill) -> Software {
    let items: BTreeMap<&str, &Item> = bill.items.iter().map(|item| (item.id.as_str(), item)).collect();
    // Installed ones, those that become part of the image without it, and those of which a file is taken.
    let all = resolved.packages.iter().chain(&resolved.tools).chain(resolved.artifacts.members.values());
    let entries = all.map(|entry| (package_id(entry), entry)).filter(|(id, _)| items.contains_key(id.as_str()));
    let entries: BTreeMap<String, &Entry> = entries.collect();
    let mut found = Found::new(&resolved.archives.codename);
    for (id, entry) in &entries {
        found.entry(entry, items.get(id.as_str()).copied());
    }
    for item in &bill.items {
        let holder = Holder::of(item, entries.get(&item.id).copied(), &resolved.archives.codename);
        for inner in item.contains.iter().filter_map(|id| items.get(id.as_str())) {
            found.inner(&holder, inner);
        }
        let unread = item.facts.iter().filter(|(name, _)| UNREAD.contains(name));
        found.software.unknown.extend(unread.map(|(_, why)| format!("{}: {why}", holder.product)));
    }
    found.finish()
}

/// The item that others are in.
struct Holder {
    product: String,
    inside: Inside,
    /// The modules that have the item's own version.
    own: &'static [&'static str],
}

impl Holder {
    fn of(item: &Item, entry: Option<&Entry>, suite: &str) -> Self {
        if let Some(entry) = entry {
            let Package { source, .. } = advisories::package(entry, suite);
            return Holder { product: source.clone(), inside: Inside::Debian { source, release: suite.to_owned() }, own: &[] };
        }
        // A container image by the last part of its name, as recipes call it.
        let name = match item.kind {
            Kind::Container => item.name.rsplit('/').next().unwrap_or(&item.name),
            _ => item.name.as_str(),
        };
        let own = name.parse::<ArtifactName>().map_or(&[][..], |name| own_modules(&name));
        let version = item.version.as_ref().map(|version| plain(version).to_owned());
        Holder { product: name.to_owned(), inside: Inside::Release(version), own }
    }
}

/// A version without the `v` of Go's modules and of images' tags.
fn plain(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

struct Found<'a> {
    suite: &'a str,
    software: Software,
    /// The modules without a version, by product.
    unversioned: BTreeMap<String, BTreeSet<String>>,
    /// The products with programs that do not record their modules.
    unrecorded: BTreeSet<String>,
}

impl<'a> Found<'a> {
    fn new(suite: &'a str) -> Self {
        Found { suite, software: Software::default(), unversioned: BTreeMap::new(), unrecorded: BTreeSet::new() }
    }

    /// The software, with one line for each product of which a part is unknown.
    fn finish(mut self) -> Software {
        let unversioned = self.unversioned.iter().filter_map(|(product, names)| {
            let first = names.first()?;
            Some(match names.len() {
                1 => format!("{product}: the module {first}, which has no version"),
                count => format!("{product}: {count} modules without a version, the first of which is {first}"),
            })
        });
        let unrecorded =
            self.unrecorded.iter().map(|product| format!("{product}: the modules of programs that were built without a record of them"));
        self.software.unknown.extend(unversioned.chain(unrecorded));
        self.software
    }

    /// Adds a locked package.
    fn entry(&mut self, entry: &Entry, item: Option<&Item>) {
        let package = advisories::package(entry, self.suite);
        self.package(Package { purls: purl(item).into_iter().collect(), ..package });
    }

    /// Adds a package to those of the same source.
    fn package(&mut self, new: Package) {
        let same = |known: &&mut Package| {
            (&known.product, &known.source, &known.version, &known.release) == (&new.product, &new.source, &new.version, &new.release)
        };
        match self.software.packages.iter_mut().find(same) {
            Some(known) => known.purls.extend(new.purls),
            None => self.software.packages.push(new),
        }
    }

    /// Adds an item that was found in another one.
    fn inner(&mut self, holder: &Holder, item: &Item) {
        match &item.advised {
            Some(Advised::Module) => self.module(holder, item),
            Some(Advised::Debian { source, release: Some(release) }) => {
                let version = item.version.as_deref().unwrap_or_default().parse::<Version>().map(|version| without_rebuild(&version));
                let Ok(version) = version else {
                    self.software.unknown.insert(format!("{}: {} has no version of Debian", holder.product, item.name));
                    return;
                };
                let (source, version) = advisories::tracked(source, &version, &version);
                let (product, release) = (holder.product.clone(), release.clone());
                let purls: BTreeSet<String> = purl(Some(item)).into_iter().collect();
                self.package(Package { product, source, version, release, is_locked: false, purls });
            }
            Some(Advised::Debian { release: None, .. }) => {
                self.software.unknown.insert(format!("{}: its Debian packages, because it names no release", holder.product));
            }
            None => {}
        }
    }

    fn module(&mut self, holder: &Holder, item: &Item) {
        let own = || match &holder.inside {
            Inside::Release(version) if holder.own.contains(&item.name.as_str()) => version.clone(),
            _ => None,
        };
        match item.version.as_deref().map(|version| plain(version).to_owned()).or_else(own) {
            Some(version) => self.software.modules.push(Module {
                product: holder.product.clone(),
                path: item.name.clone(),
                version,
                purl: purl(Some(item)).unwrap_or_default(),
                inside: holder.inside.clone(),
            }),
            // The name is a package's then, and the product's own.
            None if built_without_modules(item) => _ = self.unrecorded.insert(holder.product.clone()),
            None => _ = self.unversioned.entry(holder.product.clone()).or_default().insert(item.name.clone()),
        }
    }
}

/// The package URL without its qualifiers: they differ between scanners.
fn purl(item: Option<&Item>) -> Option<String> {
    item?.purl.as_ref().map(|purl| purl.split('?').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::contents::tests::whole_bill;
    use super::*;

    #[test]
    fn software_is_named_as_advisories_name_it() {
        let (resolved, bill) = whole_bill();
        let software = software(&resolved, &bill);
        let packages: Vec<String> = software
            .packages
            .iter()
            .map(|package| format!("{} {} {} {} {}", package.product, package.source, package.version, package.release, package.is_locked))
            .collect();
        assert_eq!(
            packages,
            [
                "catatonit catatonit 1.5-2 bookworm true",
                "grub-pc-bin grub-pc-bin 1.5-2 bookworm true",
                "one one 1.5-2 bookworm true",
                "coredns tzdata 2024a-0 bookworm false",
            ]
        );
        let module = |module: &Module| {
            format!("{}: {} {}{}", module.product, module.path, module.version, if module.is_own() { " own" } else { "" })
        };
        let modules: Vec<String> = software.modules.iter().map(module).collect();
        assert_eq!(
            modules,
            [
                "etcd: go.etcd.io/etcd/server/v3 3.6.8 own",
                "etcd: new.test/x 1.0.1",
                "etcd: shared.test/Lib/v2 2.1.0",
                "etcd: stdlib 1.26.8",
                "coredns: github.com/coredns/coredns 1.14.2",
                "coredns: stdlib 1.26.8",
                "one: shared.test/Lib/v2 2.1.0",
                "one: stdlib 1.26.8",
            ]
        );
        assert_eq!(software.modules[0].purl, "pkg:golang/go.etcd.io/etcd/server/v3@v3.6.8");
        let unknown: Vec<&str> = software.unknown.iter().map(String::as_str).collect();
        assert_eq!(
            unknown[1..],
            [
                "etcd: the module k8s.io/api, which has no version",
                "one: the module ex.test/tool, which has no version",
                "one: the modules of programs that were built without a record of them",
            ]
        );
        assert!(unknown[0].starts_with("catatonit: /usr/share/kbake/images/pause.tar:") && unknown[0].contains("Go before 1.18"));
    }

    #[test]
    fn a_working_copy_of_a_release_has_the_release_s_version() {
        let item = Item { kind: Kind::Artifact, version: Some("1.36.2".to_owned()), ..Item::go_module("kubelet", None, None) };
        let holder = Holder::of(&item, None, "trixie");
        let mut found = Found::new("trixie");
        for path in ["k8s.io/kubernetes", "k8s.io/client-go", "k8s.io/api"] {
            found.inner(&holder, &Item::go_module(path, None, None));
        }
        let software = found.finish();
        let modules: Vec<_> =
            software.modules.iter().map(|module| (module.path.as_str(), module.version.as_str(), module.is_own())).collect();
        assert_eq!(modules, [("k8s.io/kubernetes", "1.36.2", true)]);
        assert_eq!(software.unknown, ["kubelet: 2 modules without a version, the first of which is k8s.io/api".to_owned()].into());
    }
}
