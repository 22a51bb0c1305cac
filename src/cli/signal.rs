//! Ctrl-C and friends: the first asks the command to stop, the second ends it at once.

use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
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
