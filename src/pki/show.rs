//! What is there, as rows of a table.

use super::certificate::Certificate;
use super::survey::{self, ENCRYPTION, Found, FoundHost, Lacks};
use super::{Pki, Problem};
use crate::error::Result;

/// One certificate or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// How commands call it.
    pub name: String,
    /// The certificate's subject; none for what is no certificate, or not there.
    pub subject: Option<String>,
    /// Who has issued it.
    pub issuer: Option<String>,
    /// The names and addresses that it answers for.
    pub sans: Vec<String>,
    /// Its last second, since 1970.
    pub not_after: Option<i64>,
    /// True when the cluster can do without it.
    pub optional: bool,
    /// Whether it can be used.
    pub state: State,
}

/// Whether something can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is as it should be.
    Good,
    /// So is this authority, but its key is kept elsewhere: it signs nothing here.
    WithoutKey,
    /// It can be used, but soon no more.
    Expiring(Problem),
    /// It can be used, and will be longer than one may want.
    Lasting(Problem),
    /// It is not there: `kbake pki init` makes it.
    Missing,
    /// It cannot be used.
    Bad(Vec<Problem>),
}

impl Pki {
    /// A row for everything that the cluster must have, authorities first.
    ///
    /// # Errors
    /// When others can reach the folder.
    pub fn show(&self, now: i64) -> Result<Vec<Row>> {
        let _lock = self.begin_reading()?;
        let survey = survey::survey(&self.folder, &self.inventory, now)?;
        let mut rows: Vec<Row> = survey.authorities.iter().chain([&survey.accounts]).map(|found| row(found, false)).collect();
        let state = match (&survey.encryption, &survey.encryption_problem) {
            (_, Some(problem)) => State::Bad(vec![problem.clone()]),
            (None, None) => State::Missing,
            (Some(_), None) => State::Good,
        };
        let name = ENCRYPTION.to_owned();
        rows.push(Row { name, subject: None, issuer: None, sans: Vec::new(), not_after: None, optional: false, state });
        rows.extend(survey.leafs.iter().zip(&self.inventory.wanted).map(|(found, wanted)| row(found, wanted.name.is_optional())));
        rows.extend(survey.hosts.iter().map(host_row));
        Ok(rows)
    }
}

fn host_row(host: &FoundHost) -> Row {
    let state = match (&host.problem, &host.key) {
        (Some(problem), _) => State::Bad(vec![problem.clone()]),
        (None, None) => State::Missing,
        (None, Some(_)) => State::Good,
    };
    Row { name: host.name(), subject: None, issuer: None, sans: Vec::new(), not_after: None, optional: false, state }
}

fn row(found: &Found, optional: bool) -> Row {
    let state = if !found.problems.is_empty() {
        State::Bad(found.problems.clone())
    } else if found.lacks != Lacks::Nothing {
        State::Missing
    } else if let Some(soon) = &found.soon {
        State::Expiring(soon.clone())
    } else if let Some(lasting) = &found.lasting {
        State::Lasting(lasting.clone())
    } else if found.key.is_none() {
        State::WithoutKey
    } else {
        State::Good
    };
    let certificate = found.certificate.as_ref();
    let sans = |certificate: &Certificate| {
        let names = certificate.sans.dns.iter().map(|name| name.escape_debug().to_string());
        names.chain(certificate.sans.addresses.iter().map(ToString::to_string)).collect()
    };
    Row {
        name: found.name.clone(),
        subject: certificate.map(Certificate::subject_text),
        issuer: certificate.map(|certificate| certificate.issuer.clone()),
        sans: certificate.map(sans).unwrap_or_default(),
        not_after: certificate.map(|certificate| certificate.not_after),
        optional,
        state,
    }
}
