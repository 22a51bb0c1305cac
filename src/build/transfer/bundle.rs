//! Bundles of roles: their contents and descriptions. [`super::import`] reads them back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read, Write};

use serde::{Deserialize, Serialize};

use crate::build::pipeline::contents::VerifiedFile;
use crate::build::pipeline::inputs::InputSource;
use crate::build::{Bake, InputKind, Resolved, check_expected};
use crate::common::error::{Error, Result};
use crate::common::report::{Item, ItemKind, Outcome, Report};
use crate::common::tree::ContentSource;
use crate::common::value::{Arch, Cancel, Digest, RoleName, Sha256, TreePath};
use crate::spec::project::{Channel, Expected, LargeFile, Project, Reading, SourceFile};
use crate::spec::recipe::{Body, ChannelName, Intent, base_layers, role_layers};
use crate::storage::bundle::{self, Bytes, Content, Kind, Outline, Part, Taken, Visitor};
use crate::storage::fetch::{Source, Want};
use crate::storage::store::{Blob, StoreSource};

/// The version of [`Description`].
const FORMAT: u32 = 1;
/// The titles of the parts that have no name of their own.
const PLAN: &str = "plan";
const TREE: &str = "tree";

/// A request for a bundle.
#[derive(Debug, Clone, Copy)]
pub struct Bundling<'a> {
    /// The project of the roles.
    pub project: &'a Project,
    /// The channel of the roles.
    pub channel: &'a Channel,
    /// The images that the project records for its plans.
    pub expected: &'a Expected,
    /// True to include the inputs of images.
    pub inputs: bool,
    /// True to include images.
    pub outputs: bool,
    /// Bundles whose blobs are left out.
    pub since: &'a [(Outline, Sha256)],
}

/// A bundle that is ready to be written.
pub struct Packed {
    /// Its contents.
    pub outline: Outline,
    local: LocalParts,
}

/// A bundle's description of a role, stored as its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The role.
    pub role: RoleName,
    /// The channel that it was locked in.
    pub channel: String,
    /// The architecture.
    pub arch: Arch,
    /// The plan's key.
    pub plan: Sha256,
    /// The digests of the tree's text and of the image that the plan results in.
    pub result: (Sha256, Sha256),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    role: String,
    channel: String,
    arch: String,
    plan: String,
    tree: String,
    image: String,
}

impl Description {
    pub(in crate::build) fn bytes(&self) -> Result<Vec<u8>> {
        let text = Text {
            format: FORMAT,
            role: self.role.to_string(),
            channel: self.channel.clone(),
            arch: self.arch.to_string(),
            plan: self.plan.to_string(),
            tree: self.result.0.to_string(),
            image: self.result.1.to_string(),
        };
        serde_json::to_vec(&text).map_err(|e| Error::internal(format!("a description cannot be written: {e}")))
    }

    /// Reads a bundle's description of one of its roles.
    ///
    /// # Errors
    /// Class `Integrity` when the description is malformed, or the role's parts contradict it.
    pub fn of(content: &Content) -> Result<Description> {
        let name = &content.name;
        let bad =
            |why: String| Error::integrity(format!("the bundle is not sound: its description of `{name}` cannot be used")).detail(why);
        let text: Text = serde_json::from_slice(&content.config).map_err(|e| bad(e.to_string()))?;
        if text.format != FORMAT {
            return Err(bad(format!("its format is {}, this kbake knows {FORMAT}", text.format)));
        }
        let digest = |text: &str| text.parse::<Sha256>().map_err(bad);
        let description = Description {
            role: text.role.parse().map_err(bad)?,
            channel: text.channel.parse::<ChannelName>().map_err(bad)?.to_string(),
            arch: text.arch.parse().map_err(bad)?,
            plan: digest(&text.plan)?,
            result: (digest(&text.tree)?, digest(&text.image)?),
        };
        if description.bytes()? != content.config {
            return Err(bad("it is not written as kbake writes it".into()));
        }
        if description.role != *name {
            return Err(bad(format!("it is about `{}`", description.role)));
        }
        let one = |kind: Kind, expected: Sha256, required: bool| {
            let all: Vec<&Part> = content.parts.iter().filter(|part| part.kind == kind).collect();
            match all[..] {
                [] if !required => Ok(()),
                [part] if part.digest == expected => Ok(()),
                _ => Err(bad(format!("its parts must have exactly one {kind:?}, sha256:{expected}"))),
            }
        };
        one(Kind::Plan, description.plan, true)?;
        one(Kind::Tree, description.result.0, false)?;
        one(Kind::Image, description.result.1, false)?;
        Ok(description)
    }
}

