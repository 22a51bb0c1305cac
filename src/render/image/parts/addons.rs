//! What is applied to the API once it answers, by a unit on the first control-plane node.
//!
//! An add-on is a folder of manifests: templates with the cluster's values, and what its publisher releases
//! (`/usr/share/kbake/addons`). Which ones a cluster has, its seed says.

mod coredns;
mod metallb;
mod nfs;
mod rbac;

use serde_json::Value;

use crate::error::Result;
use crate::render::image::{Entry, Facts, Owner, text, unit_link};
use crate::value::TreePath;

use super::manifest::{Group, template};

/// The part's files.
pub fn entries(facts: &Facts) -> Result<Vec<Entry>> {
    let script = include_bytes!("addons/addons.sh").to_vec();
    let mut entries = vec![
        Entry::File { path: TreePath::fixed("usr/lib/kbake/addons"), mode: 0o755, owner: Owner::ROOT, bytes: script },
        text("etc/systemd/system/kbake-addons.service", include_bytes!("addons/kbake-addons.service")),
        unit_link("multi-user.target.wants/kbake-addons.service", "/etc/systemd/system/kbake-addons.service"),
        addon("rbac", rbac::ABOUT, &rbac::objects()?)?,
    ];
    if let Some(image) = facts.image("coredns") {
        entries.push(addon("coredns", coredns::ABOUT, &coredns::objects(&image.to_string())?)?);
    }
    if facts.image("metallb-controller").is_some() && facts.image("metallb-speaker").is_some() {
        entries.push(addon("metallb", metallb::ABOUT, &metallb::objects()?)?);
    }
    if let Some(image) = facts.image("nfs-provisioner") {
        entries.push(addon("nfs", nfs::ABOUT, &nfs::objects(&image.to_string())?)?);
    }
    Ok(entries)
}

fn addon(name: &str, about: &str, objects: &[Value]) -> Result<Entry> {
    template(Group::Addons, &format!("etc/kubernetes/addons/{name}/{name}.yaml"), about, objects)
}

#[cfg(test)]
mod tests;
