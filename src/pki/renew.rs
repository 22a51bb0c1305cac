//! Certificates anew, with new keys.

use std::collections::BTreeSet;

use super::issue;
use super::key::Key;
use super::survey::{self, ACCOUNTS, ENCRYPTION};
use super::wanted::{Authority, Name, Wanted};
use super::{Inventory, Pki, init};
use crate::document::nearest;
use crate::error::{Error, Result};

/// What [`Pki::renew`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewed {
    /// The renewed certificates, by name.
    pub names: Vec<String>,
    /// What else a person should know: whole sentences.
    pub notes: Vec<String>,
}

impl Pki {
    /// Makes these certificates anew, with new keys: names as `control0/apiserver`, or a node's name for all of its; all
    /// certificates when none is named. A renewal that is interrupted leaves each pair old or new, and the next
    /// [`Pki::init`] or renewal finishes what was begun.
    ///
    /// # Errors
    /// When a name is not known, names an authority or a key that must not change, or when an authority cannot sign.
    pub fn renew(&self, names: &[&str], now: i64) -> Result<Renewed> {
        let Pki { folder, inventory } = self;
        let chosen = choose(inventory, names)?;
        let _lock = self.begin()?;
        for wanted in &inventory.wanted {
            folder.finish_renewal(&folder.stem(&wanted.name))?;
        }
        let survey = survey::survey(folder, inventory, now)?;
        let mut signers = Vec::with_capacity(chosen.len());
        for wanted in &chosen {
            signers.push(survey.signer(wanted.issuer).ok_or_else(|| init::cannot_sign(&survey, wanted.issuer))?);
        }
        let (mut renewed, days) = (Renewed::default(), inventory.validity.certificates);
        let meant = now.saturating_add(i64::from(days) * issue::DAY);
        let mut clamped = BTreeSet::new();
        for (wanted, signer) in chosen.iter().zip(signers) {
            let key = Key::generate()?;
            let certificate = issue::leaf(wanted, &key, signer, days, now)?;
            folder.replace_pair(&folder.stem(&wanted.name), &certificate, &key)?;
            renewed.names.push(wanted.name.to_string());
            if certificate.not_after < meant {
                clamped.insert((wanted.issuer, certificate.not_after));
            }
        }
        renewed.notes.extend(clamped.into_iter().map(|(authority, ends)| init::clamped(authority, ends)));
        Ok(renewed)
    }
}

/// The certificates that the names mean, in the table's order.
fn choose<'a>(inventory: &'a Inventory, names: &[&str]) -> Result<Vec<&'a Wanted>> {
    let wanted = &inventory.wanted;
    if names.is_empty() {
        return Ok(wanted.iter().collect());
    }
    for name in names {
        let known = wanted.iter().any(|wanted| means(name, &wanted.name));
        if !known {
            return Err(unknown(inventory, name));
        }
    }
    Ok(wanted.iter().filter(|wanted| names.iter().any(|name| means(name, &wanted.name))).collect())
}

fn means(text: &str, name: &Name) -> bool {
    name.to_string() == text || matches!(name, Name::Node(node, _) if node.as_str() == text)
}

fn unknown(inventory: &Inventory, name: &str) -> Error {
    let wanted = &inventory.wanted;
    if let Some(authority) = Authority::ALL.into_iter().find(|authority| authority.name() == name) {
        let name = authority.name();
        return Error::user(format!("`{name}` is an authority, and is not renewed in place"))
            .detail("with a new authority every certificate of its is void at once: all nodes need new seeds at the same time")
            .detail("nodes with old and new certificates do not talk to each other, so the cluster stands still meanwhile")
            .hint("to begin anew: move the cluster's folder away, `kbake pki init`, and make all seeds again")
            .hint(format!("to take an authority of your own: move the folder away, `kbake pki import {name}`, then `kbake pki init`"));
    }
    if name == ACCOUNTS {
        return Error::user("`sa` is not renewed: no service account's token would be valid any more")
            .hint("to begin anew: move the cluster's folder away, `kbake pki init`, and make all seeds again");
    }
    if name == ENCRYPTION {
        return Error::user("`encryption` is not renewed: the secrets in etcd could not be read any more")
            .hint("a key is changed in a running cluster: https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/");
    }
    if inventory.hosts.iter().any(|host| survey::host_name(host) == name) {
        return Error::user(format!("`{name}` is a node's SSH host key, and is not renewed: every client would take the node for another"))
            .hint("to make a new one: remove the node's ssh_host_ed25519_key, `kbake pki init`, and `kbake seed` for the node");
    }
    let mut known: Vec<String> = wanted.iter().map(|wanted| wanted.name.to_string()).collect();
    known.extend(wanted.iter().filter_map(|wanted| if let Name::Node(node, _) = &wanted.name { Some(node.to_string()) } else { None }));
    let error = Error::user(format!("the cluster has no certificate `{}`", name.escape_debug()));
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`kbake pki show` lists all names"),
    }
}
