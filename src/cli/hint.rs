//! Completion of commands in hints with the options of this call, so that they work as typed.
//!
//! Modules write `kbake lock` without knowing the project, channel or store of the call. Without these options, the command
//! would work on others.

use std::ffi::OsString;
use std::iter::Peekable;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _};

use super::args::Cli;
use crate::common::value::quote;

/// Options that select what a command works on, in the order in which they are added.
const OPTIONS: [&str; 6] = ["project", "store", "channel", "cluster", "secrets", "images"];

/// The arguments of this call that a command in a hint needs too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// Options by name, with their values.
    options: Vec<(&'static str, String)>,
    /// The roles.
    roles: Vec<String>,
}

impl Given {
    /// The arguments that were typed, or set in the environment, which may differ where the hint is typed.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let mut leaf = matches;
        while let Some((_, below)) = leaf.subcommand() {
            leaf = below;
        }
        let options = OPTIONS.into_iter().filter_map(|name| Some((name, value(leaf, name)?))).collect();
        let typed = |name| leaf.try_get_many::<String>(name).ok().flatten().into_iter().flatten().cloned();
        Given { options, roles: typed(ROLES).chain(typed(ROLE)).collect() }
    }

    /// The text with every kbake command completed.
    pub(super) fn complete(&self, text: &str) -> String {
        if *self == Given::default() || !text.contains(PROGRAM) {
            return text.to_owned();
        }
        let mut done = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(PROGRAM) {
            let (before, from) = rest.split_at(at);
            done.push_str(before);
            let end = if begins_command(&done) { end_of_command(from, &done) } else { PROGRAM.len() };
            let (command, behind) = from.split_at(end);
            done.push_str(&if end > PROGRAM.len() { self.whole(command) } else { command.to_owned() });
            rest = behind;
        }
        done + rest
    }

    /// The command with the roles and options that it accepts and lacks.
    fn whole(&self, command: &str) -> String {
        let root = Cli::command();
        let mut words = command.split_whitespace().skip(1).peekable();
        let Some((leaf, path)) = leaf_of(&root, &mut words) else { return command.to_owned() };
        let has_argument = |name: &str| leaf.get_arguments().any(|arg| arg.get_id() == name);
        let mut text = command.to_owned();
        if !self.roles.is_empty() && (has_argument(ROLES) || has_argument(ROLE) && self.roles.len() == 1) {
            let roles = self.roles.iter().map(|role| quote(role)).collect::<Vec<_>>().join(" ");
            match words.peek() {
                None => text = format!("{command} {roles}"),
                Some(&"ROLE") => text = command.replacen("ROLE", &roles, 1),
                Some(_) => {}
            }
        }
        let takes = |name: &str| concerns(&path, name) || has_argument(name);
        let is = |word: &str, name: &str| word.strip_prefix("--").is_some_and(|word| word.split('=').next() == Some(name));
        let has = |name: &str| command.split_whitespace().any(|word| is(word, name));
        // `--out` already gives the destination.
        let is_elsewhere = |name: &str| name == "images" && has("out");
        let added = self.options.iter().filter(|(name, _)| takes(name) && !has(name) && !is_elsewhere(name));
        added.fold(text, |text, (name, value)| format!("{text} --{name} {}", quote(value)))
    }
}

/// The arguments that name roles, for commands on several roles and on one.
const ROLES: &str = "roles";
const ROLE: &str = "role";

/// The start of a command in a hint.
const PROGRAM: &str = "kbake ";

fn value(leaf: &ArgMatches, name: &str) -> Option<String> {
    let typed = |source: ValueSource| source != ValueSource::DefaultValue;
    if !leaf.try_contains_id(name).unwrap_or(false) || !leaf.value_source(name).is_some_and(typed) {
        return None;
    }
    let path = leaf.try_get_one::<PathBuf>(name).ok().flatten().map(|path| OsString::from(path).to_string_lossy().into_owned());
    path.or_else(|| leaf.try_get_one::<String>(name).ok().flatten().cloned())
}

/// True if a command follows, not a sentence about kbake.
fn begins_command(before: &str) -> bool {
    before.is_empty() || ["`", ": ", "&& ", "\n  "].iter().any(|end| before.ends_with(end))
}

/// The end of a command: the closing backtick, the next command, or the end of the line.
fn end_of_command(from: &str, before: &str) -> usize {
    let quoted = before.matches('`').count() % 2 == 1;
    let ends = [if quoted { from.find('`') } else { None }, from.find(" && "), from.find('\n'), from.find(" > ")];
    ends.into_iter().flatten().min().unwrap_or(from.len())
}

/// The subcommand that the words name, and its path.
fn leaf_of<'a, 'w>(root: &'a Command, words: &mut Peekable<impl Iterator<Item = &'w str>>) -> Option<(&'a Command, Vec<&'w str>)> {
    let (mut leaf, mut path) = (root, Vec::new());
    while let Some(below) = words.peek().and_then(|word| leaf.find_subcommand(word)) {
        leaf = below;
        path.extend(words.next());
    }
    (!path.is_empty()).then_some((leaf, path))
}

