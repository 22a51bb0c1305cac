//! A report as text and as JSON.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::columns;
use crate::common::error::harmless;
use crate::common::value::RoleName;
use crate::spec::advisories::{Finding, Part, Report, Status};

/// The tables of all roles, each with its figures.
pub(super) fn tables(reports: &[(&RoleName, &Report)], all: bool) -> String {
    reports.iter().map(|(role, report)| table(role, report, all)).collect::<Vec<_>>().join("\n")
}

fn table(role: &RoleName, report: &Report, all: bool) -> String {
    let shown: Vec<&Finding> = report.findings.iter().filter(|finding| all || finding.status != Status::NotApplicable).collect();
    let mut text = String::new();
    if !shown.is_empty() {
        let head = ["VULNERABILITY", "SEVERITY", "PRODUCT: STATE"].map(str::to_owned);
        let rows: Vec<[String; 3]> = std::iter::once(head).chain(shown.into_iter().map(row)).collect();
        text = columns::fitted(&rows) + "\n";
    }
    let [fixable, open, rest] = [Status::Fixable, Status::Open, Status::NotApplicable].map(|status| report.count(status));
    text + &format!("{role}: {fixable} fixable, {open} open, {rest} not applicable\n")
}

/// The product is in the last column, which is wrapped: names of source packages may have 40 characters.
fn row(finding: &Finding) -> [String; 3] {
    // Advisories are others' texts.
    [finding.id.clone(), finding.severity.to_string(), format!("{}: {}", finding.product, state(finding))].map(harmless)
}

/// `fixable: 1.2-3 → 1.2-3+deb13u1`, `open: 1.2-3; postponed`.
fn state(finding: &Finding) -> String {
    let parts = match finding.status {
        Status::NotApplicable => Vec::new(),
        Status::Fixable | Status::Open => {
            finding.parts.iter().map(|part| part_text(finding, part)).collect::<BTreeSet<_>>().into_iter().collect()
        }
    };
    let words = [parts.join(", "), finding.reason.clone().unwrap_or_default()];
    let said: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    match said.is_empty() {
        true => finding.status.to_string(),
        false => format!("{}: {}", finding.status, said.join("; ")),
    }
}

/// `golang.org/x/net 0.20.0 → 0.23.0`; without the name where it is the product's.
fn part_text(finding: &Finding, part: &Part) -> String {
    let name = if part.name == finding.product { String::new() } else { format!("{} ", part.name) };
    let fixed = part.fixed.as_ref().map(|fixed| format!(" → {fixed}")).unwrap_or_default();
    format!("{name}{}{fixed}", part.version)
}

/// All reports; part of the interface (docs/cve.md).
pub(super) fn json(reports: &[(&RoleName, &Report)]) -> Value {
    let role = |(role, report): &(&RoleName, &Report)| {
        json!({
            "role": role.as_str(),
            "fixable": report.count(Status::Fixable),
            "open": report.count(Status::Open),
            "not_applicable": report.count(Status::NotApplicable),
            "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
            "not_looked_up": report.unknown,
        })
    };
    json!({"roles": reports.iter().map(role).collect::<Vec<_>>()})
}

fn finding(finding: &Finding) -> Value {
    let part = |part: &Part| json!({"name": part.name, "version": part.version, "fixed": part.fixed, "purls": part.purls});
    json!({
        "id": finding.id,
        "aliases": finding.aliases,
        "product": finding.product,
        "severity": finding.severity.as_str(),
        "status": finding.status.as_str().replace(' ', "_"),
        "reason": finding.reason,
        "statement": finding.statement.as_ref().map(|statement| statement.status.as_str()),
        "parts": finding.parts.iter().map(part).collect::<Vec<_>>(),
    })
}

/// A JSON document for people.
pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
