//! Maintenance of a store: roots, verification, repair, and clean rebuilds from the locked inputs.

pub mod check;
pub mod derive;
pub mod findings;
pub mod repair;
pub mod roots;
pub mod verify;
