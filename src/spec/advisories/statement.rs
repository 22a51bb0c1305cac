//! A statement on a vulnerability, in the words of [OpenVEX](https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A statement on one vulnerability in some products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// An id of the vulnerability.
    pub vulnerability: String,
    /// The products, by their names in reports.
    pub products: BTreeSet<String>,
    /// The verdict.
    pub status: Word,
    /// The justification of `not_affected`.
    pub justification: Option<Justification>,
    /// The reason, for people.
    pub reason: Option<String>,
}

/// Defines an enum of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal: $($variant:ident $word:literal $meaning:literal),* $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $(#[doc = $meaning] $variant,)*
        }

        impl $name {
            /// The word.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($name::$variant),)*
                    _ => Err(format!(concat!("`{}` is not ", $what, ": expected {}"), text.escape_debug(), [$($word),*].join(", "))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The verdict of a statement (OpenVEX, "Status Labels").
    Word, "a status":
    NotAffected "not_affected" "Nothing has to be done.",
    Fixed "fixed" "The product has the fix, though its version does not show it.",
    UnderInvestigation "under_investigation" "It is not known yet.",
    Affected "affected" "It is affected.",
}

words! {
    /// The justification of a product that is not affected (OpenVEX, "Status Justifications").
    Justification, "a justification":
    NoComponent "component_not_present" "The product does not have the component.",
    NoCode "vulnerable_code_not_present" "The component does not have the code.",
    NotRun "vulnerable_code_not_in_execute_path" "The code is never run.",
    NotControlled "vulnerable_code_cannot_be_controlled_by_adversary" "An attacker cannot control the code.",
    Mitigated "inline_mitigations_already_exist" "Something else prevents the exploit.",
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let products: Vec<&str> = self.products.iter().map(String::as_str).collect();
        write!(f, "{} in {}", self.vulnerability, products.join(", "))
    }
}
