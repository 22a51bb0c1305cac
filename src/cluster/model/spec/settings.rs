//! `[kubernetes]` in the cluster file: settings of Kubernetes' programs.

use super::super::settings::{Component, Settings};
use super::value;
use crate::common::document::{Section, Table};
use crate::common::error::Result;

pub(super) fn read(section: Option<Section>) -> Result<Settings> {
    let Some(mut section) = section else { return Ok(Settings::default()) };
    section.only(&["preset", "kubelet", "api-server", "controller-manager", "scheduler", "proxy", "etcd"])?;
    let mut settings = Settings { preset: value(section.optional("preset")?), ..Settings::default() };
    for component in Component::ALL {
        let table = table(section.section(component.as_str())?)?;
        refuse_invalid_names(component, &table)?;
        if !table.is_empty() {
            settings.given.insert(component, table);
        }
    }
    Ok(settings)
}

/// A node's own settings of the kubelet.
pub(super) fn of_node(section: Option<Section>) -> Result<Table> {
    let table = table(section)?;
    refuse_invalid_names(Component::Kubelet, &table)?;
    Ok(table)
}

/// Refuses names that no flag or key has, in any version: Kubernetes accepts some flags with `_`, too, and two spellings of one
/// flag would be two flags here.
fn refuse_invalid_names(component: Component, table: &Table) -> Result<()> {
    for (name, setting) in table {
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let rest = |c: u8| {
            if component.has_flags() { c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' } else { c.is_ascii_alphanumeric() }
        };
        if !starts || !name.bytes().all(rest) {
            let error = setting.place.error(format!("`{}` is not a setting of {}", name.escape_debug(), component.program()));
            return Err(match component.has_flags() {
                true => error.hint("flags are written without the dashes in front, as in `feature-gates`"),
                false => error.hint("keys are those of its configuration file, as in `featureGates`"),
            });
        }
    }
    Ok(())
}

/// The keys of a table, if there is one.
fn table(section: Option<Section>) -> Result<Table> {
    section.map_or_else(|| Ok(Table::new()), Section::table)
}
