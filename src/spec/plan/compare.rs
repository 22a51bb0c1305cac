//! Comparison of two plans by their texts. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::common::error::{Error, Result};

/// The start of every plan's text.
const MAGIC: &str = "kbake-plan ";
/// The number of a digest's digits that are shown.
const SHORT: usize = 12;

/// The subject of a plan's line: `deb etcd-server`, `/etc/motd`, `unit ssh.service`, `epoch`. In the order of the plan's
/// groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    group: Group,
    name: String,
}

/// The groups of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Formats, the architecture, the disk: one line each.
    Frame,
    /// The installer of the packages.
    Installer,
    /// A path that is removed from the installed packages' tree.
    Cleared,
    /// An installed package.
    Package,
    /// A tool that is read during the build.
    Tool,
    /// An account.
    User,
    /// An entry at a path.
    Path,
    /// The preset of a unit.
    Unit,
}

/// One line that differs between two plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its subject.
    pub subject: Subject,
    /// The first plan's value, if any.
    pub old: Option<String>,
    /// The second plan's value, if any.
    pub new: Option<String>,
}

impl Subject {
    /// Its group.
    pub fn group(&self) -> Group {
        self.group
    }

    /// True if the change requires the packages to be installed again.
    pub fn is_of_base(&self) -> bool {
        match self.group {
            Group::Installer | Group::Cleared | Group::Package => true,
            Group::Frame => ["arch", "epoch", "base-format"].contains(&self.name.as_str()),
            Group::Tool | Group::User | Group::Path | Group::Unit => false,
        }
    }

    /// The name of the package, account, path or unit.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            Group::Frame | Group::Path => f.write_str(&self.name),
            Group::Installer => write!(f, "installer {}", self.name),
            Group::Cleared => write!(f, "clear {}", self.name),
            Group::Package => write!(f, "deb {}", self.name),
            Group::Tool => write!(f, "tool {}", self.name),
            Group::User => write!(f, "user {}", self.name),
            Group::Unit => write!(f, "unit {}", self.name),
        }
    }
}

/// True for the text of a plan.
pub(crate) fn is_plan(text: &str) -> bool {
    text.starts_with(MAGIC)
}

/// The lines of a plan's text by subject. `name` is the text's name in messages.
///
/// # Errors
/// A text that is not a plan, or that has two lines about one subject.
pub(crate) fn lines(text: &str, name: &str) -> Result<BTreeMap<Subject, String>> {
    if !is_plan(text) {
        return Err(Error::user(format!("{name} is not a plan")).hint("`kbake plan ROLE` prints one"));
    }
    let mut found = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let (subject, says) =
            parse(line).ok_or_else(|| Error::user(format!("{name}, line {}: this is not a line of a plan", index + 1)))?;
        if found.insert(subject.clone(), says).is_some() {
            return Err(Error::user(format!("{name}, line {}: a second line about {subject}", index + 1)));
        }
    }
    Ok(found)
}

/// A line, split into its subject and its value.
fn parse(line: &str) -> Option<(Subject, String)> {
    let (word, rest) = line.split_once(' ')?;
    let group = match word {
        "clear" => return Some((Subject { group: Group::Cleared, name: rest.to_owned() }, String::new())),
        "installer" => Group::Installer,
        "deb" => Group::Package,
        "tool" => Group::Tool,
        "user" => Group::User,
        "unit" => Group::Unit,
        "dir" | "file" | "made" | "symlink" | "absent" => {
            let (path, says) = rest.split_once(' ').unwrap_or((rest, ""));
            return Some((Subject { group: Group::Path, name: path.to_owned() }, format!("{word} {says}").trim_end().to_owned()));
        }
        _ => return Some((Subject { group: Group::Frame, name: word.to_owned() }, rest.to_owned())),
    };
    let (name, says) = rest.split_once(' ')?;
    Some((Subject { group, name: name.to_owned() }, says.to_owned()))
}

/// All lines that differ, in the order of the plans' groups.
pub(crate) fn compare(old: &BTreeMap<Subject, String>, new: &BTreeMap<Subject, String>) -> Vec<Change> {
    let subjects: BTreeSet<&Subject> = old.keys().chain(new.keys()).collect();
    let change = |subject: &Subject| Change { subject: subject.clone(), old: old.get(subject).cloned(), new: new.get(subject).cloned() };
    subjects.into_iter().map(change).filter(|change| change.old != change.new).collect()
}

