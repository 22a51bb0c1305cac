//! The only printer: results on stdout, everything else on stderr.
//!
//! On a terminal a step's progress is a bar; elsewhere (CI, a pipe) it is plain lines, a quarter at a time, so that
//! a log stays readable.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::{Error, Result};
use crate::report::Report;
use crate::value::Size;

/// How the command talks.
pub struct Shell {
    quiet: bool,
    json: bool,
    terminal: bool,
    running: Mutex<Option<Running>>,
}

/// The work that a bar or a line is about.
struct Running {
    what: String,
    total: u64,
    /// Quarters said so far, without a terminal.
    quarters: u64,
    bar: Option<ProgressBar>,
}

impl Shell {
    /// For this process's terminal, if it has one.
    pub fn new(quiet: bool, json: bool) -> Self {
        Shell { quiet, json, terminal: std::io::stderr().is_terminal(), running: Mutex::new(None) }
    }

    /// Data on stdout. A reader that went away (`kbake plan | head`) is no error; a full disk is.
    pub fn data(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("write to standard output", &e)),
            _ => Ok(()),
        }
    }

    /// A line on stderr that even `--quiet` does not silence.
    pub fn notice(&self, line: &str) {
        self.stderr(line);
    }

    /// A failure on stderr.
    pub fn error(&self, error: &Error) {
        self.done();
        self.stderr(&format!("error: {error}"));
    }

    fn stderr(&self, line: &str) {
        let running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match running.as_ref().and_then(|running| running.bar.as_ref()) {
            Some(bar) => bar.println(line),
            // A closed stderr leaves nowhere to complain.
            None => _ = writeln!(std::io::stderr().lock(), "{line}"),
        }
    }
}

impl Report for Shell {
    fn say(&self, line: &str) {
        if !self.quiet {
            self.stderr(line);
        }
    }

    fn begin(&self, what: &str, total: u64) {
        if self.quiet {
            return;
        }
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(what.to_owned());
            bar
        });
        if bar.is_none() {
            self.stderr(&format!("{what}: {}", Size(total)));
        }
        let running = Running { what: what.to_owned(), total, quarters: 0, bar };
        *self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(running);
    }

    fn reached(&self, units: u64) {
        let mut guard = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(running) = guard.as_mut() else { return };
        if let Some(bar) = &running.bar {
            bar.set_position(units.min(running.total));
            return;
        }
        let quarters = (units * 4).checked_div(running.total).unwrap_or(4).min(4);
        // Small work is over before a line about it could help.
        if quarters > running.quarters && running.total > 16 << 20 {
            running.quarters = quarters;
            let line = format!("{}: {} %", running.what, quarters * 25);
            drop(guard);
            self.stderr(&line);
        }
    }

    fn done(&self) {
        let running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(bar) = running.and_then(|running| running.bar) {
            bar.finish_and_clear();
        }
    }
}
