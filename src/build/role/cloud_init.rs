//! The units of cloud-init, which depend on its version.

use super::{Entry, text, unit_link};

/// The processes in which cloud-init runs its stages at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CloudInit {
    /// One for each stage.
    EachStage,
    /// One, which waits for the unit of each stage, since version 24.3
    /// (<https://docs.cloud-init.io/en/latest/explanation/boot.html>).
    #[default]
    OneProcess,
}

impl CloudInit {
    /// Those of a Debian package's version: `22.4.2-1+deb12u4`. An unknown one counts as current.
    pub(crate) fn of(version: &str) -> Self {
        let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
        let mut numbers = upstream.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) if (major, minor) < (24, 3) => CloudInit::EachStage,
            _ => CloudInit::OneProcess,
        }
    }

    /// The entries for it.
    pub(super) fn entries(self) -> Vec<Entry> {
        match self {
            CloudInit::EachStage => vec![
                text("etc/systemd/system/cloud-init.service", include_bytes!("cloud-init.service")),
                // The stage `config`, a start of Python for no module: 90-kbake.cfg runs its modules in the stage `final`.
                unit_link("cloud-config.service", "/dev/null"),
            ],
            CloudInit::OneProcess => vec![
                text("etc/systemd/system/cloud-init-main.service.d/90-kbake.conf", include_bytes!("cloud-init-main.conf")),
                text("etc/systemd/system/cloud-init-network.service", include_bytes!("cloud-init-network.service")),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_since_24_3_run_in_one_process() {
        let found = ["22.4.2-1+deb12u4", "24.2-1", "24.3~1", "25.1.4-1+deb13u1", "1:24.1-1", "mine"].map(CloudInit::of);
        let (each, one) = (CloudInit::EachStage, CloudInit::OneProcess);
        assert_eq!(found, [each, each, one, one, each, one]);
    }
}
