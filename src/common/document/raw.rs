//! The parser's values as owned values, without the kinds that no document here uses.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

/// A value of the document.
pub(super) enum Raw {
    Text(String),
    /// Digits and their radix: the number may be too large for any type.
    Number(String, u32),
    Flag(bool),
    Time(Datetime),
    List(Vec<(Range<usize>, Raw)>),
    Table(Vec<RawKey>),
    /// A fraction, as written.
    Fraction(String),
}

/// A key with the spans of itself and of its value.
pub(super) struct RawKey {
    pub(super) name: String,
    pub(super) name_span: Range<usize>,
    pub(super) span: Range<usize>,
    pub(super) value: Raw,
}

impl Raw {
    fn of(value: DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Raw::Text(text.into_owned()),
            DeValue::Integer(digits) => Raw::Number(digits.as_str().to_owned(), digits.radix()),
            DeValue::Datetime(time) => Raw::Time(time),
            DeValue::Array(items) => Raw::List(items.into_iter().map(|item| (item.span(), Raw::of(item.into_inner()))).collect()),
            DeValue::Table(table) => Raw::Table(keys_of(table)),
            DeValue::Float(value) => Raw::Fraction(value.as_str().to_owned()),
            DeValue::Boolean(value) => Raw::Flag(value),
        }
    }

    /// The kind, with its article, for "must be a string, not …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Raw::Text(_) => "a string",
            Raw::Number(..) => "a whole number",
            Raw::Time(_) => "a date or time",
            Raw::List(_) => "an array",
            Raw::Table(_) => "a table",
            Raw::Flag(_) => "a boolean",
            Raw::Fraction(_) => "a fraction",
        }
    }
}

/// The keys of a parsed table.
pub(super) fn keys_of(table: DeTable<'_>) -> Vec<RawKey> {
    let key = |(name, value): (toml::Spanned<toml::de::DeString<'_>>, toml::Spanned<DeValue<'_>>)| RawKey {
        name_span: name.span(),
        name: name.into_inner().into_owned(),
        span: value.span(),
        value: Raw::of(value.into_inner()),
    };
    table.into_iter().map(key).collect()
}
