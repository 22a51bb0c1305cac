//! `kbake pki` and `kbake kubeconfig`: the cluster's certificates and keys.

use secrecy::{ExposeSecret as _, SecretString};

use super::args::{Admin, Kubeconfig, Pki as Command, PkiArgs};
use super::cluster::pasteable;
use super::{Session, data};
use crate::error::{Class, Error, Result};
use crate::fsx;
use crate::pki::{self, Authority, Imported, Pki, Problem, State};
use crate::render::{self, Caller};
use crate::report::Report as _;

impl Session<'_> {
    /// `kbake pki …`.
    pub fn pki_command(&self, command: &Command) -> Result<()> {
        let (Command::Init(args) | Command::Show(args) | Command::Renew { args, .. } | Command::Import { args, .. }) = command;
        let pki = self.opened(args)?;
        self.pki_of(&pki, command).map_err(|error| pasteable(error, &args.cluster, &args.secrets))
    }

    fn pki_of(&self, pki: &Pki, command: &Command) -> Result<()> {
        match command {
            Command::Init(_) => self.pki_init(pki),
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

    fn opened(&self, args: &PkiArgs) -> Result<Pki> {
        let cluster = self.cluster(&args.cluster)?;
        Ok(self.pki(&args.cluster, &args.secrets, &cluster))
    }

    fn pki_init(&self, pki: &Pki) -> Result<()> {
        let report = pki.init(now()?)?;
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
        let text = render::kubeconfig(&Caller {
            cluster: cluster.name.as_str(),
            user,
            server: &server,
            authority: secrets.authority(Authority::Cluster),
            certificate: identity.certificate(),
            key: identity.key(),
        });
        match &args.out {
            None => self.shell.data(text.expose_secret()),
            Some(path) => {
                fsx::write_atomic(path, crate::seed::FILE_MODE, text.expose_secret().as_bytes())?;
                self.shell.say("the kubeconfig is written; it is private (mode 0600)");
                self.shell.data(&format!("{}\n", path.display()))
            }
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

/// Seconds since 1970: when certificates begin, and whether they have ended.
#[expect(clippy::disallowed_methods, reason = "the cli has the clock; only certificates, which are the owner's alone, depend on it")]
pub(super) fn now() -> Result<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .ok_or_else(|| Error::new(Class::User, "this host's clock is before 1970"))
}
