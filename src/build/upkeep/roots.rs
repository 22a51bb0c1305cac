//! Roots: the store's records of builds beside the blobs: owner, plan, and what they need.

use std::path::Path;

use crate::build::pipeline::step::{Step, planned_steps};
use crate::build::{Bake, Causes, Resolved};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::{RoleName, Sha256};
use crate::spec::project::Project;
use crate::storage::store::{Blob, COMPOSED, Generation, History, Owner, Root, Store};

/// The owner of a build of a project's role. Relative paths are below `current`.
pub(crate) fn owner(project: &Project, current: &Path, channel: &str, role: &RoleName) -> Owner {
    let project = match project {
        // Canonical, so that a folder has one name however it was typed. A missing folder has no links to resolve.
        Project::Folder(folder) => {
            let named = current.join(folder);
            Some(fsx::canonical(&named).unwrap_or_else(|_| named.components().collect()))
        }
        Project::Shipped => None,
    };
    Owner { project, channel: channel.to_owned(), role: role.clone() }
}

/// Records pinned advisories, so that garbage collection keeps them as long as the project has its pins. `pins` is the text of
/// the project's file.
pub(crate) fn record_advisories(
    store: &Store,
    project: &Project,
    current: &Path,
    pins: &str,
    blobs: impl Iterator<Item = Sha256>,
) -> Result<()> {
    // The name of the lockfile without its extension decides how long a root lives.
    const NAME: &str = "advisories";
    let role = NAME.parse().map_err(|why: String| Error::internal(why))?;
    let history = History { plan: store.insert(pins.as_bytes())?, causes: None };
    let owner = owner(project, current, NAME, &role);
    let current = Generation { history, actions: Default::default(), inputs: blobs.collect() };
    store.put_root(&Root { owner, current, previous: None, outputs: Default::default() })
}

impl Bake<'_> {
    /// Records a plan as the latest that `owner` has built or fetched, and `output` as a path of its image.
    pub fn record_build(&self, owner: Owner, resolved: &Resolved, output: Option<&Path>) -> Result<()> {
        let before = self.store.root_of(&owner)?;
        if let (Some(before), Some(output)) = (&before, output)
            && before.current.history.plan.digest == resolved.plan.key()
            && before.outputs.contains(output)
            && self.store.contains(&before.current.history.plan.digest)?
            // A repair also gives the current plan to a root that has the steps of an earlier one.
            && before.current.actions.contains(&Step::Image(resolved.plan.key()).id())
        {
            // Nothing to record. The full comparison would hash large files and wait for the disk.
            return Ok(());
        }
        let plan = self.store.insert(resolved.plan.text().as_bytes())?;
        let history = match &before {
            // Keep the causes of the first build with this plan: line numbers may have changed since.
            Some(Root { current: Generation { history, .. }, .. }) if history.plan == plan && self.has(history.causes)? => *history,
            _ => History { plan, causes: Some(self.store.insert(Causes::of(resolved)?.text()?.as_bytes())?) },
        };
        let mut root = Root { owner, current: self.generation(resolved, history)?, previous: None, outputs: Default::default() };
        if let Some(before) = &before {
            // Deleted outputs keep nothing; a new folder for each build would grow the list without end.
            root.outputs.extend(before.outputs.iter().filter(|path| fsx::exists(path).unwrap_or(true)).cloned());
            if before.current.history.plan == history.plan {
                // A lost blob is still needed. But an image from a bundle needs no file once it was built here: it is
                // composed then.
                let has_file = |digest: &&Sha256| self.store.entry(COMPOSED, digest).is_err();
                root.current.inputs.extend(before.current.inputs.iter().filter(has_file));
            }
            // A plan that was only fetched was never built, so a later build is not compared with it.
            let built = || self.recorded(&Step::Image(before.current.history.plan.digest)).is_some();
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
        let actions = planned_steps(resolved).iter().map(Step::id).collect();
        let inputs = self.inputs(resolved)?.into_iter().filter_map(|input| Some(input.blob?.digest)).collect();
        if history.plan.digest != plan.key() {
            return Err(Error::internal("a plan's key is the digest of its text"));
        }
        Ok(Generation { history, actions, inputs })
    }
}
