//! Holds the module table of ARCHITECTURE.md against the imports in `src/`: no module uses one that its row does
//! not name, no row is missing or left over, and every module begins with its charter. Also holds who may open secrets.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// module → the modules it may use, from the table's rows: | `module` | charter | may use | effects |
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "a module's row has four cells: {line}");
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        let module = names(cells[0]).pop_first().unwrap();
        assert!(rows.insert(module.clone(), names(cells[2])).is_none(), "`{module}` has two rows");
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

/// The top-level module that a file belongs to: `src/disk/gpt.rs` → `disk`.
fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(Path::new(ROOT).join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The top-level modules that a source text names as `crate::module` or inside `use crate::{…}`.
fn used_modules(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            None => _ = used.insert(word(rest)),
            Some(group) => {
                let (mut depth, mut start) = (0, 0);
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => {
                            used.insert(word(group[start..i].trim_start()));
                            break;
                        }
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            used.insert(word(group[start..i].trim_start()));
                            start = i + 1;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    // `crate::Error`, `crate::Result` and `crate::Class` are re-exports of `error`.
    used.into_iter().filter(|name| name.starts_with(char::is_lowercase)).collect()
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let table = table();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&Path::new(ROOT).join("src")) {
        let module = module_of(&file);
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        seen.insert(module.clone());
        let Some(allowed) = table.get(&module) else {
            wrong.push(format!("src/{module} has no row in ARCHITECTURE.md"));
            continue;
        };
        let own: BTreeSet<String> = [module.clone(), "error".into()].into();
        for used in used_modules(&fs::read_to_string(&file).unwrap()) {
            if !allowed.contains(&used) && !own.contains(&used) {
                wrong.push(format!("{} uses `{used}`, which the row of `{module}` does not allow", file.display()));
            }
        }
    }
    wrong.extend(table.keys().filter(|name| !seen.contains(*name)).map(|name| format!("`{name}` has a row and no code")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    let table = table();
    // A module may only use modules that come earlier in an order that can be found by removing leaves.
    let mut left = table.clone();
    loop {
        let leaves: Vec<String> =
            left.iter().filter(|(_, uses)| uses.iter().all(|used| !left.contains_key(used))).map(|(name, _)| name.clone()).collect();
        if leaves.is_empty() {
            break;
        }
        left.retain(|name, _| !leaves.contains(name));
    }
    assert!(left.is_empty(), "these use each other in a circle: {:?}", left.keys().collect::<Vec<_>>());
}

#[test]
fn every_module_begins_with_its_charter() {
    for file in rust_files(&Path::new(ROOT).join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(is_tests(&file) || text.starts_with("//! "), "{} does not begin with `//!` and what it is for", file.display());
    }
}

/// Who may know that there are secrets. What is not in here has no type to put one in: not a tree, a plan, the store.
/// (`fetch` has logins of servers, and `resolve` hands those of mirrors to apt.)
const SECRETIVE: [&str; 6] = ["cli", "fetch", "pki", "render", "resolve", "seed"];

/// Where secrets are opened, and why. `pki/` reads and writes the user's private folder.
const OPENERS: [(&str, &str); 8] = [
    ("cli/pki.rs", "prints the kubeconfig that was asked for"),
    ("cli/kubeconfig.rs", "writes kubeconfigs to the user's files"),
    ("fetch/credential.rs", "puts logins and tokens into headers of requests, proxies' addresses, and apt's netrc"),
    (
        "render/additions.rs",
        "reads the keys of what a person adds to a seed, and joins it with the seed's into a document that is a secret again",
    ),
    ("render/merge.rs", "puts a cluster's entries into a kubeconfig, which is a secret again"),
    ("render/yaml.rs", "writes them into documents that are secrets again"),
    ("resolve/state.rs", "writes a mirror's login into the netrc of the private apt, mode 0600"),
    ("seed/mod.rs", "lays volumes out, which are secrets again, and hands the bytes to who writes private files"),
];

/// Whether a file's tests are all that is in it: they may look into everything.
fn is_tests(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "tests.rs") || file.components().any(|part| part.as_os_str() == "tests")
}

/// Whether a source text can have secrets, and whether it can open them. A glob would bring the opening trait unnamed.
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
        let (module, shown) = (module_of(&file), file.strip_prefix(Path::new(ROOT).join("src")).unwrap().display().to_string());
        let (has, opens) = secrecy_of(&fs::read_to_string(&file).unwrap());
        if has && !SECRETIVE.contains(&module.as_str()) {
            wrong.push(format!("src/{shown} knows secrets, and `{module}` may not"));
        }
        if opens && module != "pki" && !OPENERS.iter().any(|(opener, _)| *opener == shown) {
            wrong.push(format!("src/{shown} opens secrets: add it to OPENERS in tests/architecture.rs with a good reason, or do without"));
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

/// What could carry a secret into an image knows neither keys nor seeds.
#[test]
fn nothing_that_makes_images_uses_seeds_or_keys() {
    let table = table();
    for module in ["value", "plan", "tree", "unpack", "disk", "oci", "fsx", "store", "fetch", "base", "project", "bake"] {
        for private in ["pki", "seed"] {
            assert!(!table[module].contains(private), "`{module}` may use `{private}`");
        }
    }
}

#[test]
fn openers_are_recognised() {
    assert_eq!(secrecy_of("use secrecy::SecretString; // ExposeSecret"), (true, false));
    assert_eq!(secrecy_of("use secrecy::{ExposeSecret as _, SecretString};"), (true, true));
    assert_eq!(secrecy_of("use secrecy::*;"), (true, true));
    assert_eq!(secrecy_of("secrecy::ExposeSecret::expose_secret(&key)"), (true, true));
    assert_eq!(secrecy_of("let secret = 1;"), (false, false));
}

#[test]
fn imports_are_understood() {
    let used = used_modules("use crate::{disk::{gpt, raw}, tree::Tree};\nlet x = crate::plan::Plan; // crate::cli\nuse crate::Result;");
    assert_eq!(used, ["disk", "plan", "tree"].map(String::from).into());
}

/// The file that starts the program for tests, with nothing of the user's.
const STARTER: &str = "tests/program/mod.rs";

/// Why a line of a test reads what users have left in their checkout or environment, if it does.
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

/// Paths in the checkout that a user makes, as a text of the source may begin with them.
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
        if [STARTER, "tests/architecture.rs"].contains(&shown.as_str()) || shown.starts_with("tests/fuzz/") {
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