impl Bake<'_> {
    /// Prepares a bundle of `roles`: fetches and builds what is missing.
    pub fn pack(&self, wanted: &Bundling, roles: &[Resolved]) -> Result<Packed> {
        let mut local = LocalParts::default();
        let mut contents = Vec::new();
        for resolved in roles {
            contents.push(self.content(wanted, resolved, &mut local)?);
        }
        leave_out(&mut contents, wanted.since);
        let since = wanted.since.iter().map(|(_, digest)| *digest).collect();
        Ok(Packed { outline: Outline::new(contents, since)?, local })
    }

    /// Writes a bundle. The caller must discard the output when this fails.
    pub fn write_bundle(&self, packed: &Packed, out: &mut dyn Write) -> Result<()> {
        let source = BundleSource { local: &packed.local, store: StoreSource(self.store) };
        self.report.begin("writing the bundle", packed.outline.len());
        let written = bundle::write(&packed.outline, &source, out, self.cancel, &|at| self.report.reached(at));
        self.report.done();
        written
    }

    fn content(&self, wanted: &Bundling, resolved: &Resolved, local: &mut LocalParts) -> Result<Content> {
        let (role, plan) = (resolved.plan.role(), resolved.plan.key());
        let recorded = wanted.expected.of(role, &plan);
        let mut parts = vec![local.hold(Kind::Plan, PLAN, resolved.plan.text().into_bytes())];
        parts.extend(project_files(wanted, resolved, local, self.cancel)?);
        if wanted.inputs {
            self.fetch_all(resolved)?;
            parts.extend(self.input_parts(resolved)?);
        }
        let result = match recorded {
            // The recorded digests; any other image is refused.
            Some(result) if !wanted.outputs => result,
            _ => {
                let baked = self.image(resolved)?;
                // An image that differs from the record would make a false claim in the bundle.
                check_expected(recorded, role, &baked).map_err(|error| {
                    error.map_hints(|hint| match hint.contains("--accept-new-digest") {
                        true => "nothing is bundled; if the image is right, record its digest in images/expected.toml first".into(),
                        false => hint,
                    })
                })?;
                if wanted.outputs {
                    parts.extend(self.output_parts(resolved, baked.image, baked.tree)?);
                }
                (baked.tree, baked.image.digest)
            }
        };
        let channel = wanted.channel.sources.channel.to_string();
        let description = Description { role: role.clone(), channel, arch: resolved.plan.arch(), plan, result };
        Ok(Content { name: role.clone(), config: description.bytes()?, parts })
    }

    /// The inputs of the image, each blob once.
    fn input_parts(&self, resolved: &Resolved) -> Result<Vec<Part>> {
        let (mut parts, mut seen): (Vec<Part>, _) = (Vec::new(), BTreeSet::new());
        for input in self.inputs(resolved)? {
            let kind = match input.kind {
                InputKind::Package | InputKind::Tool => Kind::Package,
                InputKind::Artifact => Kind::Artifact,
                InputKind::ImagePart => Kind::ImagePart,
            };
            let title = match &input.source {
                InputSource::Download(Want { source: Source::Pool { path, .. }, .. }) => path.clone(),
                InputSource::Download(_) | InputSource::Own(..) => input.name().to_owned(),
            };
            let digest = input.digest();
            let blob = input.blob.ok_or_else(|| Error::internal(format!("{title} ({digest}) was fetched and is not in the store")))?;
            let sha512 = match digest {
                Digest::Sha512(digest) => Some(digest),
                Digest::Sha256(_) => None,
            };
            if seen.insert((blob.digest, sha512)) {
                parts.push(Part { kind, title, digest: blob.digest, size: blob.size, sha512, left_out: false });
            }
        }
        Ok(parts)
    }

    fn output_parts(&self, resolved: &Resolved, image: Blob, tree: Sha256) -> Result<[Part; 2]> {
        let size = self.store.size(&tree)?.ok_or_else(|| Error::internal("the tree of an image is gone from the store"))?;
        let part =
            |kind, title: String, blob: Blob| Part { kind, title, digest: blob.digest, size: blob.size, sha512: None, left_out: false };
        let name = format!("{}.qcow2", resolved.plan.role());
        Ok([part(Kind::Image, name, image), part(Kind::Tree, TREE.to_owned(), Blob { digest: tree, size })])
    }
}

