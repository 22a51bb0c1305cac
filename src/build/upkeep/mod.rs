//! Maintenance of a store: roots, verification, repair, and clean rebuilds from the locked inputs.

pub(crate) mod check;
pub(crate) mod derive;
pub(crate) mod findings;
pub(crate) mod repair;
pub(crate) mod roots;
pub(crate) mod verify;
