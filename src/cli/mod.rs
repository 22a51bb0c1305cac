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
mod host;
mod inspect;
mod keep;
mod kubeconfig;
mod lock;
mod manual;
mod paint;
mod pki;
mod private;
mod scrub;
mod seed;
mod shell;
mod signal;
mod verify;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use self::args::{Cli, Command, Global};
use self::scrub::scrub_typed;
use self::shell::Shell;
use crate::cluster::Cluster;
use crate::error::{Class, Error, Result};
use crate::fsx;
use crate::project::Project;
use crate::recipe::ChannelName;
use crate::render::host as rendered;
use crate::store::survey::Moment;
use crate::store::{Access, Store};
use crate::value::Cancel;

/// The cluster file, unless another one is named.
const CLUSTER_FILE: &str = "cluster.toml";

/// Runs the command line `args` (with the program's name) and gives the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(answer) => {
            if answer.use_stderr() {
                return ExitCode::from(usage(&answer, &args));
            }
            // `--help` and `--version` come this way too, for stdout. A closed pipe is no reason to complain.
            let _ = answer.print();
            return ExitCode::SUCCESS;
        }
    };
    let shell = Arc::new(Shell::new(cli.global.quiet, cli.global.json));
    let cancel = Cancel::new();
    let outcome = signal::install(&cancel, &shell, cli.global.json)
        .and_then(|()| caught(|| run(&cli, &shell, &cancel)))
        .and_then(|()| shell.end(cli.command.has_table()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell.error(&error);
            ExitCode::from(error.class().exit_code())
        }
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
    let session = Session { global: &cli.global, shell, cancel };
    match &cli.command {
        Command::Build(args) => session.build(args),
        Command::Fetch(args) => session.fetch(args),
        Command::Plan { role, key } => session.plan(role, *key),
        Command::Tree { role, plain, sources } => session.tree(role, *plain, sources),
        Command::Sbom { role, format } => session.sbom(role, *format),
        Command::Why { role } => session.why(role),
        Command::Diff(args) => session.diff(args),
        Command::Audit(args) => session.audit(args),
        Command::Bundle(command) => session.bundle(command),
        Command::Verify(args) => session.verify(args),
        Command::Gc(args) => session.gc(args),
        Command::Store => session.show_store(),
        Command::Lock(args) => session.lock(args),
        Command::Cluster(args) => session.show_cluster(args),
        Command::NetXml(args) => session.print_cluster(args, rendered::network_xml),
        Command::DomainXml(args) => session.domain_xml(args),
        Command::Qemu(args) => session.qemu(args),
        Command::Dnsmasq(args) => session.print_cluster(args, rendered::dnsmasq_conf),
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
}

impl Session<'_> {
    /// The project that the command works on.
    fn project(&self) -> Result<Project> {
        Project::find(self.global.project.as_deref(), &current_folder()?)
    }

    /// The channel: the one that was named, or the cluster file's in the current folder, or the usual one.
    fn channel(&self) -> Result<String> {
        if let Some(named) = &self.global.channel {
            return Ok(named.clone());
        }
        let file = Path::new(CLUSTER_FILE);
        let Some(bytes) = fsx::read_if_present(file)? else { return Ok(ChannelName::usual().to_string()) };
        // The rest of the file is for the commands that are about the cluster.
        let channel = Cluster::channel_of(CLUSTER_FILE, &String::from_utf8_lossy(&bytes))?;
        Ok(channel.unwrap_or_else(ChannelName::usual).to_string())
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
