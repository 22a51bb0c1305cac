//! The schemas by which editors complete and check a project's files: they know the keys that the readers know, accept every shipped file
//! and refuse a misspelt key.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::ROOT;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The names of all properties of a schema, at any depth.
fn properties(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(named)) = map.get("properties") {
                found.extend(named.keys().cloned());
                named.values().for_each(|below| properties(below, found));
            }
            map.iter().filter(|(key, _)| *key != "properties").for_each(|(_, below)| properties(below, found));
        }
        Value::Array(items) => items.iter().for_each(|below| properties(below, found)),
        _ => {}
    }
}

/// The keys that a reader's source text lists behind `marker`, up to the bracket's end.
fn keys(text: &str, marker: &str) -> BTreeSet<String> {
    let lists = text.split(marker).skip(1).map(|rest| rest.split(']').next().unwrap());
    lists.flat_map(|list| list.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn a_schema_knows_the_keys_that_the_reader_knows() {
    for (schema, readers) in [
        (
            "cluster",
            &[
                ("src/cluster/model/spec/mod.rs", "only(&["),
                ("src/cluster/model/spec/site.rs", "only(&["),
                ("src/cluster/model/spec/settings.rs", "only(&["),
            ][..],
        ),
        (
            "recipe",
            &[
                ("src/spec/recipe/mod.rs", "vec!["),
                ("src/spec/recipe/mod.rs", "known.extend(["),
                ("src/spec/recipe/mod.rs", "known.push("),
                ("src/spec/recipe/mod.rs", "only(&["),
                ("src/spec/recipe/entry.rs", "only(&["),
                ("src/spec/recipe/user.rs", "only(&["),
            ],
        ),
        (
            "sources",
            &[
                ("src/spec/recipe/sources.rs", "const OWN_KEYS: [&str; 2] = ["),
                ("src/spec/recipe/sources.rs", "const COMMON_KEYS: [&str; 9] = ["),
                ("src/spec/recipe/artifact.rs", "only(&["),
                ("src/spec/recipe/suite.rs", "only(&["),
            ],
        ),
        ("compatibility", &[("src/spec/compatibility/table.rs", "only(&[")]),
        ("advisories", &[("src/spec/advisories/sources.rs", "only(&[")]),
        ("vex", &[("src/spec/advisories/vex.rs", "only(&[")]),
    ] {
        let mut known = BTreeSet::new();
        properties(&serde_json::from_str(&read(&format!("recipes/schemas/{schema}.json"))).unwrap(), &mut known);
        let mut wanted = BTreeSet::new();
        for (file, marker) in readers {
            let listed = match *marker {
                "known.push(" => read(file).split(marker).skip(1).map(|rest| rest.split('"').nth(1).unwrap().to_owned()).collect(),
                marker => keys(&read(file), marker),
            };
            assert!(!listed.is_empty(), "{file} has no `{marker}`");
            wanted.extend(listed);
        }
        assert_eq!(known, wanted, "the schema `{schema}` beside its reader");
    }
}

/// Checks TOML files against a schema, as an editor does.
const JUDGE: &str = "
import json, sys, tomllib
import jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
for name in sys.argv[2:]:
    jsonschema.Draft7Validator(schema).validate(tomllib.load(open(name, 'rb')))
";

fn judge(schema: &str, files: &[String]) -> Output {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", JUDGE, &format!("{ROOT}/recipes/schemas/{schema}.json")]).args(files);
    command.output().unwrap_or_else(|e| panic!("python3 is missing: run tests/setup.sh ({e})"))
}

fn shipped(folder: &str) -> Vec<String> {
    let names = fs::read_dir(Path::new(ROOT).join(folder)).unwrap().map(|entry| entry.unwrap().path().display().to_string());
    names.filter(|name| name.ends_with(".toml")).collect()
}

#[test]
fn every_shipped_file_is_as_its_schema_says() {
    let recipes = [shipped("recipes/parts"), shipped("recipes/roles"), vec![format!("{ROOT}/recipes/base.toml")]].concat();
    let document = tempfile::tempdir().unwrap();
    let example = document.path().join("cluster.toml").display().to_string();
    fs::write(&example, read("docs/cluster.md").split("```toml\n").nth(1).unwrap().split("```").next().unwrap()).unwrap();
    let statements = document.path().join("vex.toml").display().to_string();
    fs::write(&statements, read("docs/cve.md").split("```toml\n").nth(1).unwrap().split("```").next().unwrap()).unwrap();
    for (schema, files) in [
        ("advisories", vec![format!("{ROOT}/recipes/advisories.toml")]),
        ("vex", vec![statements]),
        ("cluster", [shipped("recipes/clusters"), vec![example]].concat()),
        ("recipe", recipes),
        ("sources", shipped("recipes/sources")),
        ("compatibility", vec![format!("{ROOT}/recipes/compatibility.toml")]),
    ] {
        assert!(!files.is_empty());
        let output = judge(schema, &files);
        assert!(output.status.success(), "{schema}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_schema_refuses_what_the_reader_refuses() {
    let folder = tempfile::tempdir().unwrap();
    for (schema, file, from, to, word) in [
        ("cluster", "recipes/clusters/kubenet.toml", "role = \"gateway\"", "rol = \"gateway\"", "'rol' was unexpected"),
        ("cluster", "recipes/clusters/kubenet.toml", "count = 3", "count = \"3\"", "is not of type 'integer'"),
        ("cluster", "recipes/clusters/kubenet.toml", "role = \"worker\"", "role = \"slave\"", "'slave' is not one of"),
        ("recipe", "recipes/roles/worker.toml", "parts = ", "part = ", "'part' was unexpected"),
        ("sources", "recipes/sources/debian.toml", "[[suite]]", "[[suit]]", "'suit' was unexpected"),
    ] {
        let text = read(file);
        let path = folder.path().join("file.toml");
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text, "{file} has no `{from}`");
        fs::write(&path, wrong).unwrap();
        let output = judge(schema, &[path.display().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word), "{file}: {said}");
    }
}

#[test]
fn editors_find_the_schemas() {
    let rules: toml::Table = read(".taplo.toml").parse().unwrap();
    let paths: Vec<&str> = rules["rule"].as_array().unwrap().iter().map(|rule| rule["schema"]["path"].as_str().unwrap()).collect();
    let names = fs::read_dir(Path::new(ROOT).join("recipes/schemas")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut there: Vec<String> = names.map(|name| format!("recipes/schemas/{}", name.to_str().unwrap())).collect();
    there.sort();
    let mut named: Vec<String> = paths.into_iter().map(str::to_owned).collect();
    named.sort();
    assert_eq!(named, there);
}