impl Change {
    /// `added`, `removed` or `changed`.
    pub fn word(&self) -> &'static str {
        match (&self.old, &self.new) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        }
    }

    /// The changed parts of a line, for people; empty for additions and removals.
    pub fn facets(&self) -> Vec<String> {
        let (Some(old), Some(new)) = (&self.old, &self.new) else { return Vec::new() };
        let (old, new): (Vec<&str>, Vec<&str>) = (old.split(' ').collect(), new.split(' ').collect());
        let arrow = |what: &str, a: &str, b: &str| format!("{what} {a} → {b}");
        match self.subject.group {
            Group::Path if old[0] != new[0] => vec![format!("{} → {}", old[0], new[0])],
            Group::Path => match (&old[..], &new[..]) {
                ([_, mode, user, group, rest @ ..], [_, new_mode, new_user, new_group, new_rest @ ..]) => {
                    let mut facets = Vec::new();
                    if mode != new_mode {
                        facets.push(arrow("mode", mode, new_mode));
                    }
                    if (user, group) != (new_user, new_group) {
                        facets.push(arrow("owner", &format!("{user}:{group}"), &format!("{new_user}:{new_group}")));
                    }
                    if rest != new_rest {
                        facets.push(contents(rest, new_rest));
                    }
                    facets
                }
                _ => vec![arrow("target", &old[1..].join(" "), &new[1..].join(" "))],
            },
            Group::Package if old[0] == new[0] => vec!["the step that installs it".to_owned()],
            Group::Installer | Group::Package | Group::Tool => vec![format!("{} → {}", short(old[0]), short(new[0]))],
            Group::Frame | Group::Cleared | Group::User | Group::Unit => vec![format!("{} → {}", old.join(" "), new.join(" "))],
        }
    }
}

/// The words behind a file's owner: size and digest, or the words that decide its bytes.
fn contents(old: &[&str], new: &[&str]) -> String {
    match (old, new) {
        ([size, _], [new_size, _]) if size == new_size => format!("contents, as before {size} bytes"),
        ([size, _], [new_size, _]) => format!("contents, {size} → {new_size} bytes"),
        _ => "what it is made of".to_owned(),
    }
}

/// The first digits of a digest.
fn short(digest: &str) -> String {
    match digest.get(..SHORT) {
        Some(start) if digest.len() > SHORT => format!("{start}…"),
        _ => digest.to_owned(),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}", self.word(), self.subject)?;
        match self.facets() {
            facets if facets.is_empty() => Ok(()),
            facets => write!(f, "  ({})", facets.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "kbake-plan 1\nimage-format 1\narch amd64\ndeb a 0000000000000000\ndeb b 1111\ntool grub 22\n\
                       user etcd 950 /var/lib/etcd\ndir /etc/x 0755 root root\nfile /etc/y 0644 root root 3 aa\n\
                       symlink /l one\nabsent /gone\nunit ssh.service enable\n";

    fn changed(from: &str, to: &str) -> Vec<String> {
        let new = OLD.replace(from, to);
        assert_ne!(OLD, new, "{from}");
        compare(&lines(OLD, "old").unwrap(), &lines(&new, "new").unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_line_that_differs_is_named_with_what_is_another() {
        for (from, to, expected) in [
            ("image-format 1", "image-format 2", &["changed  image-format  (1 → 2)"][..]),
            ("deb a 0000000000000000", "deb a 3333333333333333", &["changed  deb a  (000000000000… → 333333333333…)"]),
            ("deb b 1111\n", "deb b 1111 on-top\n", &["changed  deb b  (the step that installs it)"]),
            ("deb b 1111\n", "deb bb 1111\n", &["removed  deb b", "added    deb bb"]),
            ("dir /etc/x 0755", "dir /etc/x 0700", &["changed  /etc/x  (mode 0755 → 0700)"]),
            ("y 0644 root root 3 aa", "y 0644 root root 4 bb", &["changed  /etc/y  (contents, 3 → 4 bytes)"]),
            (
                "y 0644 root root 3 aa",
                "y 0600 etcd etcd 3 bb",
                &["changed  /etc/y  (mode 0644 → 0600; owner root:root → etcd:etcd; contents, as before 3 bytes)"],
            ),
            ("file /etc/y 0644 root root 3 aa", "symlink /etc/y z", &["changed  /etc/y  (file → symlink)"]),
            ("y 0644 root root 3 aa", "y 0644 root root 1 member sha256:aa 0 x", &["changed  /etc/y  (what it is made of)"]),
            ("symlink /l one", "symlink /l two", &["changed  /l  (target one → two)"]),
            ("absent /gone\n", "", &["removed  /gone"]),
            ("unit ssh.service enable", "unit ssh.service mask", &["changed  unit ssh.service  (enable → mask)"]),
            ("user etcd 950", "user etcd 951", &["changed  user etcd  (950 /var/lib/etcd → 951 /var/lib/etcd)"]),
        ] {
            assert_eq!(changed(from, to), expected);
        }
        let same = lines(OLD, "old").unwrap();
        assert!(compare(&same, &same).is_empty());
    }

    #[test]
    fn what_is_no_plan_is_refused_with_its_line() {
        for (text, words) in [
            ("format = 1\n", "x is not a plan"),
            ("kbake-plan 1\nword\n", "x, line 2: this is not a line of a plan"),
            ("kbake-plan 1\ndeb a 1\ndeb a 2\n", "x, line 3: a second line about deb a"),
            ("kbake-plan 1\nfile /a 0644\ndir /a 0755\n", "a second line about /a"),
        ] {
            let error = lines(text, "x").unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_the_base_is_made_of_is_told_from_the_rest() {
        let of_base: Vec<String> = lines(OLD, "old").unwrap().keys().filter(|s| s.is_of_base()).map(ToString::to_string).collect();
        assert_eq!(of_base, ["arch", "deb a", "deb b"]);
    }
}
