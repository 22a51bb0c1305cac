//! Add-ons: objects that a unit on the first control-plane node applies to the API once it answers.
//!
//! An add-on consists of objects that the cluster gets once and for all, in `/usr/share/kbake/addons/NAME/once/`, of its
//! publisher's release, `/usr/share/kbake/addons/NAME.yaml`, and of kbake's manifests,
//! `/usr/share/kbake/addons/NAME/NAME.yaml`, with placeholders `@KEY@` for values of the cluster. The unit fills in those of
//! the add-ons that the node's seed names, and no others: a cluster without a pool of addresses has no value for one.

mod coredns;
mod metallb;
mod nfs;
mod rbac;

use serde_json::Value;

use crate::build::role::{Entry, Facts, text, unit_link};
use crate::common::error::Result;

use super::manifest::documents;

/// The part's files.
pub(crate) fn entries(facts: &Facts) -> Result<Vec<Entry>> {
    let mut entries = vec![
        super::program("usr/lib/kbake/addons", include_str!("addons.sh")),
        text("etc/systemd/system/kbake-addons.service", include_bytes!("kbake-addons.service")),
        unit_link("multi-user.target.wants/kbake-addons.service", "/etc/systemd/system/kbake-addons.service"),
    ];
    entries.extend(rbac()?);
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

/// The add-on that gives the certificate `admin` its rights, and the API server access to pods' logs.
pub(super) fn rbac() -> Result<[Entry; 2]> {
    Ok([addon("rbac", rbac::ABOUT, &rbac::objects()?)?, manifest("rbac/once/cluster-admins", rbac::ABOUT_ADMINS, &rbac::admins()?)?])
}

fn addon(name: &str, about: &str, objects: &[Value]) -> Result<Entry> {
    manifest(&format!("{name}/{name}"), about, objects)
}

fn manifest(name: &str, about: &str, objects: &[Value]) -> Result<Entry> {
    Ok(text(&format!("usr/share/kbake/addons/{name}.yaml"), documents(about, objects)?.as_bytes()))
}

#[cfg(test)]
mod tests;
