//! Nondeterminism in a base: results of an installation that differ each time. They would make another image on each host,
//! and give all nodes of an image one identity.
//!
//! The files that packages ship are reproducible: the lockfile fixes their digests. The files that installation creates
//! beside them are inspected for secrets ([`inspect::audit_file`]). When one is of a kind that is not known to be
//! reproducible (`base::is_known`), the packages are installed once more and both results are compared.

mod created;
mod differ;
mod inside;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use self::created::CreatedPath;
use self::differ::Difference;
use super::overlay::bytes_of;
use crate::build::base::{Fact, Installed};
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, ContentSource, Kind, Tree};
use crate::common::value::{Cancel, RoleName, Sha256, TreePath};
use crate::formats::archive::{Memory, Sink, discard};
use crate::formats::inspect;

/// The largest created file that is inspected, in bytes: an initramfs has 20 MB.
const FILE_MAX: u64 = 512 << 20;
/// The number of paths that an error lists.
const SHOWN: usize = 20;

/// A base that was just installed, and the ground under it.
pub(in crate::build) struct NewBase<'a> {
    pub role: &'a RoleName,
    pub installed: &'a Installed,
    pub source: &'a dyn ContentSource,
    pub ground: Option<&'a Tree>,
    pub cancel: &'a Cancel,
}

/// Installs the same packages again, into a sink.
pub(in crate::build) type Reinstall<'a> = &'a mut dyn FnMut(&mut dyn Sink) -> Result<Installed>;

impl NewBase<'_> {
    /// Checks a new base for secrets and for nondeterminism. `facts` are values that belong to this host; `say` is called
    /// before the packages are installed again.
    ///
    /// # Errors
    /// Each path, with the remedy.
    pub(crate) fn examine(&self, facts: &dyn Fn() -> Result<Vec<Fact>>, say: &dyn Fn(&str), reinstall: Reinstall<'_>) -> Result<()> {
        self.check_kernels()?;
        let created = created::of(self)?;
        self.audit(&created)?;
        let unknown: Vec<&CreatedPath> = created.iter().filter(|one| !one.known).collect();
        let Some(first) = unknown.first() else { return Ok(()) };
        self.check_facts(&unknown, &facts()?)?;
        let more = if unknown.len() > 1 { format!(" and {} other paths", unknown.len() - 1) } else { String::new() };
        say(&format!("installation created {first}{more}, which no package ships: installing once more to compare"));
        let mut second = Second::default();
        let other = reinstall(&mut second)?;
        let differences = differ::between((&self.installed.tree, self.source), (&other.tree, &second))?;
        if differences.is_empty() { Ok(()) } else { Err(self.not_reproducible(&differences)?) }
    }

    /// Requires at most one kernel: an image boots one, and has one initramfs.
    fn check_kernels(&self) -> Result<()> {
        let tree = &self.installed.tree;
        let is_kernel = |path: &TreePath| path.name().starts_with(b"vmlinuz-");
        let kernels = tree.below(&TreePath::fixed("boot")).filter(|(path, node)| is_kernel(path) && matches!(node.kind, Kind::File(_)));
        let kernels: Vec<String> = kernels.map(|(path, _)| path.to_string()).collect();
        if kernels.len() < 2 {
            return Ok(());
        }
        let error = Error::user(format!("the packages of `{}` have {} kernels, and an image boots one", self.role, kernels.len()));
        Err(kernels.into_iter().fold(error, Error::detail).hint("keep only one of their packages in the recipes, and run `kbake lock`"))
    }

    /// Checks each file that no package ships with the rules of `kbake audit`.
    fn audit(&self, created: &[CreatedPath]) -> Result<()> {
        let mut findings = Vec::new();
        for one in created {
            self.cancel.check()?;
            let Some(bytes) = &one.bytes(self)? else { continue };
            let open = || Ok(Box::new(&bytes[..]) as Box<dyn Read>);
            let path = one.inside.as_ref().unwrap_or(&one.path);
            for finding in inspect::audit_file(path, bytes.len() as u64, &open, self.cancel)? {
                findings.push((one, finding.text()));
            }
        }
        if findings.is_empty() {
            return Ok(());
        }
        let error = Error::user(format!("installing the packages of `{}` created files that no image may have", self.role));
        let error = error.detail("an image is public: all machines that are made from it would share it");
        let error = findings.iter().take(SHOWN).fold(error, |error, (one, what)| error.detail(format!("{one}: {what}")));
        Err(with_remedies(error, findings.iter().filter(|(one, _)| one.inside.is_none()).map(|(one, _)| &one.path)))
    }

    /// Checks for facts of this host: a second installation on the same host and day would not show them.
    fn check_facts(&self, unknown: &[&CreatedPath], facts: &[Fact]) -> Result<()> {
        let tree = &self.installed.tree;
        // The image's kernel may have the host's version.
        let is_images = |fact: &Fact| tree.get(&TreePath::fixed("boot")).is_some() && has_kernel(tree, &fact.word);
        let facts: Vec<&Fact> = facts.iter().filter(|fact| !is_images(fact)).collect();
        let mut found = Vec::new();
        for one in unknown {
            self.cancel.check()?;
            let Some(bytes) = &one.bytes(self)? else { continue };
            found.extend(facts.iter().filter(|fact| fact.is_in(bytes)).map(|fact| (*one, fact.what)));
        }
        if found.is_empty() {
            return Ok(());
        }
        let error = Error::user(format!("installing the packages of `{}` recorded facts of this host", self.role));
        let error = error.detail("the image would differ on another host");
        let error = found.iter().take(SHOWN).fold(error, |error, (one, what)| error.detail(format!("{one}: {what}")));
        Err(with_remedies(error, found.iter().filter(|(one, _)| one.inside.is_none()).map(|(one, _)| &one.path)))
    }

    fn not_reproducible(&self, differences: &[Difference]) -> Result<Error> {
        let error = Error::user(format!("installing the packages of `{}` is not reproducible", self.role));
        let error = error.detail("each host would get a different image, and all nodes of an image one identity");
        let mut error = error;
        for difference in differences.iter().take(SHOWN) {
            let makers = self.makers(difference)?;
            let by = if makers.is_empty() { String::new() } else { format!("; see {}", makers.join(", ")) };
            error = error.detail(format!("{difference}{by}"));
        }
        if differences.len() > SHOWN {
            error = error.detail(format!("and {} more", differences.len() - SHOWN));
        }
        if differences.iter().any(|difference| difference.inside.is_some()) {
            error = error.hint("a hook put it into the initramfs: clear the hook in the same way, /usr/share/initramfs-tools/hooks/NAME");
        }
        Ok(with_remedies(error, differences.iter().filter(|one| one.inside.is_none()).map(|one| &one.path)))
    }

    /// The maintainer scripts that mention a path, from packages that are not in the ground.
    fn makers(&self, difference: &Difference) -> Result<Vec<String>> {
        let tree = &self.installed.tree;
        let (folders, path) = match &difference.inside {
            None => (&["var/lib/dpkg/info"][..], &difference.path),
            Some(inside) => (&["usr/share/initramfs-tools/hooks", "etc/initramfs-tools/hooks"][..], inside),
        };
        let is_script = |path: &TreePath| difference.inside.is_some() || is_maintainer_script(path.name());
        let mut scripts = BTreeMap::new();
        for (script, node) in folders.iter().flat_map(|folder| tree.below(&TreePath::fixed(folder))) {
            let is_new = self.ground.is_none_or(|ground| ground.get(script).is_none());
            if is_new && matches!(node.kind, Kind::File(_)) && is_script(script) {
                scripts.insert(script, bytes_of(tree, self.source, script, FILE_MAX)?);
            }
        }
        let named = |word: &[u8]| {
            // An empty pattern matches every script.
            let speaks = |text: &[u8]| word.is_empty() || text.windows(word.len()).any(|window| window == word);
            scripts.iter().filter(|(_, text)| speaks(text)).map(|(script, _)| script.to_string()).collect::<Vec<_>>()
        };
        let parent = path.parent().filter(|folder| folder.components().count() > 1);
        let words = [Some(path.to_string()), parent.map(|folder| folder.to_string())];
        let found = words.into_iter().flatten().map(|word| named(word.as_bytes())).find(|found| !found.is_empty());
        let all = || if difference.inside.is_some() { named(b"") } else { Vec::new() };
        Ok(found.unwrap_or_else(all).into_iter().take(3).collect())
    }
}

