//! `kbake pki` and `kbake kubeconfig`: the cluster's certificates and keys.

use secrecy::{ExposeSecret as _, SecretString};

use super::args::{Admin, Kubeconfig, Pki as Command};
use super::cluster::pasteable;
use super::{Session, data};
use crate::cluster::Cluster;
use crate::error::{Class, Error, Result};
use crate::fsx;
use crate::pki::{self, Authority, Imported, Pki, Problem, State};
use crate::render::{self, Caller};
use crate::report::Report as _;

/// The first day of kbake, 2026-01-01: no clock is right that says less.
const FIRST: i64 = 1_767_225_600;

impl Session<'_> {
    /// `kbake pki …`.
    pub fn pki_command(&self, command: &Command) -> Result<()> {
        let (Command::Init(args) | Command::Show(args) | Command::Renew { args, .. } | Command::Import { args, .. }) = command;
        let cluster = self.cluster(&args.cluster)?;
        let pki = self.pki(&args.cluster, &args.secrets, &cluster);
        if !matches!(command, Command::Show(_)) {
            pki::check_clock(now()?, self.epoch_of(&cluster), &cluster.validity)?;
        }
        self.pki_of(&pki, &cluster, command).map_err(|error| pasteable(error, &args.cluster, &args.secrets))
    }

    /// When the packages of the cluster's channel were made; of one that is not there, when kbake was.
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
                let authority = authority.ok_or_else(|| Error::internal("an authority that the command line knows, and nobody else"))?;
                let key = SecretString::from(fsx::read_given_to_string(key)?);
                let outcome = pki.import(authority, &fsx::read_given_to_string(certificate)?, &key, now()?)?;
                let name = authority.name();
                self.shell.say(&match outcome {
                    Imported::Taken => format!("`{name}` is the cluster's authority now"),
                    Imported::KeyBroughtBack => format!("the key of `{name}` is back"),
                    Imported::WasThere => format!("`{name}` was the cluster's authority already"),
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
        self.shell.say(&format!("{}: {} made, {} kept", pki.folder().display(), report.made.len(), report.kept));
        for name in &report.made {
            self.shell.data(&format!("{name}\n"))?;
        }
        if report.problems.is_empty() {
            return Ok(());
        }
        // What is there was left alone, but a seed could not be made of it: that is no success.
        let message = format!("not all that is in {} fits the cluster", pki.folder().display());
        Err(pki::error(message, &report.problems.iter().collect::<Vec<_>>()))
    }

    fn pki_show(&self, pki: &Pki) -> Result<()> {
        let rows = pki.show(now()?)?;
        let data = data::pki(&rows);
        let mut table = vec![["NAME", "ENDS", "STATE", "SUBJECT", "ANSWERS FOR"].map(str::to_owned)];
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
                    "ends soon"
                }
                State::Lasting(problem) => {
                    soon.push(problem.clone());
                    "good, not revocable"
                }
                State::Bad(problems) => {
                    bad.extend(problems.iter().cloned());
                    "does not fit"
                }
            };
            let ends = row.not_after.map_or_else(|| "-".to_owned(), pki::date);
            table.push([row.name, ends, state.to_owned(), row.subject.unwrap_or_else(|| "-".to_owned()), row.sans.join(" ")]);
        }
        self.shell.document(|| data, &render::fitted(&table))?;
        self.warn(&soon);
        if missing > 0 {
            bad.push(Problem { name: format!("{missing} of these"), what: "are missing".to_owned(), mend: "kbake pki init".to_owned() });
        }
        if bad.is_empty() {
            return Ok(());
        }
        // So that a script that watches sees it, too.
        let message = format!("not all that is in {} fits the cluster", pki.folder().display());
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
        self.shell.say("new seeds bring them to the nodes: `kbake seed --all`, then restart the machines");
        Ok(())
    }

    /// `kbake kubeconfig`: the one command that prints a secret, because a pipe is where it belongs.
    pub fn kubeconfig(&self, args: &Kubeconfig) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let server = self.server(args, &cluster)?;
        let secrets = self.secrets(&cluster, &args.cluster, &args.secrets)?;
        let (user, identity) = match args.user {
            Admin::Admin => ("kubernetes-admin", secrets.admin()),
            Admin::SuperAdmin => ("kubernetes-super-admin", secrets.super_admin().ok_or_else(|| no_super_admin(args))?),
        };
        let caller = Caller {
            cluster: cluster.name.as_str(),
            user,
            server: &server,
            authority: secrets.authority(Authority::Cluster),
            certificate: identity.certificate(),
            key: identity.key(),
        };
        match (&args.out, &args.merge) {
            (Some(path), _) => self.put_kubeconfig(path, &caller).map_err(|error| pasteable(error, &args.cluster, &args.secrets)),
            (None, Some(path)) => self.merge_kubeconfig(path, &caller),
            (None, None) => self.shell.data(render::kubeconfig(&caller).expose_secret()),
        }
    }

    pub(super) fn warn(&self, problems: &[Problem]) {
        for problem in problems {
            self.shell.notice(&format!("warning: {} {} ({})", problem.name, problem.what, problem.mend));
        }
    }
}

/// Folders of earlier versions have everything but this.
fn no_super_admin(args: &Kubeconfig) -> Error {
    let error = Error::user("the cluster has no certificate `super-admin` yet: an earlier version made its certificates");
    pasteable(error.hint("kbake pki init"), &args.cluster, &args.secrets)
}

/// Puts the nodes' names, addresses and host keys where the README's ssh line looks for them.
pub(super) fn write_known_hosts(pki: &Pki, cluster: &Cluster) -> Result<()> {
    let keys = pki.host_keys(now()?)?;
    let lines = render::host::known_hosts(cluster, &|node| keys.get(&node.name).cloned());
    pki.write_known_hosts(&lines, &render::host::known_hosts_mark(cluster))
}

/// Seconds since 1970: when certificates begin, and whether they have ended.
#[expect(clippy::disallowed_methods, reason = "the cli has the clock; only certificates, which are the owner's alone, depend on it")]
pub(super) fn now() -> Result<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .ok_or_else(|| Error::new(Class::User, "this host's clock is before 1970"))
}
