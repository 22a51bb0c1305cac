//! Arguments, messages, progress, the environment. The only module that prints.

mod args;
mod audit;
mod bundle;
mod cluster;
mod commands;
mod config;
mod data;
mod events;
mod explain;
mod found;
mod hint;
mod host;
mod inspect;
mod keep;
mod kubeconfig;
mod lock;
mod manual;
mod named;
mod paint;
mod pki;
mod private;
mod reach;
mod saved;
mod scrub;
mod seed;
mod shell;
mod signal;
mod upgrade;
mod verify;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{CommandFactory as _, FromArgMatches as _};

use self::args::{Cli, Command, Global};
use self::hint::Given;
use self::scrub::scrub_typed;
use self::shell::Shell;
use crate::cluster::Cluster;
use crate::error::{Class, Error, Result};
use crate::fsx;
use crate::project::Project;
use crate::recipe::ChannelName;
use crate::render::host as rendered;
use crate::report::Report as _;
use crate::store::survey::Moment;
use crate::store::{Access, Store};
use crate::value::Cancel;

/// The cluster file, unless another one is named.
const CLUSTER_FILE: &str = "cluster.toml";

/// Runs the command line `args` (with the program's name) and gives the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed = Cli::command().try_get_matches_from(&args).and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, Given::of(&matches))));
    let (cli, given) = match parsed {
        Ok(parsed) => parsed,
        Err(answer) => {
            if answer.use_stderr() {
                return ExitCode::from(usage(&answer, &args));
            }
            // `--help` and `--version` come this way too, for stdout. A closed pipe is no reason to complain.
            let _ = answer.print();
            return ExitCode::SUCCESS;
        }
    };
    let shell = Arc::new(Shell::new(cli.global.quiet, cli.global.json).completing(given));
    let cancel = Cancel::new();
    let outcome = signal::install(&cancel, &shell, cli.global.json)
        .and_then(|()| caught(|| run(&cli, &shell, &cancel)))
        .map_err(|error| of_store(error, &cli.global))
        .and_then(|()| shell.end(cli.command.has_table()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell.error(&error);
            ExitCode::from(error.class().exit_code())
        }
    }
}

/// Adds another hint when it is the store's disk that is full.
fn of_store(error: Error, global: &Global) -> Error {
    let root = global.store.clone().or_else(|| default_store().ok()).and_then(|root| fsx::canonical(&root).ok());
    let names = |root: PathBuf| error.message().contains("the store") || error.message().contains(&*root.to_string_lossy());
    let is_it = error.class() == Class::NoSpace && !error.hints().iter().any(|hint| hint.contains("$KBAKE_STORE"));
    match is_it && root.is_some_and(names) {
        true => error.hint("or point $KBAKE_STORE at a larger disk"),
        false => error,
    }
}

/// Says that the command line is wrong, also to whoever reads events. Gives the exit code.
fn usage(answer: &clap::Error, args: &[OsString]) -> u8 {
    let typed = answer.to_string();
    let text = scrub_typed(&typed);
    let shell = Shell::new(true, true);
    if text == typed {
        // In its colours.
        let _ = answer.print();
    } else {
        shell.notice(text.trim_end());
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or_default();
    let error = Error::new(Class::Usage, message.strip_prefix("error: ").unwrap_or(message));
    let error = lines.fold(error, |error, line| match line.strip_prefix("tip: ") {
        Some(hint) => error.hint(hint),
        None => error.detail(line),
    });
    if args.iter().skip(1).take_while(|arg| *arg != "--").any(|arg| arg == "--json") {
        shell.last_words(&error);
    }
    error.class().exit_code()
}

/// What `work` gives. A panic, whose message is on stderr by now, is a failure like others: it has an exit code and an event.
fn caught(work: impl FnOnce() -> Result<()>) -> Result<()> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::internal("kbake has broken down").hint("please report it, with the lines above")))
}

fn run(cli: &Cli, shell: &Shell, cancel: &Cancel) -> Result<()> {
    let session = Session { global: &cli.global, shell, cancel, told_skipped: AtomicBool::new(false) };
    match &cli.command {
        Command::Build(args) => session.build(args),
        Command::Fetch(args) => session.fetch(args),
        Command::Plan { role, key } => session.plan(role, *key),
        Command::Tree { role, plain, sources } => session.tree(role, *plain, sources),
        Command::Sbom { role, contents, format } => session.sbom(role, *contents, *format),
        Command::Why { role } => session.why(role),
        Command::Diff(args) => session.diff(args),
        Command::Audit(args) => session.audit(args),
        Command::Bundle(command) => session.bundle(command),
        Command::Verify(args) => session.verify(args),
        Command::Gc(args) => session.gc(args),
        Command::Store => session.show_store(),
        Command::Lock(args) => session.lock(args),
        Command::Cluster(args) => session.show_cluster(args),
        Command::NetXml(args) => session.net_xml(args),
        Command::DomainXml(args) => session.domain_xml(args),
        Command::Qemu(args) => session.qemu(args),
        Command::Dnsmasq(args) => session.dnsmasq(args),
        Command::Hosts(args) => session.print_cluster(args, rendered::hosts),
        Command::Inventory(args) => session.print_cluster(args, rendered::inventory),
        Command::Exports(args) => session.print_cluster(args, rendered::exports),
        Command::Disk(args) => session.disk(args),
        Command::Seed(args) => session.seed(args),
        Command::Pki(command) => session.pki_command(command),
        Command::Kubeconfig(args) => session.kubeconfig(args),
        Command::Roles => session.roles(),
        Command::Init { dir } => session.init(dir),
        Command::Completions { shell } => session.completions(*shell),
        Command::Man(args) => session.manual(args),
    }
}