/// True for `NAME.postinst` and the other maintainer scripts.
fn is_maintainer_script(name: &[u8]) -> bool {
    [&b".preinst"[..], b".postinst", b".config"].iter().any(|suffix| name.ends_with(suffix))
}

fn has_kernel(tree: &Tree, release: &str) -> bool {
    TreePath::parse(format!("boot/vmlinuz-{release}").as_bytes(), false).is_ok_and(|path| tree.get(&path).is_some())
}

/// The common hint: clear the path in the recipe.
fn with_remedies<'a>(error: Error, paths: impl Iterator<Item = &'a TreePath>) -> Error {
    let paths: BTreeSet<&TreePath> = paths.collect();
    let remedy = |error: Error, path: &&TreePath| {
        error.hint(format!("to keep it out of the image, append these two lines to the role's recipe: `[[clear]]` and `path = \"{path}\"`"))
    };
    let error = paths.iter().take(SHOWN).fold(error, remedy);
    error
        .hint("if a program needs the file, create it on the node with a unit, or give it the same contents everywhere with a [[file]]")
        .hint("or leave the package out")
}

/// The result of a second installation: the contents of initramfs files, and the digests of all others.
#[derive(Default)]
struct Second {
    held: Memory,
}

impl Sink for Second {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        if inside::is_initramfs(path) { self.held.put(path, size, bytes) } else { discard("the second installation", size, bytes) }
    }
}

impl ContentSource for Second {
    fn open(&self, digest: &Sha256, _: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.held.blobs.get(digest) {
            Some(bytes) => Ok(Box::new(&bytes[..])),
            None => Err(Error::internal(format!("sha256:{digest} of a second installation was not kept")).into()),
        }
    }
}

#[cfg(test)]
mod tests;
