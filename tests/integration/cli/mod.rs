//! The commands as a person types them, with good and bad input. The only servers are on loopback.

mod clusters;
mod cve;
mod derived_channel;
mod disks;
mod fetch;
mod local_files;
mod lock;
mod ownership;
mod project;
mod recipes;
mod special_files;
mod usage;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kbake::value::Sha256;

use crate::support::shared::packages::{self, deb, tar};
use crate::support::site::{self, ONE, Site, TOOL, TWO, contents, mirror, said, says};
use crate::support::web::{Answer, Web};
use crate::support::{ROOT, program};

/// A command that takes longer hangs, however slow the machine is.
const HANGS: Duration = Duration::from_secs(300);
/// The number of blobs of a fetched role: three packages, its plan, and the provenance of the plan's lines.
const FETCHED: usize = 5;

fn said_by(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
