//! Ctrl-C and friends: the first asks the command to stop, the second ends it at once. And what the system's limits do: a file
//! that may not grow is an error like others, and no memory is dumped, for it may hold keys.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXCPU, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::shell::Shell;
use crate::error::{Class, Error, Result};
use crate::value::Cancel;

const ALL: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Turns the signals that ask a program to stop into `cancel`. Where there are `events`, the second signal is told too
/// before it ends the program.
pub fn install(cancel: &Cancel, shell: &Arc<Shell>, events: bool) -> Result<()> {
    let fails = |e| Error::io("listen for signals", &e);
    dump_no_memory();
    // With a handler, which does nothing, the write fails. Unlike an ignored signal it is not handed on to other programs.
    flag::register(SIGXFSZ, Arc::default()).map_err(fails)?;
    // Sent every second from the limit on, until the system ends the process.
    flag::register(SIGXCPU, cancel.flag()).map_err(fails)?;
    if events {
        return listen(cancel, shell).map_err(fails);
    }
    for signal in ALL {
        // In this order: the shutdown is armed by the flag that the second registration sets.
        flag::register_conditional_shutdown(signal, Class::Interrupted.exit_code().into(), cancel.flag())
            .and_then(|_| flag::register(signal, cancel.flag()))
            .map_err(fails)?;
    }
    Ok(())
}

/// Lets no fault, and no Ctrl-\, leave a file with what is in memory: `pki`, `seed` and logins have secrets there.
///
/// One byte instead of none: where dumps go to a program, Linux looks at the limit only for this value (core(5)). The stricter
/// `PR_SET_DUMPABLE` would take the process's own files in /proc from it, and with them `/dev/stdin` and user namespaces.
fn dump_no_memory() {
    let most = getrlimit(Resource::Core).maximum.unwrap_or(1).min(1);
    // To lower a limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) });
}

/// In a thread, since a handler could not write an event.
fn listen(cancel: &Cancel, shell: &Arc<Shell>) -> std::io::Result<()> {
    let mut signals = Signals::new(ALL)?;
    let (cancel, shell) = (cancel.clone(), Arc::clone(shell));
    let work = move || {
        for _ in signals.forever() {
            if let Err(interrupted) = cancel.check() {
                shell.last_words(&interrupted);
                signal_hook::low_level::exit(Class::Interrupted.exit_code().into());
            }
            cancel.flag().store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    std::thread::Builder::new().name("kbake-signals".to_owned()).spawn(work).map(drop)
}
