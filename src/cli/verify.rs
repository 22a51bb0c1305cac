//! `kbake verify`.

use super::args::Verify;
use super::{Session, current_folder};
use crate::build::{Damage, Findings, State, Wanted};
use crate::common::error::{Error, Result};
use crate::common::report::Report as _;
use crate::common::value::Size;

/// Number of listed dependents of a damaged thing.
const SHOWN: usize = 4;

impl Session<'_> {
    /// `kbake verify`.
    pub(super) fn verify(&self, args: &Verify) -> Result<()> {
        self.require_store()?;
        let project = self.project()?;
        let (folder, channel) = (current_folder()?, self.channel()?);
        self.bake(&args.sources, None, |bake| {
            let wanted = Wanted::of(bake.store, Some((&project, &folder, &channel)), self.cancel)?;
            let mut findings = bake.verify_store(&wanted)?;
            if args.repair && !findings.damages.is_empty() {
                bake.repair(&wanted, &mut findings)?;
            }
            for damage in &findings.damages {
                self.shell.data(&lines(damage))?;
            }
            self.shell.say(&summary(&findings));
            outcome(&findings, args.repair)?;
            self.shell.say(if findings.damages.is_empty() { "the store is intact" } else { "the store is repaired" });
            Ok(())
        })
    }
}

/// The lines of a damage with its dependents.
fn lines(damage: &Damage) -> String {
    let word = match &damage.state {
        State::Open => "damaged",
        State::Repaired(_) => "repaired",
        State::Dropped => "dropped",
        State::Failed(_) => "failed",
    };
    let mut text = format!("{word:<9} {}: {}\n", damage.what, damage.found);
    for needed in damage.needed.iter().take(SHOWN) {
        text += &format!("          needed by {needed}\n");
    }
    if damage.needed.len() > SHOWN {
        text += &format!("          and by {} more\n", damage.needed.len() - SHOWN);
    }
    match &damage.state {
        State::Repaired(how) => text += &format!("          {how}\n"),
        State::Failed(why) => text += &format!("          {why}\n"),
        State::Dropped => text += "          nothing known needs it any more\n",
        State::Open if damage.needed.is_empty() => text += "          nothing known needs it\n",
        State::Open => {}
    }
    text
}

fn summary(findings: &Findings) -> String {
    format!(
        "{} with {} hashed; checksums of {}, {} and {} compared; {} derived again{}",
        number(findings.blobs, "blob", "blobs"),
        Size(findings.bytes),
        number(findings.entries, "entry", "entries"),
        number(findings.roots, "root", "roots"),
        number(findings.claims, "claim", "claims"),
        findings.derived,
        match findings.trusted {
            0 => String::new(),
            trusted => format!(", {trusted} trusted: `kbake build ROLE --check` derives these too"),
        }
    )
}

fn number(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn outcome(findings: &Findings, repaired: bool) -> Result<()> {
    let open = findings.damages.iter().filter(|damage| matches!(damage.state, State::Open | State::Failed(_))).count();
    if open == 0 {
        return Ok(());
    }
    let error =
        Error::integrity(format!("the store is damaged: {}", if open == 1 { "1 problem".to_owned() } else { format!("{open} problems") }));
    Err(match repaired {
        true => {
            error.hint("the problems above could not be repaired; run the command again with a network, or a `--mirror` that has the files")
        }
        false => error.hint("damaged things are not used; `kbake verify --repair` fetches or rebuilds them"),
    })
}
