//! The position of a value in a text, and its display: file, line, column, the line itself and a caret.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::Error;

/// The longest part of a source line that a message shows, in characters.
const SHOWN: usize = 120;

/// A text and its name in messages.
#[derive(PartialEq, Eq)]
pub(super) struct Source {
    pub(super) file: String,
    pub(super) text: String,
}

/// A range of a named text.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<Source>,
    span: Range<usize>,
}

impl Place {
    /// A range in bytes, clamped to the text and to character boundaries: parsers' spans may point past the end.
    pub(super) fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let text = &source.text;
        let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let start = boundary(span.start);
        let end = boundary(span.end).max(start);
        Place { source: Arc::clone(source), span: start..end }
    }

    /// The file's name, as passed to the parser.
    pub fn file(&self) -> &str {
        &self.source.file
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.source.text[self.line_start()..self.span.start].chars().count() + 1
    }

    /// A user error at this position, with the source line and a caret.
    pub fn error(&self, message: impl Into<String>) -> Error {
        self.excerpt().into_iter().fold(Error::user(message), Error::detail)
    }

    /// A user error at this position without the source line, which may be a secret.
    pub fn error_without_text(&self, message: impl Into<String>) -> Error {
        Error::user(message).detail(self.to_string())
    }

    /// Adds a second position to an error ("first here").
    pub fn note(&self, error: Error, what: &str) -> Error {
        self.excerpt().into_iter().fold(error.detail(format!("{what}:")), Error::detail)
    }

    fn before(&self) -> &str {
        &self.source.text[..self.span.start]
    }

    fn line_start(&self) -> usize {
        self.before().rfind('\n').map_or(0, |at| at + 1)
    }

    /// `file:line:column`, the source line, and the caret line.
    fn excerpt(&self) -> Vec<String> {
        let start = self.line_start();
        let line = self.source.text[start..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
        // A tab or control character would misplace the caret, or control the terminal.
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let column = self.column() - 1;
        let from = column.saturating_sub(SHOWN / 2);
        let shown: String = line.chars().skip(from).take(SHOWN).map(clean).collect();
        let marked = self.source.text[self.span.clone()].split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let room = (shown.chars().count() + from).saturating_sub(column);
        let width = marked.chars().count().min(room).max(1);
        let number = self.line().to_string();
        let margin = " ".repeat(number.len());
        vec![
            self.to_string(),
            format!("{number} | {shown}").trim_end().to_owned(),
            format!("{margin} | {}{}", " ".repeat(column - from), "^".repeat(width)),
        ]
    }
}

/// `file:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.line(), self.column())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its position in the text.
    pub place: Place,
}
