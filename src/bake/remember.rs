//! What the store remembers of a build beyond its blobs: whose it was, what it needs, what its plan said.

use std::collections::BTreeSet;
use std::path::Path;

use super::{BASE, Bake, Causes, IMAGE, Resolved, boot, made};
use crate::error::{Error, Result};
use crate::fsx;
use crate::plan::PlannedKind;
use crate::project::Project;
use crate::store::{Blob, COMPOSED, Generation, History, Lookup, Owner, Root};
use crate::value::{RoleName, Sha256};

/// Whose a build of a project's role is. `current` is the folder that relative paths are below.
pub fn owner(project: &Project, current: &Path, channel: &str, role: &RoleName) -> Owner {
    let project = match project {
        // One folder has one name, however it was typed. One that is not there yet has no links in it.
        Project::Folder(folder) => {
            let named = current.join(folder);
            Some(fsx::canonical(&named).unwrap_or_else(|_| named.components().collect()))
        }
        Project::Shipped => None,
    };
    Owner { project, channel: channel.to_owned(), role: role.clone() }
}

impl Bake<'_> {
    /// Makes a plan what `owner` has built or fetched last, `output` one of the places where its image is.
    pub fn remember(&self, owner: Owner, resolved: &Resolved, output: Option<&Path>) -> Result<()> {
        let before = self.store.root_of(&owner)?;
        if let (Some(before), Some(output)) = (&before, output)
            && before.current.history.plan.digest == resolved.plan.key()
            && before.outputs.contains(output)
            && self.store.contains(&before.current.history.plan.digest)?
            // A repair gives the plan of now also to a root that has what an earlier one needed.
            && before.current.actions.contains(&(IMAGE.to_owned(), resolved.plan.key()))
        {
            // Nothing is new: to find that out in full would hash large files and wait for the disk.
            return Ok(());
        }
        let plan = self.store.insert(resolved.plan.text().as_bytes())?;
        let history = match &before {
            // Lines of files may have moved since, but these are the causes that it was first built by.
            Some(Root { current: Generation { history, .. }, .. }) if history.plan == plan && self.has(history.causes)? => *history,
            _ => History { plan, causes: Some(self.store.insert(Causes::of(resolved)?.text()?.as_bytes())?) },
        };
        let mut root = Root { owner, current: self.generation(resolved, history)?, previous: None, outputs: Default::default() };
        if let Some(before) = &before {
            // Those that are gone keep nothing, and a new folder for each build would make a long list.
            root.outputs.extend(before.outputs.iter().filter(|path| fsx::exists(path).unwrap_or(true)).cloned());
            if before.current.history.plan == history.plan {
                // One that is not there at the moment is needed all the same. But an image that a bundle brought needs no file
                // once it was made here: it is composed then.
                let has_file = |digest: &&Sha256| self.store.entry(COMPOSED, digest).is_err();
                root.current.inputs.extend(before.current.inputs.iter().filter(has_file));
            }
            // A plan that was only fetched for is no build that could be compared with.
            let built = || matches!(self.store.action(IMAGE, &before.current.history.plan.digest), Lookup::Hit(_));
            root.previous = match before.current.history.plan == history.plan || (before.previous.is_some() && !built()) {
                true => before.previous,
                false => Some(before.current.history),
            };
        }
        root.outputs.extend(output.map(Path::to_owned));
        if before.as_ref() == Some(&root) { Ok(()) } else { self.store.put_root(&root) }
    }

    fn has(&self, blob: Option<Blob>) -> Result<bool> {
        blob.map_or(Ok(false), |blob| self.store.holds(&blob.digest, Some(blob.size)))
    }

    fn generation(&self, resolved: &Resolved, history: History) -> Result<Generation> {
        let plan = &resolved.plan;
        let mut actions = [(IMAGE.to_owned(), plan.key()), (BASE.to_owned(), plan.base_key())].into_iter().collect::<BTreeSet<_>>();
        // The base that the next role's begins with.
        actions.extend(plan.ground_key().map(|key| (BASE.to_owned(), key)));
        actions.extend(boot::key(resolved).map(|key| (boot::BOOT.to_owned(), key)));
        actions.extend(plan.files().values().filter_map(|node| match &node.kind {
            PlannedKind::Made(made) => Some((made::MADE.to_owned(), made.key())),
            _ => None,
        }));
        let mut inputs: BTreeSet<_> = self.inputs(resolved)?.into_iter().filter_map(|input| Some(input.blob?.digest)).collect();
        for digest in resolved.artifacts.own.keys() {
            inputs.extend(self.store.resolve(digest, None)?.map(|blob| blob.digest));
        }
        if history.plan.digest != plan.key() {
            return Err(Error::internal("a plan's key is the digest of its text"));
        }
        Ok(Generation { history, actions, inputs })
    }
}
