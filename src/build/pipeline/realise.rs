//! The memoiser of cached steps: looks a step up, locks it, runs it and records its result.

use super::step::{FrameSource, Step, StepKind};
use crate::build::Bake;
use crate::common::error::{Error, Result};
use crate::common::report::Outcome;
use crate::common::value::RoleName;
use crate::storage::store::{Action, Lookup, Miss, PlanLock};

/// The outputs of a step: blobs by name.
pub(crate) type Outputs = std::collections::BTreeMap<String, crate::storage::store::Blob>;

impl Bake<'_> {
    /// The outputs recorded for a step, if the store has all their blobs.
    pub(in crate::build) fn recorded(&self, step: &Step<'_>) -> Option<Action> {
        match self.look_up(step) {
            Lookup::Hit(action) => Some(action),
            Lookup::Miss(_) => None,
        }
    }

    /// [`Bake::recorded`] with the reason for a miss.
    pub(in crate::build) fn look_up(&self, step: &Step<'_>) -> Lookup {
        self.store.action(step.kind().word(), &step.key())
    }

    /// True when a step has run before and its entry or a blob of it was lost or damaged since.
    pub(in crate::build) fn is_lost(&self, step: &Step<'_>) -> bool {
        matches!(self.look_up(step), Lookup::Miss(miss) if miss != Miss::Absent)
    }

    /// Records the outputs of a step. Their blobs must be in the store already.
    pub(in crate::build) fn record(&self, step: &Step<'_>, outputs: Outputs) -> Result<()> {
        self.store.put_action(step.kind().word(), &step.key(), &Action { outputs })
    }

    /// The result of a step: read from its entry, or built and recorded.
    ///
    /// `read` returns none when the recorded outputs are unusable; the step runs again then. A slow step is locked, so that
    /// two processes do not run it at once: the second waits, and then reads the result of the first.
    ///
    /// # Errors
    /// Those of `read` and `make`; [`crate::Class::Internal`] when a result that was just recorded cannot be read back.
    pub(in crate::build) fn realise<T>(
        &self,
        step: &Step<'_>,
        role: &RoleName,
        read: impl Fn(&Action) -> Result<Option<T>>,
        make: impl FnOnce() -> Result<Outputs>,
    ) -> Result<(T, Outcome)> {
        let known = || self.recorded(step).map_or(Ok(None), |action| read(&action));
        if let Some(result) = known()? {
            return Ok((result, Outcome::Cached));
        }
        let lock = self.lock(step, role)?;
        if lock.is_some()
            && let Some(result) = known()?
        {
            return Ok((result, Outcome::Cached));
        }
        let outputs = make()?;
        self.record(step, outputs)?;
        let result = known()?.ok_or_else(|| Error::internal(format!("{} was just stored and cannot be read back", step.kind().noun())))?;
        Ok((result, Outcome::Built))
    }

    /// The lock of a slow step; none for a step that is cheaper than a lock.
    fn lock(&self, step: &Step<'_>, role: &RoleName) -> Result<Option<PlanLock>> {
        let doing = match (step.kind(), step) {
            (StepKind::Image, _) => format!("{role}: another kbake is building it"),
            (StepKind::Base, _) => "another kbake is installing the same packages".to_owned(),
            (StepKind::Frames, Step::Frames(FrameSource::Base(_))) => "another kbake is compressing the same base".to_owned(),
            (StepKind::Frames | StepKind::Extraction | StepKind::Loader | StepKind::Composition, _) => return Ok(None),
        };
        self.store.plan_lock(&step.key(), self.cancel, &|| self.report.say(&format!("{doing}; waiting"))).map(Some)
    }
}