/// What every command has.
struct Session<'a> {
    global: &'a Global,
    shell: &'a Shell,
    cancel: &'a Cancel,
    /// True when files that are skipped were named already.
    told_skipped: AtomicBool,
}

impl Session<'_> {
    /// The project that the command works on.
    fn project(&self) -> Result<Project> {
        let project = Project::find(self.global.project.as_deref(), &current_folder()?)?;
        // A command may ask more than once.
        if !self.told_skipped.swap(true, Ordering::Relaxed) {
            for name in project.skipped()? {
                self.shell.notice(&format!("note: {name} is skipped: an editor or a copy left it, its name begins with a dot"));
            }
        }
        Ok(project)
    }

    /// The channel: the one that was named, or the cluster file's in the current folder, or the project's only one, or the
    /// usual one.
    fn channel(&self) -> Result<String> {
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

    /// The channel that the cluster file in the current folder names.
    fn cluster_s_channel(&self) -> Result<Option<ChannelName>> {
        let Some(bytes) = fsx::read_if_present(Path::new(CLUSTER_FILE))? else { return Ok(None) };
        // The rest of the file is for the commands that are about the cluster.
        Cluster::channel_of(CLUSTER_FILE, &String::from_utf8_lossy(&bytes))
    }

    /// Says where the channel comes from when nobody typed it and it is not the usual one.
    fn tell_channel(&self) -> Result<()> {
        let named = if self.global.channel.is_some() { None } else { self.cluster_s_channel()? };
        if let Some(channel) = named.filter(|channel| *channel != ChannelName::usual()) {
            self.shell.say(&format!("the channel is `{channel}`, as {CLUSTER_FILE} says"));
        }
        Ok(())
    }

    /// The store over its lower stores, opened for work beside other kbakes.
    fn store(&self) -> Result<Store> {
        let store = self.open_store(Access::Shared, "another kbake has the store to itself; waiting")?;
        let waiting = |lower: &Path| self.shell.notice(&format!("the store {} is being tidied up; waiting", lower.display()));
        let lower = config::lower_stores(&self.global.lower_store)?;
        Ok(store.over(&lower, self.cancel, &waiting)?.marking_use(now()))
    }

    /// The store without those below, saying `waiting` when another kbake is in the way.
    fn open_store(&self, access: Access, waiting: &str) -> Result<Store> {
        Store::open(&self.store_root()?, access, self.cancel, &|| self.shell.notice(waiting))
    }

    fn store_root(&self) -> Result<PathBuf> {
        self.global.store.clone().map_or_else(default_store, Ok)
    }

    /// Commands that look after a store do not make one: its name may be mistyped.
    fn require_store(&self) -> Result<()> {
        let root = self.store_root()?;
        match fsx::exists(&root.join("format"))? {
            true => Ok(()),
            false => Err(Error::user(format!("there is no store in {}", root.display()))
                .hint("name its folder with --store or $KBAKE_STORE; `kbake fetch` and `kbake build` make a new one")),
        }
    }
}

/// The time, in seconds since 1970, for what is used to be known from what is not. It never reaches an image.
#[expect(clippy::disallowed_methods, reason = "the garbage collection goes by the age of things, and the cli is where the clock is read")]
fn now() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Moment::try_from(since.as_secs()).unwrap_or(Moment::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the cli is where the current folder is known")]
fn current_folder() -> Result<PathBuf> {
    std::env::current_dir().map_err(|e| Error::io("find the current folder", &e))
}

/// By the [XDG base directories](https://specifications.freedesktop.org/basedir-spec/latest/): a cache, since
/// everything in the store can be made again.
#[expect(clippy::disallowed_methods, reason = "the cli is where the environment is read")]
fn default_store() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_CACHE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".cache")))
        .map(|cache| cache.join("kbake"))
        .ok_or_else(|| Error::user("there is no home folder for the store").hint("name a folder with --store or $KBAKE_STORE"))
}

/// The processors that this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
