//! The cluster file, attacked.

mod spec;
mod values;
