//! Types of values of flags and keys.

use crate::common::document::{Located, Value};

/// Types of values, as the facts name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Float,
    Text,
    /// In Go's notation: `90s`, `1h30m`.
    Duration,
    /// An [amount](https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/): `500Mi`.
    Quantity,
    /// Flags only.
    List,
    /// Flags only.
    Map,
    Any,
}

impl Kind {
    pub(super) fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "bool" => Kind::Bool,
            "int" => Kind::Int,
            "float" => Kind::Float,
            "string" => Kind::Text,
            "duration" => Kind::Duration,
            "quantity" => Kind::Quantity,
            "list" => Kind::List,
            "map" => Kind::Map,
            "any" => Kind::Any,
            _ => return None,
        })
    }

    /// For "must be …".
    fn expected(self) -> &'static str {
        match self {
            Kind::Bool => "true or false",
            Kind::Int => "a whole number",
            Kind::Float => "a number",
            Kind::Text => "a string",
            Kind::Duration => "a duration such as \"90s\" or \"1h30m\"",
            Kind::Quantity => "an amount such as \"500Mi\"",
            Kind::List => "an array of strings or numbers",
            Kind::Map => "a table",
            Kind::Any => "anything",
        }
    }
}

/// Checks a key's value against its type. The error is the end of "must be …".
pub(super) fn of_key(kind: Kind, value: &Value) -> Result<(), String> {
    let good = match (kind, value) {
        (Kind::Any, _) | (Kind::Bool, Value::Flag(_)) | (Kind::Float, Value::Number(_)) | (Kind::Text, Value::Text(_)) => true,
        (Kind::Int, Value::Number(number)) => is_whole(number),
        (Kind::Duration, Value::Text(text)) => is_duration(text),
        (Kind::Quantity, Value::Text(text) | Value::Number(text)) => is_quantity(text),
        _ => false,
    };
    if good {
        return Ok(());
    }
    Err(match value {
        Value::Text(text) if matches!(kind, Kind::Duration | Kind::Quantity) => {
            format!("{}, not `{}`", kind.expected(), text.escape_debug())
        }
        other => format!("{}, not {}", kind.expected(), other.kind()),
    })
}

/// Checks a flag's value against its type. Lists and maps may be texts, as on a command line.
pub(super) fn of_flag(kind: Kind, value: &Value) -> Result<(), String> {
    let scalars = |mut items: Box<dyn Iterator<Item = &Located<Value>> + '_>| {
        items.all(|item| matches!(item.value, Value::Text(_) | Value::Number(_) | Value::Flag(_)))
    };
    match (kind, value) {
        (Kind::List | Kind::Map, Value::Text(_)) => Ok(()),
        (Kind::List, Value::List(items)) if scalars(Box::new(items.iter())) => Ok(()),
        (Kind::Map, Value::Table(table)) if scalars(Box::new(table.values())) => Ok(()),
        _ => of_key(kind, value),
    }
}

fn is_whole(number: &str) -> bool {
    number.parse::<i64>().is_ok()
}

/// True for a duration that [time.ParseDuration](https://pkg.go.dev/time#ParseDuration) accepts.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, behind) = rest.split_at(number);
        let unit =
            ["ns", "us", "µs", "ms", "s", "m", "h"].into_iter().filter(|unit| behind.starts_with(unit)).max_by_key(|unit| unit.len());
        let Some(unit) = unit else { return false };
        if digits.matches('.').count() > 1 || !digits.contains(|c: char| c.is_ascii_digit()) {
            return false;
        }
        rest = &behind[unit.len()..];
    }
    !text.trim_start_matches(['-', '+']).is_empty()
}

fn is_quantity(text: &str) -> bool {
    let number = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let (digits, unit) = number.split_at(end);
    let exponent = unit.strip_prefix(['e', 'E']).map(|exponent| exponent.strip_prefix(['-', '+']).unwrap_or(exponent));
    let is_exponent = exponent.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()));
    let units = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    digits.contains(|c: char| c.is_ascii_digit()) && digits.matches('.').count() <= 1 && (units.contains(&unit) || is_exponent)
}
