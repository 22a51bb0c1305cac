//! `kbake completions` and `kbake man`.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell as Completed;
use clap_mangen::Man;

use super::Session;
use super::args::{Cli, Manual};
use crate::common::document::nearest;
use crate::common::error::{Class, Error, Result};
use crate::common::fsx;
use crate::common::report::Report as _;

const NAME: &str = "kbake";
const PAGE_MODE: u32 = 0o644;
/// The mark of a manual page of kbake, in one of its first lines.
const MARK: &str = "\n.TH kbake";

impl Session<'_> {
    /// `kbake completions`.
    pub(super) fn completions(&self, shell: Completed) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
        self.shell.data(&String::from_utf8_lossy(&script))
    }

    /// `kbake man`.
    pub(super) fn manual(&self, args: &Manual) -> Result<()> {
        let pages = pages();
        if let Some(folder) = &args.out {
            return self.write_pages(folder, &pages);
        }
        let name = [&[NAME.to_owned()][..], &args.command].concat().join("-");
        let page = pages.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown(&name, &pages))?;
        self.shell.data(&page.1)
    }

    fn write_pages(&self, folder: &Path, pages: &[(String, String)]) -> Result<()> {
        let files: Vec<_> = pages.iter().map(|(name, page)| (folder.join(format!("{name}.1")), page)).collect();
        for (path, _) in &files {
            if fsx::exists(path)? && !String::from_utf8_lossy(&fsx::read(path)?).contains(MARK) {
                return Err(Error::user(format!("{} is not a manual page of kbake, and is not replaced", path.display()))
                    .hint("name another folder with `--out DIR`"));
            }
        }
        fsx::create_dir_all(folder)?;
        for (path, page) in &files {
            fsx::write_atomic(path, PAGE_MODE, page.as_bytes())?;
            self.shell.data(&format!("{}\n", path.display()))?;
        }
        self.shell.say(&format!("{} manual pages are written", files.len()));
        Ok(())
    }
}

/// The name and text of each page: the program, then each command in the order of the help.
fn pages() -> Vec<(String, String)> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, &mut pages);
    pages
}

fn add(command: &clap::Command, pages: &mut Vec<(String, String)>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = Man::new(command.clone()).render(&mut page);
    pages.push((name, String::from_utf8_lossy(&page).into_owned()));
    command.get_subcommands().filter(|below| !below.is_hide_set()).for_each(|below| add(below, pages));
}

fn unknown(name: &str, pages: &[(String, String)]) -> Error {
    let words = |name: &str| name.strip_prefix(NAME).unwrap_or(name).trim_start_matches('-').replace('-', " ");
    let error = Error::new(Class::Usage, format!("there is no command `{}`", words(name)));
    match nearest(name, pages.iter().map(|(known, _)| known.as_str())) {
        Some(meant) => error.hint(format!("did you mean `{NAME} man {}`?", words(meant))),
        None => error.hint("`kbake help` lists the commands"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["kbake", "kbake-build", "kbake-net-xml", "kbake-pki", "kbake-pki-init", "kbake-bundle-create"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(pages.iter().all(|(_, page)| page.contains(MARK)));
        let build = &pages.iter().find(|(name, _)| name == "kbake-build").unwrap().1;
        assert!(build.contains("accept\\-new\\-digest") && build.contains("\\-\\-store"), "{build}");
        assert!(unknown("kbake-biuld", &pages).to_string().contains("`kbake man build`"));
    }
}
