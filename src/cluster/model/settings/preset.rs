//! Named sets of settings for kinds of hosts.

use std::str::FromStr;

use super::Component;
use crate::common::document::{self, Table};
use crate::common::error::{Error, Result};

/// A set of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Hosts that stall for seconds: emulated machines, old laptops, slow disks.
    Slow,
}

/// Thresholds of static pods' probes, which run every ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probes {
    /// Seconds until a probe fails for lack of an answer.
    pub timeout: u32,
    /// Failed probes before a starting pod is restarted.
    pub startup: u32,
    /// Failed probes before a running pod is restarted.
    pub liveness: u32,
}

impl Preset {
    /// The name in the cluster file.
    pub fn as_str(self) -> &'static str {
        match self {
            Preset::Slow => "slow",
        }
    }

    /// Its settings of a component.
    ///
    /// # Errors
    /// Its text cannot be read.
    pub fn table(self, component: Component) -> Result<Table> {
        let text = match self {
            Preset::Slow => include_str!("slow.toml"),
        };
        let read = || -> Result<Table> {
            let section = document::open(self.as_str(), text, "")?.section(component.as_str())?;
            section.map_or_else(|| Ok(Table::new()), document::Section::table)
        };
        read().map_err(|error| Error::internal(format!("the preset `{}` cannot be read: {error}", self.as_str())))
    }

    /// Its thresholds.
    pub fn probes(self) -> Probes {
        match self {
            // Half an hour to start in; five minutes of silence.
            Preset::Slow => Probes { timeout: 60, startup: 180, liveness: 30 },
        }
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "slow" => Ok(Preset::Slow),
            _ => Err(format!("unknown preset `{}`; known: slow", text.escape_debug())),
        }
    }
}
