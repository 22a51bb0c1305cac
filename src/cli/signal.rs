//! Ctrl-C and friends: the first asks the command to stop, the second ends it at once.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Class, Error, Result};
use crate::value::Cancel;

/// Turns the signals that ask a program to stop into `cancel`.
pub fn install(cancel: &Cancel) -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the shutdown is armed by the flag that the second registration sets.
        flag::register_conditional_shutdown(signal, Class::Interrupted.exit_code().into(), cancel.flag())
            .and_then(|_| flag::register(signal, cancel.flag()))
            .map_err(|e| Error::io("listen for signals", &e))?;
    }
    Ok(())
}