/// True if a global option matters to this command.
fn concerns(path: &[&str], option: &str) -> bool {
    let (project, channel, store) = match path {
        ["build" | "fetch" | "tree" | "sbom" | "cve" | "why" | "lock", ..] | ["bundle", "create"] => (true, true, true),
        ["plan" | "roles" | "diff" | "cluster", ..] => (true, true, false),
        ["verify", ..] | ["bundle", "import"] => (true, true, true),
        ["gc" | "store", ..] | ["bundle", ..] => (false, false, true),
        ["disk", ..] => (true, false, false),
        _ => (false, false, false),
    };
    match option {
        "project" => project,
        "channel" => channel,
        "store" => store,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument, MissingSubcommand};

    use super::*;

    fn given(args: &[&str]) -> Given {
        Given::of(&Cli::command().try_get_matches_from(args).unwrap())
    }

    #[test]
    fn commands_get_the_options_of_the_call_that_they_accept() {
        let lock = given(&["kbake", "--channel", "other", "build", "etcd", "--project", "/my dir", "--store", "/s"]);
        for (hint, expected) in [
            ("run `kbake lock` and review", "run `kbake lock --project '/my dir' --store /s --channel other` and review"),
            ("run `kbake lock --channel debian` now", "run `kbake lock --channel debian --project '/my dir' --store /s` now"),
            ("`kbake init` writes one", "`kbake init` writes one"),
            ("`kbake gc` removes it", "`kbake gc --store /s` removes it"),
            (
                "`kbake plan etcd` and `kbake diff A B`",
                "`kbake plan etcd --project '/my dir' --channel other` and `kbake diff A B --project '/my dir' --channel other`",
            ),
            ("another kbake lock is held", "another kbake lock is held"),
            ("no backtick: kbake fetch ROLE", "no backtick: kbake fetch etcd --project '/my dir' --store /s --channel other"),
            ("run `kbake fetch`", "run `kbake fetch etcd --project '/my dir' --store /s --channel other`"),
            ("`kbake bundle create ROLE` there", "`kbake bundle create etcd --project '/my dir' --store /s --channel other` there"),
            ("`kbake build worker`", "`kbake build worker --project '/my dir' --store /s --channel other`"),
            ("kbake pki init", "kbake pki init"),
            ("`kbake nonsense`", "`kbake nonsense`"),
        ] {
            assert_eq!(lock.complete(hint), expected);
        }
    }

    #[test]
    fn commands_about_a_cluster_get_its_files() {
        let seed = given(&["kbake", "seed", "--all", "--cluster", "a/b.toml", "--secrets", "s", "--images", "i"]);
        for (hint, expected) in [
            ("kbake pki init", "kbake pki init --cluster a/b.toml --secrets s"),
            ("rm 'x y' && kbake pki init", "rm 'x y' && kbake pki init --cluster a/b.toml --secrets s"),
            (
                "then `kbake disk N && kbake qemu N > N.sh`",
                "then `kbake disk N --cluster a/b.toml --images i && kbake qemu N --cluster a/b.toml --secrets s --images i > N.sh`",
            ),
            ("`kbake seed N --out o` makes it", "`kbake seed N --out o --cluster a/b.toml --secrets s` makes it"),
            ("kbake pki renew a b --cluster x", "kbake pki renew a b --cluster x --secrets s"),
        ] {
            assert_eq!(seed.complete(hint), expected);
        }
        assert_eq!(given(&["kbake", "seed", "--all"]), Given::default());
        assert_eq!(given(&["kbake", "store"]).complete("`kbake lock`"), "`kbake lock`");
    }

    /// Every command in backticks in the sources, with its placeholders filled in.
    fn commands_of_the_sources() -> Vec<(String, String)> {
        fn walk(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
            for name in crate::common::fsx::list(folder).unwrap() {
                let path = folder.join(name);
                if path.is_dir() {
                    if !path.ends_with("tests") {
                        walk(&path, found);
                    }
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let text = crate::common::fsx::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                    for line in lines {
                        for part in line.split('`').skip(1).step_by(2).filter(|part| part.starts_with(PROGRAM)) {
                            found.push((path.display().to_string(), part.to_owned()));
                        }
                    }
                }
            }
        }
        let mut found = Vec::new();
        walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        found
    }

    /// The word with its placeholders filled in.
    fn filled(word: &str, with: &str) -> String {
        let mut text = word.to_owned();
        while let (Some(from), Some(to)) = (text.find('{'), text.find('}')) {
            let value = match &text[from..=to] {
                "{first}" => "22000",
                "{option}" => "",
                "{server}" => "https://127.0.0.1:26000",
                _ => with,
            };
            let range = from..=to;
            text.replace_range(range, value);
        }
        text
    }

    #[test]
    fn every_command_in_a_hint_parses() {
        let commands = commands_of_the_sources();
        assert!(commands.len() > 40, "{commands:?}");
        for (file, command) in commands {
            let with = if command.contains("pki import") { "ca" } else { "etcd" };
            let words: Vec<String> = command.split(" && ").next().unwrap().split_whitespace().map(|word| filled(word, with)).collect();
            let words = words.iter().take_while(|word| *word != ">");
            if let Err(error) = Cli::command().try_get_matches_from(words) {
                // A command may be named without its arguments: "`kbake build` creates one".
                let bare = [MissingRequiredArgument, MissingSubcommand, DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand];
                assert!(bare.contains(&error.kind()), "{file}: `{command}`: {error}");
            }
        }
    }
}
