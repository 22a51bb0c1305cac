//! `kbake build`.

use std::collections::BTreeSet;
use std::path::Path;

use super::args::Build;
use super::environment::program;
use super::{IMAGES, Session, current_folder};
use crate::build::{self, Bake, Baked, Checked, Resolved};
use crate::cluster::model::Role;
use crate::common::error::Result;
use crate::common::report::{Item, ItemKind, Outcome, Report as _};
use crate::common::value::{Digest, Size, quote};
use crate::spec::project::{self, Expected};
use crate::storage::store::Owner;

impl Session<'_> {
    /// `kbake build`.
    pub(super) fn build(&self, args: &Build) -> Result<()> {
        let project = self.project()?;
        let expected = project.expected()?;
        let (channel, mut roles) = self.roles_of(&project, &args.roles)?;
        self.tell_channel()?;
        // A role that is named twice is built once.
        let mut named = BTreeSet::new();
        roles.retain(|role| named.insert(role.clone()));
        let name = channel.sources.channel.as_str();
        let whose = |resolved: &Resolved| Ok(build::owner(&project, &current_folder()?, name, resolved.plan.role()));
        self.bake(&args.sources, args.jobs, |bake| {
            // All roles are resolved first, so that an error in the last recipe shows before the first image is built.
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
        let held = if args.accept_new_digest { Ok(()) } else { build::check_expected(recorded, role, baked) };
        // With `--check` the more detailed error of the check comes first.
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
        bake.record_build(whose, resolved, Some(&path))?;
        if args.verify {
            self.shell.say(&format!("{role}: reading the image back"));
            self.shell.begun(&file);
            let report = bake.verify(resolved, &path)?;
            self.shell.placed(&file, Outcome::Verified, &shown);
            self.shell.say(&format!("{role}: the image matches the tree ({} paths compared)", report.entries));
        }
        if args.check {
            self.check(bake, resolved, baked, &args.out)?;
            held?;
        }
        let what = match (baked.built, written) {
            (true, _) => "built",
            (false, true) => "taken from the store",
            (false, false) => "up to date",
        };
        let is_expected = recorded.is_some_and(|(_, image)| image == baked.image.digest);
        let expected_one = if is_expected { ", as recorded in images/expected.toml" } else { "" };
        self.shell.say(&format!("{role}: {what}, {}{expected_one}", Size(baked.image.size)));
        self.shell.for_people(&format!("{} sha256:{}\n", shown.display(), baked.image.digest))?;
        // Next steps are for people, and only after a new image.
        if self.global.json || !(baked.built || written) {
            return Ok(());
        }
        if recorded.is_none() {
            let lines = project::expected_lines(role, &key, &baked.tree, &baked.image.digest);
            let how = match expected.names(role) {
                true => format!("replace [{role}] in images/expected.toml by"),
                false => "add to images/expected.toml".to_owned(),
            };
            self.shell.say(&format!("to compare later builds with this one, {how}:\n{}", lines.trim_end()));
        }
        self.shell.say(&boot_commands(&program(), role.as_str(), &args.out));
        Ok(())
    }

    /// Rebuilds a role from its locked inputs, and compares.
    fn check(&self, bake: &Bake, resolved: &Resolved, baked: &Baked, out: &Path) -> Result<()> {
        let role = resolved.plan.role();
        let shown = out.join(format!("{role}.check.qcow2"));
        let digest = Some(Digest::Sha256(baked.image.digest));
        let item = Item { kind: ItemKind::Image, name: role.as_str(), digest, bytes: Some(baked.image.size) };
        self.shell.begun(&item);
        match bake.check(resolved, baked, &current_folder()?.join(&shown))? {
            Checked::Same { entries } => {
                self.shell.ended(&item, Outcome::Verified);
                let words = "a clean rebuild from the locked inputs gave the same image";
                self.shell.say(&format!("{role}: {words} (sha256:{}, {entries} entries compared)", baked.image.digest));
                Ok(())
            }
            Checked::Differs(differs) => {
                self.shell.ended(&item, Outcome::Damaged);
                Err(differs.error(role, &out.join(format!("{role}.qcow2")), &shown))
            }
        }
    }
}

/// The commands to boot an image, given a cluster file that names the node. A custom role is only an image to the cluster.
fn boot_commands(program: &str, role: &str, out: &Path) -> String {
    let node = match Role::ALL.iter().any(|known| known.as_str() == role) {
        true => format!("role = \"{role}\""),
        false => format!("image = \"{role}\" beside its role ({})", Role::ALL.map(Role::as_str).join(", ")),
    };
    let images = if out == Path::new(IMAGES) { String::new() } else { format!(" --images {}", quote(&out.display().to_string())) };
    format!(
        "\nto boot it as node NODE of cluster.toml (`{program} init` writes one) with {node}:\n\n  \
         {program} pki init && {program} seed --all{images}\n  \
         {program} disk NODE{images} && {program} qemu NODE --net user{images} > NODE.sh && sh NODE.sh\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_role_is_an_image_to_the_cluster() {
        let own = boot_commands("kbake", "my-etcd", Path::new("images"));
        assert!(
            own.contains("with image = \"my-etcd\" beside its role (") && !own.contains("role = \"my-etcd\"") && !own.contains("--images"),
            "{own}"
        );
        let known = boot_commands("kbake", "etcd", Path::new("my images"));
        assert!(known.contains("with role = \"etcd\":") && known.contains("kbake disk NODE --images 'my images' && "), "{known}");
    }
}
