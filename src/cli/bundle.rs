//! `kbake bundle …`.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::args::{Bundle, BundleCreate, BundleFiles, BundleImport, BundleVerify};
use super::{Session, current_folder};
use crate::build::{self, Bundling, Description, ImageTrust, ImportedRole, Importing};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::report::{Item, ItemKind, Outcome, Report as _};
use crate::common::value::{Cancel, RoleName, Sha256, Size, quote};
use crate::spec::project::Project;
use crate::spec::recipe::Archive;
use crate::storage::bundle::pieces::{self, Files, Output};
use crate::storage::bundle::{self, Kind, Outline};
use crate::storage::fetch;

/// The file name that means standard input.
const STDIN: &str = "-";

impl Session<'_> {
    /// `kbake bundle …`.
    pub(super) fn bundle(&self, command: &Bundle) -> Result<()> {
        match command {
            Bundle::Create(args) => self.create_bundle(args),
            Bundle::Verify(args) => self.verify_bundle(args),
            Bundle::Import(args) => self.import_bundle(args),
            Bundle::Show(files) => self.show_bundle(files),
        }
    }

    fn create_bundle(&self, args: &BundleCreate) -> Result<()> {
        let project = self.project()?;
        let expected = project.expected()?;
        let mut roles = args.roles.clone();
        roles.sort();
        roles.dedup();
        let (channel, wanted) = self.roles_of(&project, &roles)?;
        let name = channel.sources.channel.as_str();
        let out = match (&args.out, &roles[..]) {
            (Some(out), _) => out.clone(),
            (None, [role]) => format!("images/{role}.bundle").into(),
            (None, _) => format!("images/{name}.bundle").into(),
        };
        for file in args.since.iter().filter(|file| *file != Path::new(STDIN)) {
            pieces::refuse_over(&out, args.split.is_some(), file)?;
        }
        require_replaceable(&out, args.split.is_some(), name, &wanted)?;
        let since = args.since.iter().map(|file| documents(std::slice::from_ref(file))).collect::<Result<Vec<_>>>()?;
        let bundling = Bundling {
            project: &project,
            channel: &channel,
            expected: &expected,
            inputs: !args.outputs,
            outputs: !args.inputs,
            since: &since,
        };
        self.bake(&args.sources, args.jobs, |bake| {
            let all = bake.resolve(&project, &channel, &wanted)?;
            let packed = bake.pack(&bundling, &all)?;
            for resolved in &all {
                bake.record_build(build::owner(&project, &current_folder()?, name, resolved.plan.role()), resolved, None)?;
            }
            let (outline, digest) = (&packed.outline, packed.outline.digest());
            let mut output = Output::create(&out, outline.len(), args.split.map(|size| size.0))?;
            bake.write_bundle(&packed, &mut output)?;
            let files = output.finish()?;
            let shown = out.display().to_string();
            self.bundle_event(&shown, digest, outline, Outcome::Written, &out);
            if let (Some(_), Some(last)) = (args.split, files.last()) {
                self.shell.say(&format!("{shown}: {} pieces, the last is {}", files.len(), last.display()));
            }
            self.shell.say(&format!("{shown}: {}", summary(outline)));
            self.shell.for_people(&format!("{shown} sha256:{digest}\n"))
        })
    }

    fn verify_bundle(&self, args: &BundleVerify) -> Result<()> {
        let shown = shown(&args.bundle.files);
        let (outline, digest) = reading(&args.bundle.files, |from| build::verify_bundle(from, args.expect, self.shell, self.cancel))?;
        self.bundle_event(&shown, digest, &outline, Outcome::Verified, &args.bundle.files[0]);
        self.shell.say(&format!("{shown}: all digests match; {}", summary(&outline)));
        if args.expect.is_none() {
            self.shell.say("to make sure that it is the right bundle, compare its digest with the one that `bundle create` printed");
        }
        self.shell.for_people(&format!("{shown} sha256:{digest}\n"))
    }

    fn import_bundle(&self, args: &BundleImport) -> Result<()> {
        let project = self.project()?;
        let expected = project.expected()?;
        let current = current_folder()?;
        let project_to = args.project_to.as_ref().map(|folder| current.join(folder));
        let owner = |channel: &str, role: &RoleName, plan: &Sha256| match &project_to {
            Some(folder) => Some(build::owner(&Project::Folder(folder.clone()), &current, channel, role)),
            None => is_planned(&project, channel, role, plan, self.cancel).then(|| build::owner(&project, &current, channel, role)),
        };
        let how = Importing { expect: args.expect, expected: &expected, project_to: project_to.as_deref(), owner: &owner };
        let store = self.store()?;
        let nothing = |_: &Archive| Ok(Vec::new());
        let bake = build::Bake {
            store: &store,
            fetch: fetch::Options { offline: true, ..fetch::Options::default() },
            host_mirrors: &nothing,
            jobs: super::environment::processors(),
            report: self.shell,
            cancel: self.cancel,
        };
        let imported = reading(&args.bundle.files, |from| bake.import(from, &how))?;
        let (count, bytes) = imported.new;
        let item =
            Item { kind: ItemKind::Bundle, name: &shown(&args.bundle.files), digest: Some(imported.digest.into()), bytes: Some(bytes) };
        self.shell.ended(&item, Outcome::Imported);
        self.shell.say(&format!(
            "bundle sha256:{}: {count} blobs ({}) imported, {} already present",
            imported.digest,
            Size(bytes),
            imported.known
        ));
        for role in &imported.roles {
            self.tell_imported(role, args.project_to.as_deref())?;
        }
        Ok(())
    }

    /// Tells the user whether a role's image is trusted, and the next step.
    fn tell_imported(&self, imported: &ImportedRole, project: Option<&Path>) -> Result<()> {
        let Description { role, channel, result: (_, image), .. } = &imported.description;
        let told = match imported.trust {
            ImageTrust::Expected => "its image is trusted: the bundle has the expected digest",
            ImageTrust::Recorded => "its image is trusted: images/expected.toml has its digest for this plan",
            ImageTrust::Known => "its image is already in the store",
            ImageTrust::Claimed if imported.inputs => "its image must be built here, with the digest that the bundle claims",
            ImageTrust::Claimed => "its image is not trusted and not used, and the bundle has no inputs to build it from",
        };
        self.shell.say(&format!("{role}: {told}"));
        let word = match imported.trust {
            ImageTrust::Claimed if imported.inputs => "to-be-built",
            ImageTrust::Claimed => "not-believed",
            _ => "believed",
        };
        if word == "not-believed" {
            self.shell.say("  to trust it, import with --expect and the digest that its creator sent you over another channel");
        } else {
            let project = project.map(|folder| format!("--project {} ", folder.display())).unwrap_or_default();
            self.shell.say(&format!("  kbake {project}--channel {channel} build {role} --offline"));
        }
        self.shell.data(&format!("{role} sha256:{image} {word}\n"))
    }

    fn show_bundle(&self, files: &BundleFiles) -> Result<()> {
        let (outline, digest) = documents(&files.files)?;
        self.shell.data(&listing(&outline, digest)?)
    }

    fn bundle_event(&self, name: &str, digest: Sha256, outline: &Outline, outcome: Outcome, path: &Path) {
        let item = Item { kind: ItemKind::Bundle, name, digest: Some(digest.into()), bytes: Some(outline.len()) };
        self.shell.placed(&item, outcome, path);
    }
}

