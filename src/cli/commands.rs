//! The commands, each in a few lines: resolve what was typed, call the library, print.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;

use super::args::{Build, Fetch, Sources};
use super::config::web_options;
use super::{CLUSTER_FILE, Session, current_folder, data, processors};
use crate::bake::{self, Bake, Baked, Checked, Resolved};
use crate::cluster::{Cluster, Role};
use crate::error::{Error, Result};
use crate::fetch;
use crate::fsx;
use crate::project::{self, Channel, Expected, Project};
use crate::recipe::{Recipe, Subject};
use crate::report::{Item, ItemKind, Outcome, Report as _};
use crate::resolve;
use crate::store::Owner;
use crate::value::{Digest, RoleName, Size, quote};

/// The usual folder of images.
const IMAGES: &str = "images";

impl Session<'_> {
    /// `kbake build`.
    pub fn build(&self, args: &Build) -> Result<()> {
        let project = self.project()?;
        let expected = project.expected()?;
        let (channel, mut roles) = self.roles_of(&project, &args.roles)?;
        self.tell_channel()?;
        // One that is named twice is built once.
        let mut named = BTreeSet::new();
        roles.retain(|role| named.insert(role.clone()));
        let name = channel.sources.channel.as_str();
        let whose = |resolved: &Resolved| Ok(bake::owner(&project, &current_folder()?, name, resolved.plan.role()));
        self.bake(&args.sources, args.jobs, |bake| {
            // All roles are resolved first: a mistake in the last recipe must not show after the first image.
            let all = bake.resolve(&project, &channel, &roles)?;
            for resolved in &all {
                let role = resolved.plan.role();
                let absent = &resolved.artifacts.absent;
                absent.iter().for_each(|absent| self.shell.say(&format!("{role}: without the {}: {}", absent.what, absent.why)));
                if args.accept_new_digest {
                    bake.store.remove_claim(&resolved.plan.key())?;
                }
            }
            bake.images(&all, |resolved, baked| self.build_one(args, bake, resolved, &baked?, &expected, whose(resolved)?))
        })
    }

    fn build_one(&self, args: &Build, bake: &Bake, resolved: &Resolved, baked: &Baked, expected: &Expected, whose: Owner) -> Result<()> {
        let (role, key) = (resolved.plan.role(), resolved.plan.key());
        let recorded = expected.of(role, &key);
        let held = if args.accept_new_digest { Ok(()) } else { bake::hold_against(recorded, role, baked) };
        // A check says more about an unexpected digest than that it is one.
        if !args.check {
            held.clone()?;
        }
        let shown = args.out.join(format!("{role}.qcow2"));
        let path = current_folder()?.join(&shown);
        let (digest, bytes) = (Some(baked.image.digest.into()), Some(baked.image.size));
        let file = Item { kind: ItemKind::File, name: role.as_str(), digest, bytes };
        self.shell.begun(&file);
        let written = bake.place(&baked.image, &path, &|digest| expected.has_image(digest))?;
        self.shell.placed(&file, if written { Outcome::Written } else { Outcome::Cached }, &shown);
        bake.remember(whose, resolved, Some(&path))?;
        if args.verify {
            self.shell.say(&format!("{role}: reading everything back"));
            self.shell.begun(&file);
            let report = bake.verify(resolved, &path)?;
            self.shell.placed(&file, Outcome::Verified, &shown);
            self.shell.say(&format!("{role}: every byte is as laid out, and {} paths are as in the tree", report.entries));
        }
        if args.check {
            self.check(bake, resolved, baked, &args.out)?;
            held?;
        }
        let what = match (baked.made, written) {
            (true, _) => "built",
            (false, true) => "taken from the store",
            (false, false) => "up to date",
        };
        let is_expected = recorded.is_some_and(|(_, image)| image == baked.image.digest);
        let expected_one = if is_expected { ", the one that images/expected.toml names" } else { "" };
        self.shell.say(&format!("{role}: {what}, {}{expected_one}", Size(baked.image.size)));
        self.shell.for_people(&format!("{} sha256:{}\n", shown.display(), baked.image.digest))?;
        // What to do with it is for people, who have not been told yet.
        if self.global.json || !(baked.made || written) {
            return Ok(());
        }
        if recorded.is_none() {
            let lines = project::expected_lines(role, &key, &baked.tree, &baked.image.digest);
            let how = match expected.names(role) {
                true => format!("put this in the place of [{role}] in images/expected.toml"),
                false => "put into images/expected.toml".to_owned(),
            };
            self.shell.say(&format!("to hold later builds against this one, {how}:\n{}", lines.trim_end()));
        }
        self.shell.say(&boot_commands(&program(), role.as_str(), &args.out));
        Ok(())
    }

    /// Builds a role from scratch beside the store, and compares.
    fn check(&self, bake: &Bake, resolved: &Resolved, baked: &Baked, out: &Path) -> Result<()> {
        let role = resolved.plan.role();
        let shown = out.join(format!("{role}.check.qcow2"));
        let digest = Some(Digest::Sha256(baked.image.digest));
        let item = Item { kind: ItemKind::Image, name: role.as_str(), digest, bytes: Some(baked.image.size) };
        self.shell.begun(&item);
        match bake.check(resolved, baked, &current_folder()?.join(&shown))? {
            Checked::Same { entries } => {
                self.shell.ended(&item, Outcome::Verified);
                let words = "from scratch, out of nothing but what the lockfile and the recipes name, the same image came";
                self.shell.say(&format!("{role}: {words} (sha256:{}, {entries} entries compared)", baked.image.digest));
                Ok(())
            }
            Checked::Differs(differs) => {
                self.shell.ended(&item, Outcome::Damaged);
                Err(differs.error(role, &out.join(format!("{role}.qcow2")), &shown))
            }
        }
    }

    /// `kbake fetch`.
    pub fn fetch(&self, args: &Fetch) -> Result<()> {
        let project = self.project()?;
        let (channel, roles) = self.roles_of(&project, &args.roles)?;
        self.tell_channel()?;
        let name = channel.sources.channel.as_str();
        self.bake(&args.sources, None, |bake| {
            for resolved in &bake.resolve(&project, &channel, &roles)? {
                bake.fetch_all(resolved)?;
                bake.remember(bake::owner(&project, &current_folder()?, name, resolved.plan.role()), resolved, None)?;
                let packages = resolved.packages.len() + resolved.tools.len();
                let artifacts = resolved.artifacts.wants.len() + resolved.artifacts.own.len();
                self.shell.say(&format!("{}: {packages} packages and {artifacts} artifacts are in the store", resolved.plan.role()));
            }
            Ok(())
        })
    }

    /// `kbake plan`.
    pub fn plan(&self, role: &str, key: bool) -> Result<()> {
        let resolved = self.resolve_one(role)?;
        let text = if key { format!("{}\n", resolved.plan.key()) } else { resolved.plan.text() };
        self.shell.data(&text)?;
        Ok(())
    }

    /// `kbake roles`.
    pub fn roles(&self) -> Result<()> {
        let channel = self.project()?.channel(&self.channel()?)?;
        let role = |recipe| match recipe {
            &Recipe { subject: Subject::Role(ref role), ref description, .. } => Some((role, description.as_str())),
            _ => None,
        };
        let roles: Vec<_> = channel.recipes.iter().filter_map(role).collect();
        let text: String = roles.iter().map(|(role, description)| format!("{role}\t{description}\n")).collect();
        self.shell.document(|| data::roles(roles.into_iter()), &text)
    }

    /// `kbake init`.
    pub fn init(&self, dir: &Path) -> Result<()> {
        let written = Project::init(dir)?;
        for name in &written {
            self.shell.data(&format!("{}\n", dir.join(name).display()))?;
        }
        if written.is_empty() {
            self.shell.say("everything is there already");
        }
        let file = dir.join(CLUSTER_FILE);
        if written.contains(&CLUSTER_FILE)
            && let Some(channel) = Cluster::channel_of(CLUSTER_FILE, &fsx::read_to_string(&file)?)?
        {
            let file = file.display();
            self.shell.say(&format!("{file} sets the channel of commands in its folder: `{channel}`; change it there, or give --channel"));
        }
        let missing = Project::missing_ignores(dir)?;
        if !missing.is_empty() {
            let file = dir.join(".gitignore");
            self.shell.notice(&format!("note: {} lacks lines that keep images and keys out of git: {}", file.display(), missing.join(" ")));
        }
        Ok(())
    }

    /// The channel, which must be in order, and these roles of the project.
    pub(super) fn roles_of(&self, project: &Project, roles: &[String]) -> Result<(Channel, Vec<RoleName>)> {
        let roles = roles.iter().map(|role| project.role(role)).collect::<Result<Vec<_>>>()?;
        let channel = project.channel_for(&self.channel()?, &roles)?;
        self.check_versions(project, &channel.sources)?;
        Ok((channel, roles))
    }

    /// As [`Session::roles_of`], for one.
    pub(super) fn role_of(&self, project: &Project, role: &str) -> Result<(Channel, RoleName)> {
        let (channel, mut roles) = self.roles_of(project, &[role.to_owned()])?;
        let role = roles.pop().ok_or_else(|| Error::internal("one role was asked for, and none was found"))?;
        Ok((channel, role))
    }

    /// Resolves a role without a store.
    pub(super) fn resolve_one(&self, role: &str) -> Result<Resolved> {
        let project = self.project()?;
        let (channel, role) = self.role_of(&project, role)?;
        bake::resolve(&project, &channel, &role, self.cancel)
    }

    /// Hands `work` what a bake works with.
    pub(super) fn bake<T>(&self, sources: &Sources, jobs: Option<NonZeroUsize>, work: impl FnOnce(&Bake) -> Result<T>) -> Result<T> {
        let store = self.store()?;
        let host = host();
        let bake = Bake {
            store: &store,
            fetch: fetch::Options { offline: sources.offline, mirrors: sources.mirror.clone(), ..web_options(&sources.web, self.cancel)? },
            host_mirrors: &|suite| resolve::host_mirrors(&host, suite, self.cancel),
            jobs: jobs.map_or_else(processors, NonZeroUsize::get),
            report: self.shell,
            cancel: self.cancel,
        };
        work(&bake)
    }
}

