//! The verbs as a whole, under everything that can happen to a disk and to a process.

mod faults;
