//! All output: results on stdout, everything else on stderr. With `--json`, stdout has only events.
//!
//! On a terminal progress is a bar; elsewhere (CI, a pipe) it is a plain line per quarter, so that logs stay readable.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::colours::coloured;
use super::events::{self, ItemLog};
use super::hint::Given;
use super::redact::redact;
use crate::common::error::{Error, Result};
use crate::common::report::{Item, ItemKind, Outcome, Report};
use crate::common::value::Size;

/// The progress bar. The message gets the width that the figures leave, so that 80 columns are enough.
const BAR: &str = "{wide_msg} {bar:20} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12}";

/// The output of a command.
pub(super) struct Shell {
    quiet: bool,
    json: bool,
    /// True if stderr is a terminal for progress bars.
    terminal: bool,
    /// True if messages are coloured: on a terminal, unless NO_COLOR or a similar variable is set.
    colours: bool,
    /// The options and roles of this call that a suggested command must repeat.
    given: Given,
    running: Mutex<Option<Running>>,
    item_log: Mutex<ItemLog>,
    /// The error of an event that could not be written.
    broken: Mutex<Option<Error>>,
}

/// The step with the current progress.
struct Running {
    what: String,
    total: u64,
    /// Quarters printed so far, without a terminal.
    quarters: u64,
    bar: Option<ProgressBar>,
}

impl Shell {
    /// The output of this process.
    pub(super) fn new(quiet: bool, json: bool) -> Self {
        // No bar with events: stdout may be the same terminal, and a bar would break its lines.
        let terminal = !json && std::io::stderr().is_terminal();
        let colours = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
        let (running, item_log, broken) = (Mutex::default(), Mutex::new(ItemLog::new()), Mutex::default());
        Shell { quiet, json, terminal, colours, given: Given::default(), running, item_log, broken }
    }

    /// The same output, which completes commands in messages with the options of this call.
    pub(super) fn completing(self, given: Given) -> Self {
        Shell { given, ..self }
    }

    /// The text with its commands completed with the options of this call.
    pub(super) fn complete(&self, text: &str) -> String {
        self.given.complete(text)
    }

    /// Prints a result on stdout. A closed pipe (`kbake plan | head`) is not an error; a full disk is.
    pub(super) fn data(&self, text: &str) -> Result<()> {
        if self.json { stdout(&events::results(text)) } else { stdout(text) }
    }

    /// Prints a result: with `--json` as one value, else as text.
    pub(super) fn document(&self, data: impl FnOnce() -> serde_json::Value, text: &str) -> Result<()> {
        if self.json { stdout(&events::document(&data())) } else { stdout(text) }
    }

    /// Prints a text on stdout, unless events are printed.
    pub(super) fn for_people(&self, text: &str) -> Result<()> {
        if self.json { Ok(()) } else { stdout(text) }
    }

    /// Records the end of an item, which is now at `path` outside the store.
    pub(super) fn placed(&self, item: &Item<'_>, outcome: Outcome, path: &Path) {
        self.tell(item, outcome, Some(&path.display().to_string()));
    }

    /// Prints a line on stderr, even with `--quiet`.
    pub(super) fn notice(&self, line: &str) {
        self.stderr(&self.given.complete(line));
    }

    /// Ends a command that succeeded, with the table of its items if `table`.
    ///
    /// # Errors
    /// A failed write to stdout.
    pub(super) fn end(&self, table: bool) -> Result<()> {
        if let Some(error) = lock(&self.broken).take() {
            return Err(error);
        }
        if self.json {
            return stdout(&lock(&self.item_log).done());
        }
        if table
            && !self.quiet
            && let Some(table) = lock(&self.item_log).table()
        {
            self.stderr(table.trim_end());
        }
        Ok(())
    }

    /// Prints an error on stderr, and as the last event.
    pub(super) fn error(&self, error: &Error) {
        self.done();
        let error = error.clone().map_hints(|hint| self.given.complete(&hint));
        self.stderr(&format!("error: {error}"));
        if self.json {
            // Another error could not be reported.
            let _ = stdout(&lock(&self.item_log).failed(&error));
        }
    }

    /// Prints an error as the last event from the signal thread. Gives up after half a second: the command's threads may hold the
    /// lock while they are blocked on a full pipe.
    pub(super) fn fatal_error(&self, error: &Error) {
        for _ in 0..20 {
            if let Ok(mut item_log) = self.item_log.try_lock() {
                let _ = stdout(&item_log.failed(error));
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
    }

    fn tell(&self, item: &Item<'_>, outcome: Outcome, path: Option<&str>) {
        // The lock is held during the write, so that events are printed in order.
        let mut item_log = lock(&self.item_log);
        let line = item_log.ended(item, outcome, path);
        if self.json
            && let Some(line) = line
            && let Err(error) = stdout(&line)
        {
            lock(&self.broken).get_or_insert(error);
        }
    }

    fn stderr(&self, line: &str) {
        let redacted = redact(line);
        let line = if self.colours { coloured(&redacted) } else { redacted };
        let running = lock(&self.running);
        match running.as_ref().and_then(|running| running.bar.as_ref()) {
            Some(bar) => bar.println(line),
            // A closed stderr cannot be reported.
            None => _ = writeln!(std::io::stderr().lock(), "{line}"),
        }
    }
}

impl Report for Shell {
    fn say(&self, line: &str) {
        if !self.quiet {
            self.stderr(&self.given.complete(line));
        }
    }

    fn begin(&self, what: &str, total: u64) {
        if self.quiet {
            return;
        }
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(BAR);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(what.to_owned());
            bar
        });
        if bar.is_none() {
            self.stderr(&format!("{what}: {}", Size(total)));
        }
        let running = Running { what: what.to_owned(), total, quarters: 0, bar };
        *lock(&self.running) = Some(running);
    }

    fn reached(&self, units: u64) {
        let mut guard = lock(&self.running);
        let Some(running) = guard.as_mut() else { return };
        if let Some(bar) = &running.bar {
            bar.set_position(units.min(running.total));
            return;
        }
        let quarters = (units * 4).checked_div(running.total).unwrap_or(4).min(4);
        // No progress lines for small steps.
        if quarters > running.quarters && running.total > 16 << 20 {
            running.quarters = quarters;
            let line = format!("{}: {} %", running.what, quarters * 25);
            drop(guard);
            self.stderr(&line);
        }
    }

    fn done(&self) {
        let running = lock(&self.running).take();
        if let Some(bar) = running.and_then(|running| running.bar) {
            bar.finish_and_clear();
        }
    }

    fn begun(&self, item: &Item<'_>) {
        lock(&self.item_log).begun(item);
    }

    fn ended(&self, item: &Item<'_>, outcome: Outcome) {
        // The name of an item outside the store is its path.
        let is_path = item.kind == ItemKind::File || outcome == Outcome::Written;
        self.tell(item, outcome, is_path.then_some(item.name));
    }
}

fn stdout(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("write to standard output", &e)),
        _ => Ok(()),
    }
}

/// Locks a mutex and ignores poisoning: the data stays valid after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
