//! The law of ARCHITECTURE.md, checked against the imports in `src/`: wings and rooms use only what their tables allow, no two files use
//! each other, every file begins with its charter, and secrets are opened in listed places only.

#![allow(unreachable_pub, reason = "a test program has no users")]
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use imports::{Imports, Module, circles};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Rows of a table of ARCHITECTURE.md, by the heading before it: name → the names in its cell `may use`.
fn table(heading: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let section = text.split(&format!("\n### {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n#").next().unwrap();
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() >= 3, "a row has a name, a charter and what it may use: {line}");
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        let name = names(cells[0]).pop_first().unwrap();
        assert!(rows.insert(name.clone(), names(cells[2])).is_none(), "`{name}` has two rows");
    }
    rows
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// The room of a file, `formats/disk`; a wing's own `mod.rs` is the wing, `formats`.
fn room_of(module: &Module) -> String {
    module[..module.len().min(2)].join("/")
}

#[test]
fn wings_use_only_what_their_table_allows() {
    let table = table("Wings");
    let imports = Imports::read(&Path::new(ROOT).join("src"));
    let wings: BTreeSet<String> =
        imports.modules().filter_map(|module| module.first().cloned()).filter(|name| !["lib", "main"].contains(&name.as_str())).collect();
    assert_eq!(wings, table.keys().cloned().collect(), "the wings of src/ are those of the table");
    let mut wrong = Vec::new();
    for (module, used) in imports.edges() {
        let Some(allowed) = table.get(&module[0]) else { continue };
        for used in used.iter().filter(|used| used[0] != module[0] && !allowed.contains(&used[0])) {
            wrong.push(format!("{} uses {}, and `{}` may not use `{}`", module.join("::"), used.join("::"), module[0], used[0]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_use_only_what_their_table_allows() {
    let table = table("Rooms");
    let imports = Imports::read(&Path::new(ROOT).join("src"));
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (module, used) in imports.edges() {
        // The commands of `cli` are one room: no command uses another's file in a circle.
        if module.len() < 2 || module[0] == "cli" {
            continue;
        }
        let room = room_of(&module);
        let Some(allowed) = table.get(&room) else {
            wrong.push(format!("src/{room} has no row in ARCHITECTURE.md"));
            continue;
        };
        for used in used.iter().filter(|used| used[0] == module[0]) {
            let other = used.get(1).cloned().unwrap_or_default();
            if room_of(used) != room && !allowed.contains(&other) {
                wrong.push(format!("{} uses {}, which the row of `{room}` does not allow", module.join("::"), used.join("::")));
            }
        }
        seen.insert(room);
    }
    wrong.extend(table.keys().filter(|room| !seen.contains(*room)).map(|room| format!("`{room}` has a row and no code")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No image can depend on a cluster, and nothing that is committed or cached on what is private.
#[test]
fn walls_stand_where_the_invariants_are() {
    let wings = table("Wings");
    for (wing, never) in [("build", "cluster"), ("cluster", "build"), ("cluster", "storage"), ("spec", "storage"), ("common", "formats")] {
        assert!(!wings[wing].contains(never), "`{wing}` may use `{never}`");
    }
    for (wing, uses) in &wings {
        assert!(wing == "cli" || !uses.contains("cli"), "`{wing}` may use `cli`");
    }
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let circles = circles(&Imports::read(&Path::new(ROOT).join("src")).edges());
    let files: Vec<String> = circles.iter().map(|module| module.join("::")).collect();
    assert!(files.is_empty(), "these use each other in circles:\n{}", files.join("\n"));
}

#[test]
fn every_module_begins_with_its_charter() {
    for file in rust_files(&Path::new(ROOT).join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(is_tests(&file) || text.starts_with("//! "), "{} does not begin with `//!` and what it is for", file.display());
    }
}

/// Rooms and wings that may know secrets. All others have no type to put one in: neither a tree, nor a plan, nor the store.
/// (`storage/fetch` has logins of servers, and `spec/apt` hands those of mirrors to apt.)
const SECRETIVE: [&str; 4] = ["cli", "cluster", "spec/apt", "storage/fetch"];

/// The files that open secrets, with their reasons. `pki/` reads and writes the user's private folder.
const OPENERS: [(&str, &str); 7] = [
    ("cli/kubeconfig.rs", "prints kubeconfigs and writes them to the user's files"),
    ("storage/fetch/credential.rs", "puts logins and tokens into headers of requests, proxies' addresses, and apt's netrc"),
    (
        "cluster/node/additions/mod.rs",
        "reads the keys of what a person adds to a seed, and joins it with the seed's into a document that is a secret again",
    ),
    ("cluster/node/merge/mod.rs", "puts a cluster's entries into a kubeconfig, which is a secret again"),
    ("cluster/node/secret.rs", "writes them into documents that are secrets again"),
    ("spec/apt/state.rs", "writes a mirror's login into the netrc of the private apt, mode 0600"),
    ("cluster/seed/mod.rs", "lays volumes out, which are secrets again, and hands the bytes to who writes private files"),
];

/// True for a file that only tests compile: it may look into everything.
fn is_tests(file: &Path) -> bool {
    // The checkout itself may be in a folder of this name.
    let file = file.strip_prefix(ROOT).unwrap_or(file);
    file.with_extension("").iter().any(|part| part == "tests" || part == "testing")
}

/// A source text's use of secrets: it can have them, and it can open them. A glob would import the opening trait unnamed.
fn secrecy_of(text: &str) -> (bool, bool) {
    let code: String = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    (has(&["secrecy"]), has(&["ExposeSecret", "expose_secret", "secrecy::*"]))
}

#[test]
fn secrets_are_opened_only_where_they_leave() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&Path::new(ROOT).join("src")).into_iter().filter(|file| !is_tests(file)) {
        let shown = file.strip_prefix(Path::new(ROOT).join("src")).unwrap().display().to_string();
        let (has, opens) = secrecy_of(&fs::read_to_string(&file).unwrap());
        if has && !SECRETIVE.iter().any(|room| shown.starts_with(&format!("{room}/"))) {
            wrong.push(format!("src/{shown} knows secrets, and may not"));
        }
        if opens && !shown.starts_with("cluster/pki/") && !OPENERS.iter().any(|(opener, _)| *opener == shown) {
            wrong.push(format!(
                "src/{shown} opens secrets: add it to OPENERS in tests/architecture/main.rs with a good reason, or do without"
            ));
        }
        if opens {
            seen.insert(shown);
        }
    }
    wrong.extend(OPENERS.iter().filter(|(opener, _)| !seen.contains(*opener)).map(|(opener, _)| format!("src/{opener} opens no secret")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A feature of the crate's would let secrets be serialised.
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    assert!(manifest.lines().any(|line| line.starts_with("secrecy = \"")), "secrecy comes without features");
}

#[test]
fn openers_are_recognised() {
    assert_eq!(secrecy_of("use secrecy::SecretString; // ExposeSecret"), (true, false));
    assert_eq!(secrecy_of("use secrecy::{ExposeSecret as _, SecretString};"), (true, true));
    assert_eq!(secrecy_of("use secrecy::*;"), (true, true));
    assert_eq!(secrecy_of("secrecy::ExposeSecret::expose_secret(&key)"), (true, true));
    assert_eq!(secrecy_of("let secret = 1;"), (false, false));
}

fn module(path: &str) -> Module {
    path.split("::").map(str::to_owned).collect()
}

fn edges(files: &[(&str, &str)]) -> BTreeMap<Module, BTreeSet<Module>> {
    let files: Vec<_> = files.iter().map(|(path, text)| (module(path), imports::code(text))).collect();
    Imports::of(&files).edges()
}

#[test]
fn imports_are_understood() {
    let files = [
        ("a", "pub use self::one::{One, Two as Other};\npub mod one; pub mod two;"),
        ("a::one", "use super::two; // crate::b\nfn f() -> crate::b::c::T { $crate::b::X }"),
        ("a::two", "#[cfg(test)]\nmod tests {\n    use crate::b::c;\n}\nuse std::{io, fmt};\nuse crate::{a, b::{self, d::{E, F}}};"),
        ("b", "pub mod c; pub mod d;"),
        ("b::c", "use crate::a::{One as First, Other};\n#[cfg(test)]\nuse crate::b::d;"),
        ("b::d", "use super::c::{self as other, T};"),
    ];
    let used = |path: &str| edges(&files)[&module(path)].iter().map(|used| used.join("::")).collect::<Vec<_>>();
    assert_eq!(used("a::one"), ["a::two", "b::c"]);
    assert_eq!(used("a::two"), ["b", "b::d"], "an import of the module itself is one of its mod.rs");
    assert_eq!(used("b::c"), ["a::one"], "re-exports are followed, and tests are left out");
    assert_eq!(used("b::d"), ["b::c"]);
}

#[test]
fn circles_are_found() {
    let free = [("x::a", "use super::b::B;"), ("x::b", "use crate::y::Y;"), ("y", "")];
    assert!(circles(&edges(&free)).is_empty());
    let of_three = [("x::a", "use super::b::B;"), ("x::b", "use super::c::C;"), ("x::c", "use super::a::A;"), ("y", "use crate::x::a::A;")];
    assert_eq!(circles(&edges(&of_three)), ["x::a", "x::b", "x::c"].map(module).into());
}

/// The only file that starts the program for tests, isolated from the user.
const STARTER: &str = "tests/support/program.rs";

/// The fault of a line of a test that reads what users have left in their checkout or environment.
fn reads_the_users(line: &str) -> Option<&'static str> {
    let code = line.split("//").next().unwrap();
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if has(&["CARGO_BIN_EXE_", "target/debug/kbake", "target/release/kbake"]) {
        return Some("starts the program by itself: `program::kbake` clears the environment first");
    }
    let in_checkout = has(&["ROOT", "CARGO_MANIFEST_DIR"]);
    if in_checkout && has(&["--project", "Project::find", "current_dir"]) {
        return Some("works in the checkout, where `cluster.toml` is the user's: `program::project()` is a copy");
    }
    names_in_checkout(code).any(|name| USERS.iter().any(|users| name.starts_with(users))).then_some("reads a user's file")
}

/// The beginnings of paths in the checkout that belong to the user.
const USERS: [&str; 5] = ["cluster.toml", "secrets", "images\"", "images/disks", "images/seeds"];

/// The texts that follow the checkout's folder, as in `Path::new(ROOT).join("name")` and `"{ROOT}/name"`.
fn names_in_checkout(code: &str) -> impl Iterator<Item = &str> {
    let after = |mark: &'static str| code.match_indices(mark).map(move |(at, _)| &code[at + mark.len()..]);
    let word = |rest: &'_ str| rest.find(char::is_alphanumeric).unwrap_or(rest.len());
    after("ROOT").chain(after("CARGO_MANIFEST_DIR")).map(move |rest| {
        let rest = &rest[word(rest)..];
        rest.strip_prefix("join").map_or(rest, |rest| &rest[word(rest)..])
    })
}

#[test]
fn no_test_reads_what_a_user_left_in_the_checkout() {
    let files = [rust_files(&Path::new(ROOT).join("tests")), rust_files(&Path::new(ROOT).join("src"))].concat();
    let mut wrong = Vec::new();
    for file in files {
        let shown = file.strip_prefix(ROOT).unwrap().display().to_string();
        if [STARTER, "tests/architecture/main.rs"].contains(&shown.as_str()) || shown.starts_with("tests/fuzz/") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        wrong.extend(text.lines().enumerate().filter_map(|(at, line)| Some(format!("{shown}:{}: {}", at + 1, reads_the_users(line)?))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let starter = fs::read_to_string(Path::new(ROOT).join(STARTER)).unwrap();
    assert!(starter.matches("Command::new(").count() == 1 && starter.contains("env_clear()"), "one way, with a clear environment");
}

#[test]
fn what_is_the_users_is_recognised() {
    for line in [
        "Command::new(env!(\"CARGO_BIN_EXE_kbake\"))",
        "Command::new(format!(\"{ROOT}/target/debug/kbake\"))",
        "Project::find(Some(Path::new(ROOT)), dir)",
        "command.args([\"seed\", \"--project\", ROOT])",
        "command.current_dir(env!(\"CARGO_MANIFEST_DIR\"))",
        "fs::read_to_string(Path::new(ROOT).join(\"cluster.toml\"))",
        "Path::new(ROOT).join(\"images\")",
    ] {
        assert!(reads_the_users(line).is_some(), "{line}");
    }
    for line in
        ["Path::new(ROOT).join(\"images/expected.toml\")", "site.write(\"cluster.toml\", &good); // in ROOT", "command.current_dir(dir)"]
    {
        assert_eq!(reads_the_users(line), None, "{line}");
    }
}
