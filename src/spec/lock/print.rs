//! Lock → text. One lock has one text, independent of a TOML library's formatting.

use std::fmt::{Display, Write as _};

use super::artifact::{artifact_text, image_text};
use super::{FORMAT, Lock, LockedSuite, WantedSuite};

/// The whole file. Every value was parsed from a charset without quotes, backslashes or control characters.
pub(super) fn lock(lock: &Lock) -> String {
    let mut text = String::from("# Written by `kbake lock`: review it, merge it, but do not edit it.\n");
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(format!("format = {FORMAT}"));
    line(format!("channel = \"{}\"", lock.channel));
    line(format!("arch = \"{}\"", lock.arch));
    for locked in &lock.suites {
        line(suite_text(locked).trim_end().to_owned());
    }
    line("\n# What the recipes ask for by name; the packages below are what that resolved to.".into());
    line("[request]".into());
    for (set, names) in &lock.request {
        line(format!("{set} = ["));
        names.iter().for_each(|name| line(format!("  \"{name}\",")));
        line("]".into());
    }
    for artifact in lock.artifacts.values() {
        line(artifact_text(artifact).trim_end().to_owned());
    }
    for image in lock.images.values() {
        line(image_text(image).trim_end().to_owned());
    }
    for entry in lock.entries() {
        line("\n[[package]]".into());
        line(format!("name = \"{}\"", entry.name));
        line(format!("version = \"{}\"", entry.version));
        line(format!("arch = \"{}\"", entry.arch));
        if let Some(version) = &entry.source_version {
            line(format!("source-version = \"{version}\""));
        }
        line(format!("archive = \"{}\"", entry.archive));
        line(format!("source = \"{}\"", entry.source));
        line(format!("size = {}", entry.size));
        line(format!("sha256 = \"{}\"", entry.sha256));
        line(format!("verified = \"{}\"", entry.verified));
        line(format!("sets = {}", array(&entry.sets)));
    }
    text
}

fn array<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::from("[");
    for (i, item) in items.into_iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}\"{item}\"");
    }
    text + "]"
}

/// The lines of a suite.
fn suite_text(locked: &LockedSuite) -> String {
    let LockedSuite { suite: WantedSuite { name, archive, components }, released } = locked;
    let components = array(components);
    let released = released.map(|time| format!("released = \"{time}\"\n")).unwrap_or_default();
    format!("\n[[suite]]\nname = \"{name}\"\narchive = \"{archive}\"\ncomponents = {components}\n{released}")
}
