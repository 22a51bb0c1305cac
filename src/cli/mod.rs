//! The command line: arguments, messages, progress, the environment. The only module that prints.
//!
//! Each command is in a file with its name (`build`, `gc`, `lock`, …; `contents` has `plan`, `tree`, `sbom`; `machine` has
//! `domain-xml`, `qemu`; `network` has `net-xml`, `dnsmasq`, `hosts`, `inventory`, `exports`; `manual` has `completions`,
//! `man`). The other files are shared by several commands.

mod args;
mod audit;
mod build;
mod bundle;
mod clock;
mod cluster;
mod cluster_files;
mod colours;
mod config;
mod contents;
mod cve;
mod data;
mod diff;
mod disk;
mod environment;
mod events;
mod fetch;
mod gc;
mod hint;
mod init;
mod kubeconfig;
mod lock;
mod machine;
mod machine_files;
mod manual;
mod network;
mod pki;
mod private_files;
mod qemu_ports;
mod redact;
mod roles;
mod seed;
mod session;
mod shell;
mod signal;
mod store;
mod verify;
mod why;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory as _, FromArgMatches as _};

use self::args::{Cli, Command, Global};
use self::environment::{current_folder, default_store};
use self::hint::Given;
use self::redact::redact_typed;
use self::session::Session;
use self::shell::Shell;
use crate::cluster::host as rendered;
use crate::common::error::{Class, Error, Result};
use crate::common::fsx;
use crate::common::value::Cancel;

/// The default cluster file.
const CLUSTER_FILE: &str = "cluster.toml";
/// The default folder of images, disks and seeds.
const IMAGES: &str = "images";

/// Runs the command line `args` (including the program's name) and returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed = Cli::command().try_get_matches_from(&args).and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, Given::of(&matches))));
    let (cli, given) = match parsed {
        Ok(parsed) => parsed,
        Err(answer) => {
            if answer.use_stderr() {
                return ExitCode::from(usage(&answer, &args));
            }
            // `--help` and `--version` for stdout. A closed pipe is not an error.
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

/// Adds a hint if the store's disk is full.
fn of_store(error: Error, global: &Global) -> Error {
    let root = global.store.clone().or_else(|| default_store().ok()).and_then(|root| fsx::canonical(&root).ok());
    let names = |root: PathBuf| error.message().contains("the store") || error.message().contains(&*root.to_string_lossy());
    let is_it = error.class() == Class::NoSpace && !error.hints().iter().any(|hint| hint.contains("$KBAKE_STORE"));
    match is_it && root.is_some_and(names) {
        true => error.hint("or point $KBAKE_STORE at a larger disk"),
        false => error,
    }
}

/// Reports a wrong command line, with `--json` also as an event. Returns the exit code.
fn usage(answer: &clap::Error, args: &[OsString]) -> u8 {
    let typed = answer.to_string();
    let text = redact_typed(&typed);
    let shell = Shell::new(true, true);
    if text == typed {
        // Printed by clap, in colour.
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
        shell.fatal_error(&error);
    }
    error.class().exit_code()
}

/// Runs `work` and turns a panic, whose message is already on stderr, into an error with an exit code and an event.
fn caught(work: impl FnOnce() -> Result<()>) -> Result<()> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::internal("kbake panicked").hint("please report it, with the lines above")))
}

fn run(cli: &Cli, shell: &Shell, cancel: &Cancel) -> Result<()> {
    let session = Session { global: &cli.global, shell, cancel, told_skipped: AtomicBool::new(false) };
    match &cli.command {
        Command::Build(args) => session.build(args),
        Command::Fetch(args) => session.fetch(args),
        Command::Plan { role, key } => session.plan(role, *key),
        Command::Tree { role, plain, sources } => session.tree(role, *plain, sources),
        Command::Sbom { role, contents, format } => session.sbom(role, *contents, *format),
        Command::Cve(args) => session.cve(args),
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
