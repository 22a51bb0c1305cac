//! Whole commands under faults of the disk and of processes.

mod faults;
