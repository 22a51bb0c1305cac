//! Documents with secrets in them: the YAML leaf for a secret, and the writer that leaves no copies behind.

use std::fmt::{self, Write};

use secrecy::{ExposeSecret as _, SecretString};

use crate::common::yaml::{Leaf, Scalar, Yaml};

/// A secret in a YAML document. Its text is copied once, into the document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Secret<'a> {
    /// The text itself.
    Text(&'a SecretString),
    /// The text as base64.
    Base64(&'a SecretString),
}

impl Leaf for Secret<'_> {
    fn scalar(&self) -> Scalar<'_> {
        match self {
            Secret::Text(secret) => Scalar::Text(secret.expose_secret()),
            Secret::Base64(secret) => Scalar::Base64(secret.expose_secret().as_bytes()),
        }
    }
}

/// The document behind `head`, which is lines of its own.
pub(super) fn private_document(head: &str, yaml: &Yaml<'_, Secret<'_>>) -> SecretString {
    written(|mut out| {
        let _ = out.write_str(head);
        yaml.write_to(&mut out);
    })
}

/// The text that `write` writes. It runs twice, first to count: a buffer that grows would leave copies of secrets behind.
pub(super) fn written(write: impl Fn(&mut dyn Write)) -> SecretString {
    let mut length = Length(0);
    write(&mut length);
    let mut out = String::with_capacity(length.0);
    write(&mut out);
    debug_assert_eq!(out.len(), length.0, "both runs write the same text");
    SecretString::from(out)
}

/// Counts bytes instead of writing them.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;
    use crate::common::testing::pyyaml;

    /// A secret is written as the same text in public would be, and never shown.
    #[test]
    fn secrets_are_written_and_never_shown() {
        for text in ["", "one line", "two\nlines\n", "-----BEGIN X-----\nAAAA\n-----END X-----\n", "\u{1f600}\0"] {
            let secret = SecretString::from(text);
            let document = |value, encoded| Yaml::Map(vec![("a", value), ("b", Yaml::List(vec![Yaml::Map(vec![("c", encoded)])]))]);
            let private = document(Yaml::Leaf(Secret::Text(&secret)), Yaml::Leaf(Secret::Base64(&secret)));
            let written = private_document("# head\n", &private);
            let public =
                Yaml::Map(vec![("a", Yaml::text(text)), ("b", Yaml::List(vec![Yaml::Map(vec![("c", Yaml::Base64(text.as_bytes()))])]))]);
            assert_eq!(written.expose_secret(), format!("# head\n{}", public.document()));
            let encoded = STANDARD.encode(text);
            assert_eq!(pyyaml(&[written.expose_secret().to_owned()]), [json!({ "a": text, "b": [{ "c": encoded }] })]);
            assert!(text.is_empty() || !format!("{private:?}").contains(text));
        }
    }

    #[test]
    fn a_text_with_secrets_is_counted_before_it_is_written() {
        let runs = Cell::new(0);
        let text = written(|out| {
            runs.set(runs.get() + 1);
            let _ = out.write_str("hunter2");
        });
        assert_eq!((text.expose_secret(), runs.get()), ("hunter2", 2));
    }
}
