//! A finding: one vulnerability in one product.

use std::collections::BTreeSet;
use std::fmt;

use super::{Severity, Statement};

/// A vulnerability in a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its CVE; another id if it has none.
    pub id: String,
    /// Its other ids.
    pub aliases: BTreeSet<String>,
    /// The product: a Debian source package, an artifact, a container image.
    pub product: String,
    /// Its severity.
    pub severity: Severity,
    /// Its status.
    pub status: Status,
    /// The reason of the status, in the publisher's or the project's words.
    pub reason: Option<String>,
    /// The project's statement on it, if there is one.
    pub statement: Option<Statement>,
    /// The affected parts of the product.
    pub parts: Vec<Part>,
}

/// The status of a vulnerability in a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// A newer version of the product has a fix.
    Fixable,
    /// No version of the product has a fix yet.
    Open,
    /// The product is not affected.
    NotApplicable,
}

/// A part of a product that has the vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    /// The source package, or the module's path.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The first version with a fix, if one is known.
    pub fixed: Option<String>,
    /// Its package URLs.
    pub purls: BTreeSet<String>,
}

/// All findings in some software.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// By severity, the worst first, then by id and product.
    pub findings: Vec<Finding>,
    /// The parts that were not looked up, and the reason of each.
    pub unknown: BTreeSet<String>,
}

impl Status {
    /// The name; part of the interface.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Fixable => "fixable",
            Status::Open => "open",
            Status::NotApplicable => "not applicable",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Report {
    /// The number of findings with a status.
    pub(crate) fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|finding| finding.status == status).count()
    }
}
