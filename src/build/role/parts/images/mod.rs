//! Import of preloaded container images into the container runtime.

use crate::build::role::{Entry, Facts, Owner, Runtime, text, unit_link};
use crate::common::error::{Error, Result};
use crate::common::value::TreePath;

/// The short name of the container image that holds pods' namespaces.
const SANDBOX: &str = "pause";

/// Units for all runtimes: the kubelet waits for the first one only. Their texts contain `{runtime}`.
const UNITS: [(&str, &str); 2] = [
    ("kbake-images.service", include_str!("kbake-images.service")),
    ("kbake-images-rest.service", include_str!("kbake-images-rest.service")),
];

/// The units, their script and crictl's settings. `engine` is shell text with the functions `digest_of`, `drop` and `bring`.
pub(super) fn entries(runtime: Runtime, engine: &str) -> Vec<Entry> {
    let script = [include_str!("head.sh"), engine, include_str!("tail.sh")].concat();
    let crictl = include_str!("crictl.yaml").replace("{endpoint}", runtime.endpoint());
    let mut entries = vec![
        text("etc/crictl.yaml", crictl.as_bytes()),
        super::program("usr/lib/kbake/images", &script),
        // The folder exists even if a role preloads none.
        Entry::Dir { path: TreePath::fixed("usr/share/kbake/images"), mode: 0o755, owner: Owner::ROOT },
    ];
    for (name, unit) in UNITS {
        let path = format!("etc/systemd/system/{name}");
        entries.push(text(&path, unit.replace("{runtime}", runtime.unit()).as_bytes()));
        entries.push(unit_link(&format!("multi-user.target.wants/{name}"), &format!("/{path}")));
    }
    entries
}

/// The full name of the sandbox image for the configuration of `part`.
///
/// # Errors
/// The role does not preload it.
pub(super) fn sandbox(facts: &Facts, part: &str) -> Result<String> {
    facts.image(SANDBOX).map(ToString::to_string).ok_or_else(|| {
        Error::user(format!("the part `{part}` needs the container image `{SANDBOX}`, and the role does not have it"))
            .hint(format!("add it to `images` of recipes/parts/{part}.toml"))
    })
}
