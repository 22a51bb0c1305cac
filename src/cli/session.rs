//! The context of a command: its options, project, channel and store.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::{Global, Sources};
use super::config::{self, web_options};
use super::environment::{self, current_folder, default_store};
use super::shell::Shell;
use super::{CLUSTER_FILE, clock};
use crate::build::{self, Bake, Resolved};
use crate::cluster::model::Cluster;
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::report::Report as _;
use crate::common::value::{Cancel, RoleName};
use crate::spec::apt;
use crate::spec::project::{Channel, Project};
use crate::spec::recipe::ChannelName;
use crate::storage::fetch;
use crate::storage::store::{Access, Store};

/// The context of a command.
pub(super) struct Session<'a> {
    pub(super) global: &'a Global,
    pub(super) shell: &'a Shell,
    pub(super) cancel: &'a Cancel,
    /// True after skipped files were reported.
    pub(super) told_skipped: AtomicBool,
}

impl Session<'_> {
    /// The project that the command works on.
    pub(super) fn project(&self) -> Result<Project> {
        let project = Project::find(self.global.project.as_deref(), &current_folder()?)?;
        // Commands may call this more than once.
        if !self.told_skipped.swap(true, Ordering::Relaxed) {
            for name in project.skipped()? {
                self.shell.notice(&format!("note: {name} is skipped: its name begins with a dot, as names of editors' temporary files do"));
            }
        }
        Ok(project)
    }

    /// The channel: the one from the command line, or from the cluster file in the current folder, or the project's only one, or
    /// the default.
    pub(super) fn channel(&self) -> Result<String> {
        if let Some(named) = &self.global.channel {
            return Ok(named.clone());
        }
        if let Some(named) = self.cluster_s_channel()? {
            return Ok(named.to_string());
        }
        match &self.project()?.channels()?[..] {
            [only] => Ok(only.clone()),
            _ => Ok(ChannelName::usual().to_string()),
        }
    }

    /// The channel in the cluster file of the current folder.
    fn cluster_s_channel(&self) -> Result<Option<ChannelName>> {
        let Some(bytes) = fsx::read_if_present(Path::new(CLUSTER_FILE))? else { return Ok(None) };
        // Other errors in the file matter only to commands on the cluster.
        Cluster::channel_of(CLUSTER_FILE, &String::from_utf8_lossy(&bytes))
    }

    /// Tells the user about a channel that comes from the cluster file and is not the default.
    pub(super) fn tell_channel(&self) -> Result<()> {
        let named = if self.global.channel.is_some() { None } else { self.cluster_s_channel()? };
        if let Some(channel) = named.filter(|channel| *channel != ChannelName::usual()) {
            self.shell.say(&format!("using the channel `{channel}` from {CLUSTER_FILE}"));
        }
        Ok(())
    }

    /// The store with its lower stores, opened for shared access.
    pub(super) fn store(&self) -> Result<Store> {
        let store = self.open_store(Access::Shared, "another kbake has exclusive access to the store; waiting")?;
        let waiting =
            |lower: &Path| self.shell.notice(&format!("the garbage collection of the store {} is running; waiting", lower.display()));
        let lower = config::lower_stores(&self.global.lower_store)?;
        Ok(store.over(&lower, self.cancel, &waiting)?.marking_use(clock::moment()))
    }

    /// The store without lower stores. Prints `waiting` if another kbake has it locked.
    pub(super) fn open_store(&self, access: Access, waiting: &str) -> Result<Store> {
        Store::open(&self.store_root()?, access, self.cancel, &|| self.shell.notice(waiting))
    }

    fn store_root(&self) -> Result<PathBuf> {
        self.global.store.clone().map_or_else(default_store, Ok)
    }

    /// Fails if there is no store. Maintenance commands never create one, because its name may be mistyped.
    pub(super) fn require_store(&self) -> Result<()> {
        let root = self.store_root()?;
        match fsx::exists(&root.join("format"))? {
            true => Ok(()),
            false => Err(Error::user(format!("there is no store in {}", root.display()))
                .hint("name its folder with --store or $KBAKE_STORE; `kbake fetch` and `kbake build` create a new one")),
        }
    }

    /// The channel, with its versions checked, and these roles of the project.
    pub(super) fn roles_of(&self, project: &Project, roles: &[String]) -> Result<(Channel, Vec<RoleName>)> {
        let roles = roles.iter().map(|role| project.role(role)).collect::<Result<Vec<_>>>()?;
        let channel = project.channel_for(&self.channel()?, &roles)?;
        self.check_versions(project, &channel.sources)?;
        Ok((channel, roles))
    }

    /// [`Session::roles_of`] for one role.
    pub(super) fn role_of(&self, project: &Project, role: &str) -> Result<(Channel, RoleName)> {
        let (channel, mut roles) = self.roles_of(project, &[role.to_owned()])?;
        let role = roles.pop().ok_or_else(|| Error::internal("one role was requested, and none was found"))?;
        Ok((channel, role))
    }

    /// Resolves a role without a store.
    pub(super) fn resolve_one(&self, role: &str) -> Result<Resolved> {
        let project = self.project()?;
        let (channel, role) = self.role_of(&project, role)?;
        build::resolve(&project, &channel, &role, self.cancel)
    }

    /// Runs `work` with the context of a build.
    pub(super) fn bake<T>(&self, sources: &Sources, jobs: Option<NonZeroUsize>, work: impl FnOnce(&Bake) -> Result<T>) -> Result<T> {
        let store = self.store()?;
        let host = environment::apt_host();
        let bake = Bake {
            store: &store,
            fetch: fetch::Options { offline: sources.offline, mirrors: sources.mirror.clone(), ..web_options(&sources.web, self.cancel)? },
            host_mirrors: &|archive| apt::host_mirrors(&host, archive, self.cancel),
            jobs: jobs.map_or_else(environment::processors, NonZeroUsize::get),
            report: self.shell,
            cancel: self.cancel,
        };
        work(&bake)
    }
}
