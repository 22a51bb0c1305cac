use base64::Engine as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::common::testing::pyyaml;

fn meaning(value: &Yaml) -> Value {
    match value {
        Yaml::Bool(value) => json!(value),
        Yaml::Int(value) => json!(value),
        Yaml::Text(text) => json!(text),
        Yaml::Base64(bytes) => json!(STANDARD.encode(bytes)),
        Yaml::Leaf(leaf) => match *leaf {},
        Yaml::List(items) => items.iter().map(meaning).collect(),
        Yaml::Map(pairs) => Value::Object(pairs.iter().map(|(key, value)| ((*key).to_owned(), meaning(value))).collect()),
        Yaml::Named(name, value) => json!({ name: meaning(value) }),
        Yaml::Object(pairs) => Value::Object(pairs.iter().map(|(key, value)| (key.clone(), meaning(value))).collect()),
        Yaml::Plain(text) => serde_json::from_str(text).unwrap(),
        Yaml::Number(text) => serde_json::from_str(text).unwrap(),
    }
}

#[test]
fn documents_look_as_a_person_would_write_them() {
    let value = Yaml::Map(vec![
        ("name", Yaml::text("no")),
        ("empty", Yaml::List(vec![])),
        ("nothing", Yaml::Map(vec![])),
        ("list", Yaml::List(vec![Yaml::Map(vec![("a", Yaml::Int(1)), ("b", Yaml::text("x\n\n  y\n"))]), Yaml::texts(["0644"])])),
        ("flag", Yaml::Bool(false)),
        ("named", Yaml::Named("en*".to_owned(), Box::new(Yaml::Map(vec![("c", Yaml::text("ü\u{1f600}\"\\"))])))),
    ]);
    let expected = r#"name: "no"
empty: []
nothing: {}
list:
  - a: 1
    b: |
      x

        y
  -
    - "0644"
flag: false
named:
  "en*":
    c: "\xfc\U0001f600\"\\"
"#;
    assert_eq!(value.document(), expected);
    assert_eq!(pyyaml(&[value.document()]), [meaning(&value)]);
}

/// Keys that are data look like the format's own where they can, and never mean something else.
#[test]
fn keys_that_are_data_stay_texts() {
    let keys = ["app.kubernetes.io/name", "a-b_c", "no", "Y", "null", "1", "1.5", "-", "", "a: b", "@KEY@", "\u{fc}", "0x1f", "~"];
    let value = Yaml::Object(keys.iter().map(|key| ((*key).to_owned(), Yaml::Plain("7"))).collect());
    let text = value.document();
    assert!(text.starts_with("app.kubernetes.io/name: 7\na-b_c: 7\n\"no\": 7\n\"Y\": 7\n"), "{text}");
    assert_eq!(pyyaml(&[text]), [meaning(&value)]);
    let listed = Yaml::List(vec![value.clone(), Yaml::Object(Vec::new()), value]);
    assert_eq!(pyyaml(&[listed.document()]), [meaning(&listed)]);
}

/// Texts that other writers got wrong.
#[test]
fn nasty_texts_mean_themselves() {
    let texts = [
        "",
        " ",
        "\n",
        "\n\n",
        "a\n",
        "a\n\n",
        " a\n",
        "\ta\n",
        "a \nb\n",
        "a\n \nb\n",
        "a\nb",
        "a\r\nb\r\n",
        "---\na\n",
        "...\na\n",
        "# c\n#\n",
        "- a\n",
        "%YAML 1.1\nx\n",
        "a: b\n",
        "no",
        "0644",
        "1:30",
        "~",
        "null",
        "2001-01-01",
        "!!python/object:x",
        "*a",
        "&a",
        "{a",
        "\"",
        "'",
        "\\",
        "\\x41",
        "\0",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{fffe}",
        "\u{1f600}",
        "a\u{85}b\n",
        "a\n\u{2028}\n",
        "|\n",
        ">\nx\n",
        "x\n  y\n z\n",
        "=",
        "<<",
        "{{ v1 }}",
        "\u{1b}[0m",
    ];
    let values: Vec<Yaml> = texts.iter().map(|text| Yaml::text(*text)).collect();
    let nested = Yaml::Map(vec![("k", Yaml::List(values.iter().map(|value| Yaml::Map(vec![("v", value.clone())])).collect()))]);
    let documents: Vec<String> = values.iter().chain([&nested]).map(Yaml::document).collect();
    let expected: Vec<Value> = values.iter().chain([&nested]).map(meaning).collect();
    assert_eq!(pyyaml(&documents), expected);
    for document in documents {
        assert!(document.bytes().all(|c| c == b'\n' || (b' '..=b'~').contains(&c)), "{document:?}");
    }
}

fn any_yaml() -> impl Strategy<Value = Yaml<'static>> {
    let text = prop_oneof!["\\PC{0,12}", "[ a:#|>'\"\\\\\n\t-]{0,12}", any::<String>(), "([a-z #:-]{0,8}\n){1,4}"];
    let leaf = prop_oneof![any::<bool>().prop_map(Yaml::Bool), any::<u32>().prop_map(Yaml::Int), text.clone().prop_map(Yaml::text)];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let map = |values: Vec<Yaml<'static>>| Yaml::Map(["a", "bb", "c-c", "d_d"].into_iter().zip(values).collect());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Yaml::List),
            prop::collection::vec(inner.clone(), 0..4).prop_map(map),
            (text.clone(), inner).prop_map(|(name, value)| Yaml::Named(name, Box::new(value))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is written, PyYAML reads the same.
    #[test]
    fn anything_round_trips(values in prop::collection::vec(any_yaml(), 40)) {
        let documents: Vec<String> = values.iter().map(Yaml::document).collect();
        prop_assert_eq!(pyyaml(&documents), values.iter().map(meaning).collect::<Vec<_>>());
    }
}
