//! `kbake cve`: known vulnerabilities of roles' images.

mod advisories;
mod show;

use std::collections::BTreeSet;

use super::Session;
use super::args::{Cve, CveFormat, FailOn, Sources};
use crate::common::error::{Class, Error, Result};
use crate::common::value::RoleName;
use crate::spec::advisories::{Finding, Report, STATEMENTS, Severity, Software, Status, Vex, Wanted, openvex, report};
use crate::spec::project::Project;

impl Session<'_> {
    /// `kbake cve`.
    pub(super) fn cve(&self, args: &Cve) -> Result<()> {
        let project = self.project()?;
        if args.update {
            self.update_advisories(&project, args)?;
        }
        if args.roles.is_empty() {
            return Ok(());
        }
        let (channel, roles) = self.roles_of(&project, &args.roles)?;
        self.tell_channel()?;
        let vex = statements(&project)?;
        // Errors in the advisories' files come before the programs are searched, which takes seconds.
        let given = self.given_advisories(&project, args)?;
        let software: Vec<Software> = self.bake(&Sources::offline(), None, |bake| {
            bake.resolve(&project, &channel, &roles)?.iter().map(|resolved| bake.software(resolved)).collect()
        })?;
        let advisories = self.read_advisories(given, &Wanted::of(&software))?;
        let mut reports: Vec<Report> = software.iter().map(|software| report(software, &advisories)).collect();
        self.judge(&vex, &mut reports);
        self.tell_unknown(&reports);
        let all: Vec<(&RoleName, &Report)> = roles.iter().zip(&reports).collect();
        match args.format {
            CveFormat::Table => self.shell.document(|| show::json(&all), &show::tables(&all, args.all))?,
            CveFormat::Json => self.shell.document(|| show::json(&all), &show::pretty(&show::json(&all)))?,
            CveFormat::Openvex => {
                let document = openvex(&reports, channel.sources.epoch);
                self.shell.document(|| document.clone(), &show::pretty(&document))?;
            }
        }
        args.fail_on.map_or(Ok(()), |level| verdict(level, &reports))
    }

    /// Applies the project's statements, and names those that match nothing.
    fn judge(&self, vex: &Vex, reports: &mut [Report]) {
        let matched: BTreeSet<usize> = reports.iter_mut().flat_map(|report| vex.apply(report)).collect();
        for (_, statement) in vex.0.iter().enumerate().filter(|(number, _)| !matched.contains(number)) {
            self.shell.notice(&format!("note: {STATEMENTS}: {statement} matches nothing here"));
        }
    }

    /// Names the parts that were not looked up, each once.
    fn tell_unknown(&self, reports: &[Report]) {
        let unknown: BTreeSet<&String> = reports.iter().flat_map(|report| &report.unknown).collect();
        for why in unknown {
            self.shell.notice(&format!("note: not looked up: {why}"));
        }
    }
}

/// The project's statements.
fn statements(project: &Project) -> Result<Vex> {
    Ok(project.text(STATEMENTS)?.map(|text| Vex::parse(STATEMENTS, &text)).transpose()?.unwrap_or_default())
}

/// Fails if a finding is as bad as `level`.
fn verdict(level: FailOn, reports: &[Report]) -> Result<()> {
    let findings = reports.iter().flat_map(|report| &report.findings);
    let bad: BTreeSet<(&str, &str)> =
        findings.filter(|finding| is_bad(level, finding)).map(|finding| (finding.id.as_str(), finding.product.as_str())).collect();
    let word = match level {
        FailOn::Fixable => "fixable",
        FailOn::Low => "of low severity or worse",
        FailOn::Medium => "of medium severity or worse",
        FailOn::High => "of high severity or worse",
        FailOn::Critical => "critical",
        FailOn::Any => "open or fixable",
    };
    let subject = match bad.len() {
        0 => return Ok(()),
        1 => "1 known vulnerability is".to_owned(),
        count => format!("{count} known vulnerabilities are"),
    };
    Err(Error::new(Class::Vulnerable, format!("{subject} {word}"))
        .hint("`kbake lock --upgrade` locks the updates that there are; recipes/vex.toml has the project's statements (docs/cve.md)"))
}

fn is_bad(level: FailOn, finding: &Finding) -> bool {
    let least = match level {
        FailOn::Fixable => return finding.status == Status::Fixable,
        FailOn::Any => Severity::Unknown,
        FailOn::Low => Severity::Low,
        FailOn::Medium => Severity::Medium,
        FailOn::High => Severity::High,
        FailOn::Critical => Severity::Critical,
    };
    finding.status != Status::NotApplicable && finding.severity >= least
}
