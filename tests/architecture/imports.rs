//! The imports of the library's source files, as a graph between files.
//!
//! A path is followed through re-exports to the file that defines the item. Tests are left out: they may look at everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module's path from the crate's root: `["formats", "disk", "gpt"]`.
pub type Module = Vec<String>;

/// Files by the module that each holds, and the modules that each uses.
pub struct Imports {
    files: BTreeMap<Module, Vec<Module>>,
    /// Re-exports: the path under which an item is offered → the path that it stands for.
    offered: BTreeMap<Module, Module>,
}

impl Imports {
    /// Reads all source files below `src`.
    pub fn read(src: &Path) -> Self {
        let mut texts = Vec::new();
        for file in super::rust_files(src).into_iter().filter(|file| !super::is_tests(file)) {
            let module = module_of(file.strip_prefix(src).unwrap());
            texts.push((module, code(&fs::read_to_string(&file).unwrap())));
        }
        Self::of(&texts)
    }

    /// The imports of files, given as module and code.
    pub fn of(texts: &[(Module, String)]) -> Self {
        let mut files = BTreeMap::new();
        let mut offered = BTreeMap::new();
        for (module, text) in texts {
            let paths = relative_paths(text).into_iter().filter_map(|path| absolute(module, &path));
            files.insert(module.clone(), paths.collect());
            for (name, path) in reexports(text) {
                let path = absolute(module, &path).unwrap_or_else(|| [module.clone(), path].concat());
                offered.insert([&module[..], &[name]].concat(), path);
            }
        }
        Imports { files, offered }
    }

    /// The modules that have a file.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.files.keys()
    }

    /// Each file with the files that it uses. A file and the `mod.rs` above it are one: neither uses the other.
    pub fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let uses = |module: &Module, paths: &[Module]| {
            let targets = paths.iter().filter_map(|path| self.target(path));
            targets.filter(|used| !used.is_empty() && !used.starts_with(module) && !module.starts_with(used)).collect()
        };
        self.files.iter().map(|(module, paths)| (module.clone(), uses(module, paths))).collect()
    }

    /// The module that defines the item of a path.
    fn target(&self, path: &Module) -> Option<Module> {
        let mut path = path.clone();
        // No re-export is reached over more steps.
        for _ in 0..8 {
            let known = (1..=path.len()).rev().find(|n| self.files.contains_key(&path[..*n]))?;
            let item = path.get(..=known).and_then(|item| self.offered.get(item));
            match item {
                Some(defined) if defined[..] != path[..=known] => path = [&defined[..], &path[known + 1..]].concat(),
                _ => return Some(path[..known].to_vec()),
            }
        }
        None
    }
}

/// Files that lie on circles of uses.
pub fn circles(edges: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let reaches_itself = |start: &Module| {
        let mut seen = BTreeSet::new();
        let mut left: Vec<&Module> = edges[start].iter().collect();
        while let Some(next) = left.pop() {
            if seen.insert(next) {
                left.extend(edges.get(next).into_iter().flatten());
            }
        }
        seen.contains(start)
    };
    edges.keys().filter(|module| reaches_itself(module)).cloned().collect()
}

/// `disk/gpt.rs` and `disk/gpt/mod.rs` → `["disk", "gpt"]`.
fn module_of(file: &Path) -> Module {
    let mut parts: Module = file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// A source text without comments and without what only tests compile.
pub fn code(text: &str) -> String {
    let mut lines = text.lines().map(|line| line.split("//").next().unwrap());
    let mut code = String::new();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            code.push_str(line);
            code.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        // Other attributes, then the item: one line, or a block that ends where its first line began.
        let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#["));
        if item.is_some_and(|item| item.ends_with('{') || item.ends_with('(')) {
            let ends = |line: &&str| line.len() - line.trim_start().len() == indent && line.trim_start().starts_with(['}', ')']);
            _ = lines.by_ref().find(ends);
        }
    }
    code
}

fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// All paths that begin with `crate`, `super` or `self`, in `use` items and in code.
fn relative_paths(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            // `$crate`, `not_crate`, and the middle of a path are none.
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && !"_:$".contains(c)) {
                leaves(&code[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    found.into_iter().map(|(path, _)| path).collect()
}

/// Names that a file offers under its own path, with the paths that they stand for.
fn reexports(code: &str) -> Vec<(String, Module)> {
    let mut found = Vec::new();
    for line_start in code.match_indices("pub").map(|(at, _)| at) {
        let rest = &code[line_start + 3..];
        let rest = if rest.starts_with('(') { &rest[rest.find(')').map_or(0, |end| end + 1)..] } else { rest };
        if let Some(tree) = rest.strip_prefix(" use ") {
            leaves(tree, &mut Vec::new(), &mut found);
        }
    }
    found.into_iter().filter_map(|(path, name)| Some((name.or_else(|| path.last().cloned())?, path))).collect()
}

/// Reads a tree of paths from the start of `text`: each path with the name that `as` gives it. Gives what follows.
fn leaves<'t>(text: &'t str, above: &mut Module, found: &mut Vec<(Module, Option<String>)>) -> &'t str {
    let mut text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        text = group;
        loop {
            text = text.trim_start().trim_start_matches(',').trim_start();
            if text.is_empty() || text.starts_with('}') {
                return text.strip_prefix('}').unwrap_or_default();
            }
            let depth = above.len();
            let rest = leaves(text, above, found);
            above.truncate(depth);
            // A text that is no tree must not hold us up.
            text = if rest.len() < text.len() { rest } else { "" };
        }
    }
    let name = word(text);
    if !name.is_empty() {
        above.push(name.to_owned());
    }
    let rest = &text[name.len()..];
    match rest.strip_prefix("::") {
        Some(below) if !below.starts_with('<') => leaves(below, above, found),
        _ => {
            let alias = rest.trim_start().strip_prefix("as ").map(|alias| word(alias.trim_start()).to_owned());
            let path = above.iter().filter(|part| *part != "self" || above.first() == Some(part)).cloned().collect();
            let rest = if alias.is_some() { &rest[rest.find("as ").unwrap() + 3..] } else { rest.strip_prefix('*').unwrap_or(rest) };
            let behind = if let Some(alias) = &alias { rest.trim_start().strip_prefix(alias.as_str()).unwrap_or(rest) } else { rest };
            found.push((path, alias));
            behind
        }
    }
}

/// A path from the crate's root. None for one that begins elsewhere.
fn absolute(module: &Module, path: &Module) -> Option<Module> {
    let mut at = module.clone();
    let mut rest = &path[..];
    match rest.first()?.as_str() {
        "crate" => return Some(rest[1..].to_vec()),
        "self" => rest = &rest[1..],
        "super" => {}
        _ => return None,
    }
    while let Some((first, others)) = rest.split_first().filter(|(first, _)| *first == "super") {
        debug_assert_eq!(first, "super");
        at.pop();
        rest = others;
    }
    Some([&at[..], rest].concat())
}