/// Leaves out the blobs that the bundles `since` have. Plans and project files, and blobs with the same bytes, are in every
/// bundle: no site keeps them for long.
pub(in crate::build) fn leave_out(contents: &mut [Content], since: &[(Outline, Sha256)]) {
    let theirs = since.iter().flat_map(|(outline, _)| outline.contents()).flat_map(|content| &content.parts);
    let there: BTreeSet<(Sha256, u64)> = theirs.map(|part| (part.digest, part.size)).collect();
    let ours = contents.iter().flat_map(|content| &content.parts);
    let always: BTreeSet<Sha256> = ours.filter(|part| matches!(part.kind, Kind::Plan | Kind::File)).map(|part| part.digest).collect();
    for part in contents.iter_mut().flat_map(|content| &mut content.parts) {
        part.left_out = there.contains(&(part.digest, part.size)) && !always.contains(&part.digest);
    }
}

/// Reads a bundle and verifies every byte against its digest. Returns its outline and its own digest.
///
/// # Errors
/// Those of [`bundle::read`]; a digest other than `expect`.
pub fn verify_bundle(from: &mut dyn Read, expect: Option<Sha256>, report: &dyn Report, cancel: &Cancel) -> Result<(Outline, Sha256)> {
    let mut verifier = Verifier { expect, report, cancel, outline: Outline::default(), at: 0 };
    let read = bundle::read(from, &mut verifier);
    if !verifier.outline.is_empty() {
        report.done();
    }
    Ok((verifier.outline, read?))
}

/// Checks a bundle's documents, before its blobs are read.
pub(in crate::build) fn check_documents(outline: &Outline, expect: Option<Sha256>) -> Result<()> {
    if let Some(expect) = expect {
        let found = outline.digest();
        if found != expect {
            return Err(Error::integrity("the bundle's digest is not the expected one")
                .detail(format!("expected sha256:{expect}  found sha256:{found}"))
                .hint("nothing was imported"));
        }
    }
    outline.contents().iter().try_for_each(|content| Description::of(content).map(drop))?;
    files_of_project(outline).map(drop)
}

/// The project files in a bundle, by name.
///
/// # Errors
/// Class `Integrity`: a name outside recipes/ and lockfiles/, or one that two roles have for different files.
pub(in crate::build) fn files_of_project(outline: &Outline) -> Result<BTreeMap<String, &Part>> {
    let mut files: BTreeMap<String, &Part> = BTreeMap::new();
    for part in outline.contents().iter().flat_map(|content| &content.parts).filter(|part| part.kind == Kind::File) {
        let bad = |why: &str| {
            Error::integrity("the bundle is not sound: a file of its project cannot be used")
                .detail(format!("`{}` {why}", part.title.escape_debug()))
        };
        let path = TreePath::parse(part.title.as_bytes(), false).map_err(|why| bad(&why))?;
        if path.as_bytes() != part.title.as_bytes() || !["recipes/", "lockfiles/"].iter().any(|folder| part.title.starts_with(folder)) {
            return Err(bad("is not a plain name below recipes/ or lockfiles/"));
        }
        if files.insert(part.title.clone(), part).is_some_and(|other| other.digest != part.digest) {
            return Err(bad("is two different files"));
        }
    }
    // Comparing neighbours is not enough: `a-b` sorts between `a` and `a/b`.
    let names: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    for name in &names {
        let above = name.match_indices('/').map(|(at, _)| &name[..at]).find(|above| names.contains(above));
        if let Some(above) = above {
            return Err(Error::integrity("the bundle is not sound").detail(format!("`{above}` is a file, and a folder of `{name}`")));
        }
    }
    Ok(files)
}

