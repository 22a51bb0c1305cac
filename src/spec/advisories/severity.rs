//! The severity of a vulnerability, in the words that publishers agree on.

use std::fmt;

/// The severity of a vulnerability, from the least to the worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Nobody has rated it.
    #[default]
    Unknown,
    /// Hardly of use to an attacker.
    Low,
    /// Exploitable under some conditions.
    Medium,
    /// Exploitable under few conditions.
    High,
    /// Exploitable without any conditions.
    Critical,
}

impl Severity {
    /// The severity by its name in an advisory. Other words are unknown: publishers add new ones.
    pub(crate) fn of_word(word: &str) -> Self {
        // The tracker marks an urgency that a program has guessed by asterisks.
        match word.trim_end_matches('*').to_ascii_lowercase().as_str() {
            "low" => Severity::Low,
            "medium" | "moderate" => Severity::Medium,
            "high" | "important" => Severity::High,
            "critical" => Severity::Critical,
            _ => Severity::Unknown,
        }
    }

    /// The name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Severity::Unknown => "unknown",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
