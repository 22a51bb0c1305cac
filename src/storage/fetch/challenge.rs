//! Parser for `WWW-Authenticate`. Pure.

use std::collections::BTreeMap;

/// One challenge ([RFC 9110 §11.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The scheme, in lower case: `bearer`, `basic`.
    pub scheme: String,
    /// The parameters; names in lower case.
    pub parameters: BTreeMap<String, String>,
}

/// All challenges in a header's value. Anything malformed is skipped.
pub(super) fn parse(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',', '=']);
        let (word, after) = rest.split_at(rest.find(|c| !is_token(c)).unwrap_or(rest.len()));
        if word.is_empty() {
            // The end, or a character that is not valid here.
            match after.chars().next() {
                None => return found,
                Some(c) => rest = &after[c.len_utf8()..],
            }
            continue;
        }
        let word = word.to_ascii_lowercase();
        match (after.trim_start_matches([' ', '\t']).strip_prefix('='), found.last_mut()) {
            (Some(after), Some(challenge)) => {
                let (value, after) = value(after.trim_start_matches([' ', '\t']));
                challenge.parameters.entry(word).or_insert(value);
                rest = after;
            }
            _ => {
                found.push(Challenge { scheme: word, parameters: BTreeMap::new() });
                rest = after;
            }
        }
    }
}

/// A parameter's value, quoted or not, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, after) = text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()));
        return (word.to_owned(), after);
    };
    let (mut value, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            _ => value.push(c),
        }
    }
    (value, "")
}

/// A `token` character ([RFC 9110 §5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)).
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let one = |challenge: Challenge| format!("{} {:?}", challenge.scheme, challenge.parameters);
        parse(text).into_iter().map(one).collect()
    }

    #[test]
    fn challenges_are_parsed() {
        for (text, found) in [
            (
                r#"Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull,push""#,
                vec![r#"bearer {"realm": "https://auth.test/token", "scope": "repository:a/b:pull,push", "service": "registry.test"}"#],
            ),
            (r#"basic Realm = "a \"b\"" "#, vec![r#"basic {"realm": "a \"b\""}"#]),
            (r#"Negotiate, Basic realm=x, Bearer"#, vec!["negotiate {}", r#"basic {"realm": "x"}"#, "bearer {}"]),
            (r#"Basic realm="first", realm="second""#, vec![r#"basic {"realm": "first"}"#]),
            (r#"Bearer realm="unfinished\"#, vec![r#"bearer {"realm": "unfinished"}"#]),
            ("", vec![]),
            (" ,, = \"é\u{0} ", vec![]),
        ] {
            assert_eq!(shown(text), found, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            parse(&text);
        }

        #[test]
        fn no_mix_of_grammar_pieces_panics(parts in proptest::collection::vec("[ ,=\"\\\\ab]|é|Basic |realm=", 0..40)) {
            parse(&parts.concat());
        }
    }
}