#[expect(clippy::disallowed_methods, reason = "the cli is where the environment is read")]
pub(super) fn host() -> resolve::Host {
    resolve::Host::from_vars(std::env::vars_os())
}

/// How this program was called, so that what is printed can be called too.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "kbake".into())
}

/// How to boot an image, given that a cluster file names the node. A role image of one's own is no role in the cluster.
fn boot_commands(program: &str, role: &str, out: &Path) -> String {
    let node = match Role::ALL.iter().any(|known| known.as_str() == role) {
        true => format!("role = \"{role}\""),
        false => format!("image = \"{role}\" beside its role ({})", Role::ALL.map(Role::as_str).join(", ")),
    };
    let images = if out == Path::new(IMAGES) { String::new() } else { format!(" --images {}", quote(&out.display().to_string())) };
    format!(
        "\nto boot it as the node NODE of cluster.toml (`{program} init` writes one) with {node}:\n\n  \
         {program} pki init && {program} seed --all{images}\n  \
         {program} disk NODE{images} && {program} qemu NODE --net user{images} > NODE.sh && sh NODE.sh\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_ones_own_is_an_image_to_the_cluster() {
        let own = boot_commands("kbake", "my-etcd", Path::new("images"));
        assert!(
            own.contains("with image = \"my-etcd\" beside its role (") && !own.contains("role = \"my-etcd\"") && !own.contains("--images"),
            "{own}"
        );
        let known = boot_commands("kbake", "etcd", Path::new("my images"));
        assert!(known.contains("with role = \"etcd\":") && known.contains("kbake disk NODE --images 'my images' && "), "{known}");
    }
}
