//! The only printer: results on stdout, everything else on stderr. With `--json` stdout has nothing but events.
//!
//! On a terminal a step's progress is a bar; elsewhere (CI, a pipe) it is plain lines, a quarter at a time, so that
//! a log stays readable.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::events::{self, Ledger};
use super::hint::Given;
use super::paint::painted;
use super::scrub::scrub;
use crate::error::{Error, Result};
use crate::report::{Item, ItemKind, Outcome, Report};
use crate::value::Size;

/// The bar of a step. Its name takes the room that the figures leave, so that a terminal of 80 columns shows all of them.
const BAR: &str = "{wide_msg} {bar:20} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12}";

/// How the command talks.
pub struct Shell {
    quiet: bool,
    json: bool,
    /// Whether stderr is a terminal that a bar may be drawn on.
    terminal: bool,
    /// True when messages have colours: on a terminal, unless NO_COLOR or a similar variable says otherwise.
    colours: bool,
    /// The options and roles of this call that a suggested command must repeat.
    given: Given,
    running: Mutex<Option<Running>>,
    ledger: Mutex<Ledger>,
    /// Why an event could not be written.
    broken: Mutex<Option<Error>>,
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
        // A bar is redrawn in the middle of lines, and stdout may be the same terminal.
        let terminal = !json && std::io::stderr().is_terminal();
        let colours = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
        let (running, ledger, broken) = (Mutex::default(), Mutex::new(Ledger::new()), Mutex::default());
        Shell { quiet, json, terminal, colours, given: Given::default(), running, ledger, broken }
    }

    /// With commands in messages completed by what this call was given.
    pub fn completing(self, given: Given) -> Self {
        Shell { given, ..self }
    }

    /// The text with its commands completed by what this call was given.
    pub fn complete(&self, text: &str) -> String {
        self.given.complete(text)
    }

    /// Data on stdout. A reader that went away (`kbake plan | head`) is no error; a full disk is.
    pub fn data(&self, text: &str) -> Result<()> {
        if self.json { stdout(&events::results(text)) } else { stdout(text) }
    }

    /// A result that machines get as one value, and people as text.
    pub fn document(&self, data: impl FnOnce() -> serde_json::Value, text: &str) -> Result<()> {
        if self.json { stdout(&events::document(&data())) } else { stdout(text) }
    }

    /// What people get on stdout in place of an event.
    pub fn for_people(&self, text: &str) -> Result<()> {
        if self.json { Ok(()) } else { stdout(text) }
    }

    /// Work on an item has ended, and it is at `path` now, outside the store.
    pub fn placed(&self, item: &Item<'_>, outcome: Outcome, path: &Path) {
        self.tell(item, outcome, Some(&path.display().to_string()));
    }

    /// A line on stderr that even `--quiet` does not silence.
    pub fn notice(&self, line: &str) {
        self.stderr(&self.given.complete(line));
    }

    /// The end of a command that succeeded; with a table of what it did, if people shall have one.
    ///
    /// # Errors
    /// What was to be said on stdout could not be.
    pub fn end(&self, table: bool) -> Result<()> {
        if let Some(error) = lock(&self.broken).take() {
            return Err(error);
        }
        if self.json {
            return stdout(&lock(&self.ledger).done());
        }
        if table
            && !self.quiet
            && let Some(table) = lock(&self.ledger).table()
        {
            self.stderr(table.trim_end());
        }
        Ok(())
    }

    /// A failure on stderr, and as the last event.
    pub fn error(&self, error: &Error) {
        self.done();
        let error = error.clone().map_hints(|hint| self.given.complete(&hint));
        self.stderr(&format!("error: {error}"));
        if self.json {
            // Nobody is left to be told of another failure.
            let _ = stdout(&lock(&self.ledger).failed(&error));
        }
    }

    /// A failure as the last event, said from beside the command's threads: if these hold everything for long, because
    /// nobody reads what they write, then not.
    pub fn last_words(&self, error: &Error) {
        for _ in 0..20 {
            if let Ok(mut ledger) = self.ledger.try_lock() {
                let _ = stdout(&ledger.failed(error));
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
    }

    fn tell(&self, item: &Item<'_>, outcome: Outcome, path: Option<&str>) {
        // Held while it is written, so that events come in the order in which they happened.
        let mut ledger = lock(&self.ledger);
        let line = ledger.ended(item, outcome, path);
        if self.json
            && let Some(line) = line
            && let Err(error) = stdout(&line)
        {
            lock(&self.broken).get_or_insert(error);
        }
    }

    fn stderr(&self, line: &str) {
        let scrubbed = scrub(line);
        let line = if self.colours { painted(&scrubbed) } else { scrubbed };
        let running = lock(&self.running);
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
        // Small work is over before a line about it could help.
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
        lock(&self.ledger).begun(item);
    }

    fn ended(&self, item: &Item<'_>, outcome: Outcome) {
        // What is outside the store is called by its path.
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

/// After a panic elsewhere what it holds is as good as ever.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