struct Verifier<'a> {
    expect: Option<Sha256>,
    report: &'a dyn Report,
    cancel: &'a Cancel,
    outline: Outline,
    at: u64,
}

impl Visitor for Verifier<'_> {
    fn outline(&mut self, outline: &Outline) -> Result<()> {
        check_documents(outline, self.expect)?;
        self.report.begin("reading the bundle", outline.entries().iter().map(|entry| entry.part.size).sum());
        self.outline = outline.clone();
        Ok(())
    }

    fn blob(&mut self, part: &Part, bytes: &mut Bytes<'_>) -> Result<Taken> {
        let item = Item { kind: ItemKind::Blob, name: &part.title, digest: Some(part.digest.into()), bytes: Some(part.size) };
        self.report.begun(&item);
        let taken = bytes.hash(&mut |len| {
            self.cancel.check()?;
            self.at += len as u64;
            self.report.reached(self.at);
            Ok(())
        })?;
        self.report.ended(&item, if taken == Taken::Hashed(part.digest) { Outcome::Verified } else { Outcome::Damaged });
        Ok(taken)
    }
}

/// The project's files that determine the role's plan, by name.
fn project_files(wanted: &Bundling, resolved: &Resolved, local: &mut LocalParts, cancel: &Cancel) -> Result<Vec<Part>> {
    let (project, channel) = (wanted.project, wanted.channel);
    let mut parts = Vec::new();
    let mut names: BTreeSet<String> = project.files(channel.sources.channel.as_str())?.into_iter().collect();
    let layers = [base_layers(&channel.recipes)?, role_layers(&channel.recipes, resolved.plan.role())?].concat();
    for entry in layers.iter().flat_map(|recipe| &recipe.entries) {
        if let Intent::File { body, .. } = &entry.value.intent
            && let Body::Source(source) = &body.value
        {
            names.insert(format!("recipes/{source}"));
        }
    }
    for name in names {
        let path = project.large(&name)?.map(|file| file.path());
        let part = match resolved.sources.iter().find(|file| Some(&file.path) == path.as_ref()) {
            Some(file) => local.name(&name, file),
            None => match project.source(&name, &Reading(cancel))? {
                Some(SourceFile::Held(bytes)) => local.hold(Kind::File, &name, bytes),
                Some(SourceFile::Named(file)) => local.name(&name, &file),
                None => {
                    return Err(Error::user(format!("{name} was removed while the bundle was made"))
                        .hint("run the command again once nobody writes to the project"));
                }
            },
        };
        parts.push(part);
    }
    Ok(parts)
}

/// The parts of a bundle that are not in the store.
#[derive(Default)]
struct LocalParts {
    held: BTreeMap<Sha256, Vec<u8>>,
    files: BTreeMap<Sha256, LargeFile>,
}

impl LocalParts {
    fn hold(&mut self, kind: Kind, title: &str, bytes: Vec<u8>) -> Part {
        let (digest, size) = (Sha256::of(&bytes), bytes.len() as u64);
        self.held.insert(digest, bytes);
        Part { kind, title: title.to_owned(), digest, size, sha512: None, left_out: false }
    }

    fn name(&mut self, title: &str, file: &LargeFile) -> Part {
        self.files.insert(file.digest, file.clone());
        Part { kind: Kind::File, title: title.to_owned(), digest: file.digest, size: file.size, sha512: None, left_out: false }
    }
}

/// Reads all parts of a bundle.
struct BundleSource<'a> {
    local: &'a LocalParts,
    store: StoreSource<'a>,
}

impl ContentSource for BundleSource<'_> {
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        if let Some(bytes) = self.local.held.get(digest) {
            return Ok(Box::new(Cursor::new(bytes)));
        }
        match self.local.files.get(digest) {
            Some(file) => Ok(Box::new(VerifiedFile::open(file)?)),
            None => self.store.open(digest, size),
        }
    }
}
