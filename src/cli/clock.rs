//! The clock.

use crate::common::error::{Class, Error, Result};
use crate::storage::store::inventory::Moment;

/// The time in seconds since 1970, for the validity of certificates.
#[expect(clippy::disallowed_methods, reason = "the cli has the clock; only certificates, which are the owner's alone, depend on it")]
pub(super) fn now() -> Result<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .ok_or_else(|| Error::new(Class::User, "this host's clock is set before 1970"))
}

/// The time in seconds since 1970, for marking used store entries. It never reaches an image.
#[expect(clippy::disallowed_methods, reason = "the garbage collection goes by the age of things, and the cli is where the clock is read")]
pub(super) fn moment() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Moment::try_from(since.as_secs()).unwrap_or(Moment::MAX)
}