/// Refuses to replace anything but an earlier bundle of the same channel and roles.
fn require_replaceable(out: &Path, split: bool, channel: &str, roles: &[RoleName]) -> Result<()> {
    let first = if split { pieces::piece(out, 0) } else { out.to_owned() };
    let behind = pieces::piece(out, 1);
    let there = match fsx::exists(&first)? {
        true => first,
        // Pieces without a first one were not written by kbake.
        false if split && fsx::exists(&behind)? => behind,
        false => return Ok(()),
    };
    let is_own = |outline: &Outline| {
        let found = outline.contents().iter().map(Description::of).collect::<Result<Vec<_>>>();
        found.is_ok_and(|found| found.iter().all(|it| it.channel.as_str() == channel && roles.contains(&it.role)))
    };
    let is_file = fsx::facts(&there)?.is_some_and(|facts| facts.kind == fsx::Kind::File);
    if is_file && documents(std::slice::from_ref(&there)).is_ok_and(|(outline, _)| is_own(&outline)) {
        return Ok(());
    }
    let (shown, word) = (there.display(), quote(&there.display().to_string()));
    Err(Error::user(format!("{shown} is not replaced: it is not a bundle of these roles of channel {channel}"))
        .hint(format!("name another file with --out; or, if it is not needed: mv {word} {word}.old")))
}

/// True if the project would build exactly this plan.
fn is_planned(project: &Project, channel: &str, role: &RoleName, plan: &Sha256, cancel: &Cancel) -> bool {
    let resolved =
        || project.channel_for(channel, std::slice::from_ref(role)).and_then(|channel| build::resolve(project, &channel, role, cancel));
    resolved().is_ok_and(|resolved| resolved.plan.key() == *plan)
}

/// Opens a bundle for `work`.
fn reading<T>(files: &[PathBuf], work: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
    if let [file] = files
        && file == Path::new(STDIN)
    {
        return work(&mut io::stdin().lock());
    }
    let mut bundle = Files::open(files)?;
    work(&mut bundle).map_err(|error| bundle.explain(error))
}

fn documents(files: &[PathBuf]) -> Result<(Outline, Sha256)> {
    reading(files, |from| bundle::documents(from))
}

fn shown(files: &[PathBuf]) -> String {
    files.first().map(|file| file.display().to_string()).unwrap_or_default()
}

/// The contents and size of a bundle in one line.
fn summary(outline: &Outline) -> String {
    let names: Vec<&str> = outline.contents().iter().map(|content| content.name.as_str()).collect();
    let left_out = outline.left_out();
    let mut text = format!("{}, {} blobs, {}", names.join(", "), outline.entries().len(), Size(outline.len()));
    if !left_out.is_empty() {
        let size = Size(left_out.iter().map(|part| part.size).sum());
        // Writing to a string cannot fail.
        let _ = write!(text, "; {} omitted blobs ({size}) must already be at the site", left_out.len());
    }
    text
}

/// The contents of a bundle, one item per line.
fn listing(outline: &Outline, digest: Sha256) -> Result<String> {
    let mut text = format!("bundle sha256:{digest}\nformat {}\nsize {}\n", bundle::FORMAT, outline.len());
    let mut line = |line: String| text.push_str(&(line + "\n"));
    for since in outline.since() {
        line(format!("since sha256:{since}"));
    }
    for content in outline.contents() {
        let Description { role, channel, arch, plan, result: (tree, image) } = Description::of(content)?;
        line(format!("\nrole {role}\nchannel {channel}\narch {arch}\nplan sha256:{plan}\ntree sha256:{tree}\nimage sha256:{image}"));
        for part in &content.parts {
            let left_out = if part.left_out { "  left out" } else { "" };
            line(format!("{:<10} {:>12} sha256:{} {}{left_out}", word(part.kind), part.size, part.digest, part.title));
        }
    }
    Ok(text)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Plan => "plan-text",
        Kind::File => "file",
        Kind::Package => "package",
        Kind::Artifact => "artifact",
        Kind::ImagePart => "image-part",
        Kind::Image => "image-file",
        Kind::Tree => "tree-text",
    }
}
