//! Signals: the first Ctrl-C (or similar) cancels the command, the second ends it at once. Resource limits: exceeding the file
//! size limit is a normal error, and core dumps are disabled, because memory may contain keys.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXCPU, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::shell::Shell;
use crate::common::error::{Class, Error, Result};
use crate::common::value::Cancel;

const ALL: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Connects the termination signals to `cancel`. With `events`, the second signal is reported before it ends the program.
pub(super) fn install(cancel: &Cancel, shell: &Arc<Shell>, events: bool) -> Result<()> {
    let fails = |e| Error::io("listen for signals", &e);
    dump_no_memory();
    // With a handler (that does nothing) the write fails. Unlike SIG_IGN, a handler is not inherited by other programs.
    flag::register(SIGXFSZ, Arc::default()).map_err(fails)?;
    // Sent every second after the CPU limit, until the system ends the process.
    flag::register(SIGXCPU, cancel.flag()).map_err(fails)?;
    if events {
        return listen(cancel, shell).map_err(fails);
    }
    for signal in ALL {
        // The order matters: the second registration sets the flag that arms the shutdown.
        flag::register_conditional_shutdown(signal, Class::Interrupted.exit_code().into(), cancel.flag())
            .and_then(|_| flag::register(signal, cancel.flag()))
            .map_err(fails)?;
    }
    Ok(())
}

/// Disables core dumps, also for Ctrl-\: `pki`, `seed` and logins have secrets in memory.
///
/// The limit is one byte, not zero: if dumps are piped to a program, Linux honours the limit only for the value 1 (core(5)). The
/// stricter `PR_SET_DUMPABLE` would make the process's own files in /proc inaccessible, and with them `/dev/stdin` and user
/// namespaces.
fn dump_no_memory() {
    let most = getrlimit(Resource::Core).maximum.unwrap_or(1).min(1);
    // Lowering a limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) });
}

/// Listens in a thread, because a signal handler cannot write an event.
fn listen(cancel: &Cancel, shell: &Arc<Shell>) -> std::io::Result<()> {
    let mut signals = Signals::new(ALL)?;
    let (cancel, shell) = (cancel.clone(), Arc::clone(shell));
    let work = move || {
        for _ in signals.forever() {
            if let Err(interrupted) = cancel.check() {
                shell.fatal_error(&interrupted);
                signal_hook::low_level::exit(Class::Interrupted.exit_code().into());
            }
            cancel.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    std::thread::Builder::new().name("kbake-signals".to_owned()).spawn(work).map(drop)
}
