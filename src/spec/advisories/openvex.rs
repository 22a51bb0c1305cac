//! Findings as an [OpenVEX](https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md) document, which scanners read.
//!
//! Deterministic: the time is the channel's epoch, and the id is derived from the contents.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::statement::Word;
use super::{Finding, Report, Status};
use crate::common::value::{Epoch, Sha256, civil, derived_uuid};

const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";

/// The document on these reports.
pub(crate) fn openvex<'a>(reports: impl IntoIterator<Item = &'a Report>, epoch: Epoch) -> Value {
    // Roles share packages.
    let mut seen = BTreeSet::new();
    let all = reports.into_iter().flat_map(|report| &report.findings).map(statement);
    let statements: Vec<Value> = all.filter(|statement| seen.insert(statement.to_string())).collect();
    let time = civil(epoch).to_string();
    let id = derived_uuid("kbake openvex", &Sha256::of(json!([time, statements]).to_string()).to_string());
    json!({
        "@context": CONTEXT,
        "@id": format!("urn:uuid:{id}"),
        "author": "kbake",
        "timestamp": time,
        "version": 1,
        "tooling": format!("kbake/{}", env!("CARGO_PKG_VERSION")),
        "statements": statements,
    })
}

fn statement(finding: &Finding) -> Value {
    let purls: BTreeSet<&String> = finding.parts.iter().flat_map(|part| &part.purls).collect();
    let product = |purl: &&String| json!({"@id": purl, "identifiers": {"purl": purl}});
    let mut statement = Map::new();
    let mut put = |key: &str, value: Value| drop(statement.insert(key.to_owned(), value));
    let mut vulnerability = json!({"name": finding.id});
    if !finding.aliases.is_empty() {
        vulnerability["aliases"] = json!(finding.aliases);
    }
    put("vulnerability", vulnerability);
    put("products", purls.iter().map(product).collect());
    let word = word(finding);
    put("status", json!(word.as_str()));
    match (word, &finding.statement) {
        (Word::NotAffected, Some(judged)) => {
            put("justification", json!(judged.justification.map(|why| why.as_str())));
            judged.reason.iter().for_each(|reason| put("impact_statement", json!(reason)));
        }
        (Word::NotAffected, None) => put("impact_statement", json!(finding.reason)),
        (Word::Affected, _) => put("action_statement", json!(action(finding))),
        (Word::Fixed | Word::UnderInvestigation, judged) => {
            let reason = judged.as_ref().and_then(|judged| judged.reason.as_ref());
            reason.iter().for_each(|reason| put("status_notes", json!(reason)));
        }
    }
    statement.into()
}

fn word(finding: &Finding) -> Word {
    match (&finding.statement, finding.status) {
        (Some(judged), _) => judged.status,
        (None, Status::NotApplicable) => Word::NotAffected,
        (None, Status::Fixable | Status::Open) => Word::Affected,
    }
}

/// The remedy, which OpenVEX demands of an affected product.
fn action(finding: &Finding) -> String {
    let own = finding.statement.as_ref().and_then(|judged| judged.reason.clone());
    own.unwrap_or_else(|| match finding.status {
        Status::Fixable => {
            let fixes: BTreeSet<&str> = finding.parts.iter().filter_map(|part| part.fixed.as_deref()).collect();
            format!("update {} to {}", finding.product, fixes.into_iter().collect::<Vec<_>>().join(", "))
        }
        Status::Open | Status::NotApplicable => match &finding.reason {
            Some(reason) => format!("no fixed version of {} is available: {reason}", finding.product),
            None => format!("no fixed version of {} is available", finding.product),
        },
    })
}
