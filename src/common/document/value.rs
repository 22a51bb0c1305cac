//! Values of any kind with their positions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::place::{Located, Place, Source};
use super::raw::{Raw, RawKey};
use crate::Result;

/// Values by key; the position of each is that of its key.
pub(crate) type Table = BTreeMap<String, Located<Value>>;

/// A value of any kind that JSON has too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A number in JSON's notation.
    Number(String),
    /// `true` or `false`.
    Flag(bool),
    /// An array.
    List(Vec<Located<Value>>),
    /// A table.
    Table(Table),
}

impl Value {
    /// The kind, with its article, for "must be a string, not …".
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Number(number) if number.bytes().all(|c| c.is_ascii_digit() || c == b'-') => "a whole number",
            Value::Number(_) => "a fraction",
            Value::Flag(_) => "a boolean",
            Value::List(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// Scalars unquoted; arrays and tables in TOML's notation.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) | Value::Number(text) => f.write_str(text),
            Value::Flag(value) => write!(f, "{value}"),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| quoted(&item.value)).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Value::Table(table) => {
                let pairs: Vec<String> = table.iter().map(|(key, item)| format!("{} = {}", key_text(key), quoted(&item.value))).collect();
                write!(f, "{{ {} }}", pairs.join(", "))
            }
        }
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

fn key_text(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c));
    if is_bare { key.to_owned() } else { format!("{key:?}") }
}

pub(super) fn table(source: &Arc<Source>, keys: impl Iterator<Item = RawKey>) -> Result<Table> {
    keys.map(|key| {
        let place = Place::new(source, key.name_span);
        let value = value(source, &place, key.value)?;
        Ok((key.name, Located { value, place }))
    })
    .collect()
}

fn value(source: &Arc<Source>, place: &Place, raw: Raw) -> Result<Value> {
    Ok(match raw {
        Raw::Text(text) => Value::Text(text),
        Raw::Number(digits, radix) => match i64::from_str_radix(&digits, radix) {
            Ok(number) => Value::Number(number.to_string()),
            Err(_) => return Err(place.error(format!("{digits} is out of range for a 64-bit number"))),
        },
        Raw::Fraction(text) => match text.replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Number(format!("{number:?}")),
            _ => return Err(place.error(format!("`{text}` is not a number that Kubernetes accepts"))),
        },
        Raw::Flag(value) => Value::Flag(value),
        Raw::Time(time) => return Err(place.error(format!("{time} is a date or time; write it as a string"))),
        Raw::List(items) => {
            let item = |(span, raw)| {
                let place = Place::new(source, span);
                value(source, &place, raw).map(|value| Located { value, place })
            };
            Value::List(items.into_iter().map(item).collect::<Result<_>>()?)
        }
        Raw::Table(keys) => Value::Table(table(source, keys.into_iter())?),
    })
}
