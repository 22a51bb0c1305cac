//! `kbake pki`: the cluster's certificates and keys.

use secrecy::SecretString;

use super::args::Pki as Command;
use super::clock::now;
use super::cluster::pasteable;
use super::{Session, data};
use crate::cluster::host;
use crate::cluster::model::Cluster;
use crate::cluster::pki::{self, Authority, Imported, Pki, Problem, State};
use crate::common::columns;
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::report::Report as _;

/// 2026-01-01, before the first release of kbake: an earlier clock is wrong.
const FIRST: i64 = 1_767_225_600;

impl Session<'_> {
    /// `kbake pki …`.
    pub(super) fn pki_command(&self, command: &Command) -> Result<()> {
        let (Command::Init(args) | Command::Show(args) | Command::Renew { args, .. } | Command::Import { args, .. }) = command;
        let cluster = self.cluster(&args.cluster)?;
        let pki = self.pki(&args.cluster, &args.secrets, &cluster);
        if !matches!(command, Command::Show(_)) {
            pki::check_clock(now()?, self.epoch_of(&cluster), &cluster.validity)?;
        }
        self.pki_of(&pki, &cluster, command).map_err(|error| pasteable(error, &args.cluster, &args.secrets))
    }

    /// The epoch of the cluster's channel, or if there is no such channel [`FIRST`]. The clock cannot be earlier.
    fn epoch_of(&self, cluster: &Cluster) -> i64 {
        let channel = self.global.channel.as_deref().unwrap_or(cluster.channel.as_str());
        let epoch = self.project().and_then(|project| Ok(project.channel(channel)?.sources.epoch.seconds()));
        epoch.map_or(FIRST, i64::from)
    }

    fn pki_of(&self, pki: &Pki, cluster: &Cluster, command: &Command) -> Result<()> {
        match command {
            Command::Init(_) => self.pki_init(pki, cluster),
            Command::Show(_) => self.pki_show(pki),
            Command::Renew { names, .. } => self.pki_renew(pki, names),
            Command::Import { authority, certificate, key, .. } => {
                let authority = Authority::ALL.into_iter().find(|known| known.name() == authority);
                let authority = authority.ok_or_else(|| Error::internal("the command line accepts an unknown authority"))?;
                let key = SecretString::from(fsx::read_given_to_string(key)?);
                let outcome = pki.import(authority, &fsx::read_given_to_string(certificate)?, &key, now()?)?;
                let name = authority.name();
                self.shell.say(&match outcome {
                    Imported::Taken => format!("`{name}` is now the cluster's authority"),
                    Imported::KeyBroughtBack => format!("the key of `{name}` is restored"),
                    Imported::WasThere => format!("`{name}` already was the cluster's authority"),
                });
                Ok(())
            }
        }
    }

    fn pki_init(&self, pki: &Pki, cluster: &Cluster) -> Result<()> {
        let report = pki.init(now()?)?;
        write_known_hosts(pki, cluster)?;
        for note in &report.notes {
            self.shell.notice(&format!("note: {note}"));
        }
        self.warn(&report.warnings);
        self.shell.say(&format!("{}: {} created, {} kept", pki.folder().display(), report.made.len(), report.kept));
        for name in &report.made {
            self.shell.data(&format!("{name}\n"))?;
        }
        if report.problems.is_empty() {
            return Ok(());
        }
        // Existing files were left alone, but no seed can be made from them.
        let message = format!("not everything in {} matches the cluster", pki.folder().display());
        Err(pki::error(message, &report.problems.iter().collect::<Vec<_>>()))
    }

    fn pki_show(&self, pki: &Pki) -> Result<()> {
        let rows = pki.show(now()?)?;
        let data = data::pki(&rows);
        let mut table = vec![["NAME", "EXPIRES", "STATE", "SUBJECT", "VALID FOR"].map(str::to_owned)];
        let (mut soon, mut bad, mut missing) = (Vec::new(), Vec::new(), 0);
        for row in rows {
            let state = match &row.state {
                State::Good => "good",
                State::WithoutKey => "good, key elsewhere",
                State::Missing => {
                    missing += u32::from(!row.optional);
                    "missing"
                }
                State::Expiring(problem) => {
                    soon.push(problem.clone());
                    "expires soon"
                }
                State::Lasting(problem) => {
                    soon.push(problem.clone());
                    "good, not revocable"
                }
                State::Bad(problems) => {
                    bad.extend(problems.iter().cloned());
                    "does not match"
                }
            };
            let ends = row.not_after.map_or_else(|| "-".to_owned(), pki::date);
            table.push([row.name, ends, state.to_owned(), row.subject.unwrap_or_else(|| "-".to_owned()), row.sans.join(" ")]);
        }
        self.shell.document(|| data, &columns::fitted(&table))?;
        self.warn(&soon);
        if missing > 0 {
            bad.push(Problem { name: format!("{missing} of these"), what: "do not exist".to_owned(), remedy: "kbake pki init".to_owned() });
        }
        if bad.is_empty() {
            return Ok(());
        }
        // An error, so that monitoring scripts notice it.
        let message = format!("not everything in {} matches the cluster", pki.folder().display());
        Err(pki::error(message, &bad.iter().collect::<Vec<_>>()))
    }

    fn pki_renew(&self, pki: &Pki, names: &[String]) -> Result<()> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let renewed = pki.renew(&names, now()?)?;
        for note in &renewed.notes {
            self.shell.notice(&format!("note: {note}"));
        }
        for name in &renewed.names {
            self.shell.data(&format!("{name}\n"))?;
        }
        self.shell.say("to deploy them to the nodes, write new seeds with `kbake seed --all`, then restart the machines");
        Ok(())
    }

    pub(super) fn warn(&self, problems: &[Problem]) {
        for problem in problems {
            self.shell.notice(&format!("warning: {} {} ({})", problem.name, problem.what, problem.remedy));
        }
    }
}

/// Writes the nodes' names, addresses and host keys to the known_hosts file that the README's ssh command uses.
pub(super) fn write_known_hosts(pki: &Pki, cluster: &Cluster) -> Result<()> {
    let keys = pki.host_keys(now()?)?;
    let lines = host::known_hosts(cluster, &|node| keys.get(&node.name).cloned());
    pki.write_known_hosts(&lines, &host::known_hosts_mark(cluster))
}
