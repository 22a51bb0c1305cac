//! What a long command says while it works. The library speaks through this trait; `cli` decides how it looks.

/// Listens to a command at work. Called from several threads.
pub trait Report: Sync {
    /// A step begins, or something worth a line happened: "installing 212 packages".
    fn say(&self, line: &str);

    /// Work on `total` units (bytes) begins; ends with [`Report::done`]. One at a time.
    fn begin(&self, what: &str, total: u64);

    /// This much of it is done by now.
    fn reached(&self, units: u64);

    /// The work that began last has ended.
    fn done(&self);
}

/// Says nothing.
pub struct Silent;

impl Report for Silent {
    fn say(&self, _: &str) {}
    fn begin(&self, _: &str, _: u64) {}
    fn reached(&self, _: u64) {}
    fn done(&self) {}
}
