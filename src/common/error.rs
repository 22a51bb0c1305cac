//! The error type: everything that a person needs to act, and the class that decides the exit code.
//!
//! An error names the thing, what was expected and found, and (as a hint) the next command. Callers add context with
//! [`Error::detail`]; only `cli` prints.

use std::fmt;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of a failure, for callers (a person, or a CI script) that must tell the cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The user can fix it: a recipe, a lockfile, an argument's value, a missing host tool.
    User,
    /// The command line itself is wrong.
    Usage,
    /// No source responded, or none had the locked bytes.
    Network,
    /// Bytes do not match their digest.
    Integrity,
    /// The disk or the quota is full, or a file exceeds the size limit.
    NoSpace,
    /// An image has vulnerabilities that the caller does not accept.
    Vulnerable,
    /// Stopped by a signal.
    Interrupted,
    /// A bug in kbake or in a locked tool, worth reporting.
    Internal,
}

impl Class {
    /// The process's exit code. Documented in the README; part of the interface.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::User => 1,
            Class::Usage => 2,
            Class::Network => 3,
            Class::Integrity => 4,
            Class::NoSpace => 5,
            Class::Vulnerable => 6,
            Class::Internal => 70,
            Class::Interrupted => 130,
        }
    }

    /// The class's name in events; part of the interface.
    pub fn word(self) -> &'static str {
        match self {
            Class::User => "user",
            Class::Usage => "usage",
            Class::Network => "network",
            Class::Integrity => "integrity",
            Class::NoSpace => "no-space",
            Class::Vulnerable => "vulnerable",
            Class::Internal => "internal",
            Class::Interrupted => "interrupted",
        }
    }
}

/// A failure: message, details and hints.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    class: Class,
    message: String,
    details: Vec<String>,
    hints: Vec<String>,
}

impl Error {
    /// A failure of `class`; `message` is one lower-case sentence without a final full stop.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { class, message: harmless(message.into()), details: Vec::new(), hints: Vec::new() }))
    }

    /// A failure that the user can fix.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Class::User, message)
    }

    /// Bytes that do not match their digest.
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(Class::Integrity, message)
    }

    /// A bug in kbake.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Class::Internal, message)
    }

    /// An I/O failure while doing `what` ("write images/etcd.qcow2"). A full disk has its own class.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        // An `Error` that passed through a `Read` or `Write` keeps its class and text.
        if let Some(inner) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
            return inner.clone();
        }
        use std::io::ErrorKind::{FileTooLarge, Interrupted, QuotaExceeded, StorageFull};
        let class = match error.kind() {
            // A file size limit is a kind of quota: the request is right, but there is no room for it.
            StorageFull | QuotaExceeded | FileTooLarge => Class::NoSpace,
            Interrupted => Class::Interrupted,
            _ => Class::User,
        };
        let found = Self::new(class, format!("cannot {what}: {error}"));
        match error.kind() {
            FileTooLarge => {
                found.hint("nothing was kept half-written; `ulimit -f` prints the limit on file sizes, and FAT allows 4 GiB at most")
            }
            _ if class == Class::NoSpace => found.hint("nothing was kept half-written; free some space on that disk"),
            _ => found,
        }
    }

    /// Adds a line below the message: what was expected, what was found, from where.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.0.details.push(harmless(line.into()));
        self
    }

    /// Adds the next step for the user.
    #[must_use]
    pub fn hint(mut self, line: impl Into<String>) -> Self {
        self.0.hints.push(harmless(line.into()));
        self
    }

    /// Changes each hint by `edit`.
    #[must_use]
    pub fn map_hints(mut self, edit: impl Fn(String) -> String) -> Self {
        self.0.hints = std::mem::take(&mut self.0.hints).into_iter().map(edit).collect();
        self
    }

    /// The class.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// The message, without `error:`.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The details, one a line.
    pub fn details(&self) -> &[String] {
        &self.0.details
    }

    /// The hints, without `hint:`.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }
}

/// The longest text that is shown in full, in bytes: enough for the last output of a tool.
const SHOWN_MAX: usize = 16 << 10;

/// Makes untrusted text safe to print: escapes control characters and those that change the writing direction, which
/// could deceive a terminal or a reader, and truncates a text that is too long.
pub(crate) fn harmless(mut text: String) -> String {
    let wild = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.len() > SHOWN_MAX {
        let cut = (0..=SHOWN_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        let left_out = text.split_off(cut).len();
        text.push_str(&format!("… ({left_out} more bytes)"));
    }
    if !text.contains(wild) {
        return text;
    }
    let mut tame = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if wild(c) { tame.extend(c.escape_unicode()) } else { tame.push(c) }
    }
    tame
}

impl fmt::Display for Error {
    /// The message, indented details, and `hint:` lines, without a final newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for line in &self.0.details {
            write!(f, "\n  {line}")?;
        }
        for line in &self.0.hints {
            write!(f, "\nhint: {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Lets an `Error` pass through `Read` and `Write`; [`Error::io`] unwraps it.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_cannot_control_the_terminal() {
        let error = Error::user("a\x1b[2Jb").detail("c\r\u{202e}d\te\nf").hint("\u{7f}ü");
        assert_eq!(error.to_string(), "a\\u{1b}[2Jb\n  c\\u{d}\\u{202e}d\te\nf\nhint: \\u{7f}ü");
        let long = Error::user("ü".repeat(1 << 20)).to_string();
        assert!(long.len() < SHOWN_MAX + 100 && long.ends_with("ü… (2080768 more bytes)"), "{}", &long[SHOWN_MAX..]);
    }
}
