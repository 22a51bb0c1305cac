//! Lists the partitions and files of a disk image, qcow2 or raw: `cargo run --example inspect -- images/etcd.qcow2`.
#![allow(clippy::disallowed_macros, reason = "an example prints")]

use std::path::Path;
use std::process::ExitCode;

use kbake::inspect::{self, Entry, Listed};
use kbake::value::Cancel;

fn main() -> ExitCode {
    let Some(image) = std::env::args_os().nth(1) else {
        eprintln!("usage: inspect IMAGE");
        return ExitCode::from(2);
    };
    let mut print = |listed: Listed| {
        println!("{}", line(&listed));
        Ok(())
    };
    match inspect::list(Path::new(&image), &Cancel::new(), &mut print) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn line(listed: &Listed) -> String {
    match listed {
        Listed::Partition { name, start, size, contents } => format!("{name}: {contents}, {size} bytes from byte {start}"),
        Listed::File(entry) => file(entry),
        Listed::Unread { path, why } => format!("  {}: cannot be read: {why}", path.as_deref().unwrap_or("the other files")),
    }
}

/// `file 0755 0:0 12345 /usr/bin/ping [security.capability]`
fn file(entry: &Entry) -> String {
    let field = |wanted: &str| entry.fields.iter().find(|(name, _)| name == wanted).map_or("-", |(_, value)| value.as_str());
    let target = entry.target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
    let attributes = if entry.attributes.is_empty() { String::new() } else { format!(" [{}]", entry.attributes.join(", ")) };
    format!("  {} {} {} {} {}{target}{attributes}", entry.kind, field("mode"), field("owner"), entry.size, entry.path)
}
