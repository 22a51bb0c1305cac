//! The folder's content as rows of a table.

use super::certificate::Certificate;
use super::contents::{self, ENCRYPTION, Found, FoundHost, Lacks};
use super::{Pki, Problem};
use crate::common::error::Result;

/// One certificate or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name in commands.
    pub name: String,
    /// The certificate's subject; none for a key alone, and for a missing certificate.
    pub subject: Option<String>,
    /// Its issuer.
    pub issuer: Option<String>,
    /// Its DNS names and addresses.
    pub sans: Vec<String>,
    /// The last second of its validity, since 1970.
    pub not_after: Option<i64>,
    /// True if the cluster works without it.
    pub optional: bool,
    /// Its state.
    pub state: State,
}

/// The state of a certificate or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Valid.
    Good,
    /// Valid, for an authority whose key is kept elsewhere: it signs nothing here.
    WithoutKey,
    /// Valid, but expires soon.
    Expiring(Problem),
    /// Valid, and for longer than one may want.
    Lasting(Problem),
    /// Missing: `kbake pki init` makes it.
    Missing,
    /// Invalid.
    Bad(Vec<Problem>),
}

impl Pki {
    /// A row for each required certificate and key, authorities first.
    ///
    /// # Errors
    /// Others can reach the folder.
    pub fn show(&self, now: i64) -> Result<Vec<Row>> {
        let _lock = self.begin_reading()?;
        let contents = contents::read(&self.folder, &self.inventory, now)?;
        let mut rows: Vec<Row> = contents.authorities.iter().chain([&contents.accounts]).map(|found| row(found, false)).collect();
        let state = match (&contents.encryption, &contents.encryption_problem) {
            (_, Some(problem)) => State::Bad(vec![problem.clone()]),
            (None, None) => State::Missing,
            (Some(_), None) => State::Good,
        };
        let name = ENCRYPTION.to_owned();
        rows.push(Row { name, subject: None, issuer: None, sans: Vec::new(), not_after: None, optional: false, state });
        rows.extend(contents.leaves.iter().zip(&self.inventory.wanted).map(|(found, wanted)| row(found, wanted.name.is_optional())));
        rows.extend(contents.hosts.iter().map(host_row));
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
    } else if let Some(expiring) = &found.expiring {
        State::Expiring(expiring.clone())
    } else if let Some(long_lived) = &found.long_lived {
        State::Lasting(long_lived.clone())
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
