//! `recipes/vex.toml`: the project's own statements on vulnerabilities, in the words of
//! [OpenVEX](https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md).

use std::collections::BTreeSet;
use std::str::FromStr;

use super::statement::{Justification, Statement, Word};
use super::{Finding, Report, Status};
use crate::Result;
use crate::common::document::{self, Section};

const REMEDY: &str = "keep the statements that you want, and remove the markers";

/// The statements of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Vex(pub Vec<Statement>);

impl Vex {
    /// Parses the text of a file, called `file` in messages.
    ///
    /// # Errors
    /// Invalid TOML, unknown or missing keys and bad values, with their places.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self> {
        let mut root = document::open(file, text, REMEDY)?;
        root.only(&["statement"])?;
        root.sections("statement")?.iter_mut().map(statement).collect::<Result<_>>().map(Vex)
    }

    /// Applies the statements to the findings of a report. Returns the numbers of the statements that match one.
    pub(crate) fn apply(&self, report: &mut Report) -> BTreeSet<usize> {
        let mut matched = BTreeSet::new();
        for finding in &mut report.findings {
            for (number, statement) in self.0.iter().enumerate() {
                if is_on(statement, finding) {
                    matched.insert(number);
                    judge(statement, finding);
                }
            }
        }
        matched
    }
}

/// True if the statement names the finding.
fn is_on(statement: &Statement, finding: &Finding) -> bool {
    let is_named = finding.id == statement.vulnerability || finding.aliases.contains(&statement.vulnerability);
    is_named && statement.products.contains(&finding.product)
}

fn judge(statement: &Statement, finding: &mut Finding) {
    let because = statement.justification.map(Justification::as_str).or(statement.reason.as_deref());
    match statement.status {
        Word::NotAffected | Word::Fixed => finding.status = Status::NotApplicable,
        // Debian's verdict that it does not apply is overruled as well.
        Word::Affected | Word::UnderInvestigation if finding.status == Status::NotApplicable => finding.status = Status::Open,
        Word::Affected | Word::UnderInvestigation => {}
    }
    finding.reason = Some(format!("{}{}", statement.status, because.map(|why| format!(": {why}")).unwrap_or_default()));
    finding.statement = Some(statement.clone());
}

fn statement(section: &mut Section) -> Result<Statement> {
    section.only(&["vulnerability", "products", "status", "justification", "reason"])?;
    let vulnerability = section.required::<Line>("vulnerability")?.value.0;
    let products: BTreeSet<String> = section.list::<Line>("products")?.into_iter().map(|product| product.value.0).collect();
    if products.is_empty() {
        return Err(section.missing("products").hint("list the products by their names in the table of `kbake cve`"));
    }
    let status = section.required::<Word>("status")?;
    let justification = section.optional::<Justification>("justification")?;
    match (status.value, &justification) {
        (Word::NotAffected, None) => return Err(section.missing("justification").hint("OpenVEX demands one for `not_affected`")),
        (Word::NotAffected, Some(_)) | (_, None) => {}
        (_, Some(justification)) => return Err(justification.place.error("`justification` belongs to the status `not_affected` only")),
    }
    let justification = justification.map(|found| found.value);
    let reason = section.optional::<Line>("reason")?.map(|reason| reason.value.0);
    Ok(Statement { vulnerability, products, status: status.value, justification, reason })
}

/// A text of one line.
struct Line(String);

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match !text.is_empty() && !text.contains(char::is_control) {
            true => Ok(Line(text.to_owned())),
            false => Err("it must be one line of text".to_owned()),
        }
    }
}
