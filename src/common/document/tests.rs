use super::*;
use crate::Error;

const REMEDY: &str = "keep one side";

fn open_text(text: &str) -> Result<Section> {
    open("a.toml", text, REMEDY)
}

fn failure<T>(result: Result<T>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn toml_errors_show_line_column_and_caret() {
    let shown = failure(open_text("a = 1\nb = = 2\n"));
    assert!(shown.starts_with("`a.toml` is not valid TOML: "), "{shown}");
    assert!(shown.contains("\n  a.toml:2:5\n  2 | b = = 2\n    |     ^"), "{shown}");
    let shown = failure(open_text("a = 1\na = 2\n"));
    assert!(shown.contains("a.toml:2:1") && shown.contains("duplicate key"), "{shown}");
}

#[test]
fn invalid_toml_never_panics() {
    let texts =
        ["\u{feff}", "\"", "a", "a = \"ü", "[", "[[", "a = [1,", "\r\n=", "a=\"\\uD800\"", "= ", "a = \u{0}", "ü = ", "\t\tb = [\n\n"];
    for text in texts {
        if let Err(error) = open_text(text) {
            assert!(error.to_string().contains("a.toml:"), "{text:?}: {error}");
        }
    }
    // A position past the end, inside a character, and in an empty text.
    let source = Arc::new(Source { file: "x".into(), text: "ü".into() });
    assert_eq!(Place::new(&source, 1..9).to_string(), "x:1:1");
    let empty = Arc::new(Source { file: "x".into(), text: String::new() });
    assert_eq!(Place::new(&empty, 5..9).error("m").to_string(), "m\n  x:1:1\n  1 |\n    | ^");
}

#[test]
fn conflict_markers_have_their_own_message() {
    let cases = [
        ("a = 1\n<<<<<<< HEAD\nb = 1\n=======\nb = 2\n>>>>>>> other\n", 2),
        ("a = 1\r\n>>>>>>> other\r\n", 2),
        ("a = 1\nb = 1\n=======\nb = 2\n", 3),
        // Inside a string it would be valid TOML, and would end up in the image.
        ("a = '''\n<<<<<<< HEAD\nx\n=======\ny\n>>>>>>> other\n'''\n", 2),
    ];
    for (text, line) in cases {
        let shown = failure(open_text(text));
        assert!(shown.starts_with("`a.toml` has an unresolved merge conflict\n"), "{shown}");
        assert!(shown.contains(&format!("a.toml:{line}:1")) && shown.ends_with("hint: keep one side"), "{shown}");
    }
    for honest in ["a = '''\nTitle\n=======\n'''\n", "a = '<<<<<<< x'\n", "# <<<<<<<<<<\n"] {
        assert!(open_text(honest).is_ok(), "{honest}");
    }
}

#[test]
fn unknown_keys_name_the_nearest() {
    let shown = failure(open_text("z = 1\npackges = []\n").unwrap().only(&["packages", "z"]));
    assert_eq!(shown, "unknown key `packges` in `a.toml`\n  a.toml:2:1\n  2 | packges = []\n    | ^^^^^^^\nhint: did you mean `packages`?");
    let shown = failure(open_text("zebra = 1\nant = 1\n").unwrap().only(&["file", "dir"]));
    assert!(shown.starts_with("unknown key `zebra`") && shown.ends_with("hint: known here: file, dir"), "{shown}");
    let mut root = open_text("[[file]]\npaht = 'x'\n").unwrap();
    let shown = failure(root.sections("file").unwrap()[0].only(&["path"]));
    assert!(shown.starts_with("unknown key `paht` in `[[file]]`\n  a.toml:2:1"), "{shown}");
}

#[test]
fn wrong_types_name_both_types() {
    let text = "number = 1.5\ntext = 7\nlist = ['a', 2]\ntables = 'x'\ntime = 'x'\nbig = 99999999999999999999\nnegative = -1\nyes = true";
    type Read = fn(&mut Section) -> Option<Error>;
    let cases: [(&str, Read); 8] = [
        ("a.toml:1:10", |s| s.number("number").err()),
        ("`text` must be a string, not a whole number", |s| s.required::<String>("text").err()),
        ("`list` must be an array of strings, not a whole number\n  a.toml:3:14", |s| s.list::<String>("list").err()),
        ("`tables` must be tables `[[tables]]`, not a string", |s| s.sections("tables").err()),
        ("`time` must be a date and time", |s| s.time("time").err()),
        ("`big` is 99999999999999999999", |s| s.number("big").err()),
        ("`negative` is -1", |s| s.number("negative").err()),
        ("`yes` must be a table `[yes]`, not a boolean", |s| s.section("yes").err()),
    ];
    for (expected, read) in cases {
        let shown = read(&mut open_text(text).unwrap()).unwrap().to_string();
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(failure(open_text("").unwrap().required::<String>("name")).starts_with("`a.toml` has no key `name`"));
}

#[test]
fn long_and_odd_lines_are_cut_and_cleaned() {
    let text = format!("a = '{}'\n", "x".repeat(500));
    let shown = failure(open_text(&text).unwrap().number("a"));
    assert!(shown.lines().all(|line| line.chars().count() < 140), "{shown}");
    let shown = failure(open_text("\ta = '\tü' # c\n").unwrap().number("a"));
    assert!(shown.contains("1 |  a = ' ü' # c\n    |      ^^^^"), "{shown}");
}
