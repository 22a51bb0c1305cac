//! Renewal of certificates, with new keys.

use std::collections::BTreeSet;

use super::contents::{self, ACCOUNTS, ENCRYPTION};
use super::issue;
use super::key::Key;
use super::wanted::{Authority, Name, Wanted};
use super::{Inventory, Pki, init};
use crate::common::document::nearest;
use crate::common::error::{Error, Result};

/// The outcome of [`Pki::renew`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewed {
    /// The renewed certificates, by name.
    pub names: Vec<String>,
    /// Further notes for the user: whole sentences.
    pub notes: Vec<String>,
}

impl Pki {
    /// Renews certificates, with new keys. Names are `control0/apiserver`, or a node's name for all of its certificates;
    /// without names all are renewed. An interrupted renewal leaves each pair old or new, and the next [`Pki::init`] or renewal
    /// finishes it.
    ///
    /// # Errors
    /// A name is unknown, or is that of an authority or a key that must not change; or an authority cannot sign.
    pub fn renew(&self, names: &[&str], now: i64) -> Result<Renewed> {
        let Pki { folder, inventory } = self;
        let chosen = choose(inventory, names)?;
        let _lock = self.begin()?;
        for wanted in &inventory.wanted {
            folder.finish_renewal(&folder.stem(&wanted.name))?;
        }
        let contents = contents::read(folder, inventory, now)?;
        let mut signers = Vec::with_capacity(chosen.len());
        for wanted in &chosen {
            signers.push(contents.signer(wanted.issuer).ok_or_else(|| init::cannot_sign(&contents, wanted.issuer))?);
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

/// The certificates that the names select, in the inventory's order.
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
            .detail("replacing an authority invalidates every certificate it signed: all nodes need new seeds at the same time")
            .detail("nodes with old and new certificates refuse each other, so the cluster stops until all have new ones")
            .hint("to start over: move the cluster's folder away, `kbake pki init`, and make all seeds again")
            .hint(format!(
                "to take an authority of your own: move the folder away, `kbake pki import {name} CERTIFICATE KEY`, then `kbake pki init`"
            ));
    }
    if name == ACCOUNTS {
        return Error::user("`sa` is not renewed: all service account tokens would become invalid")
            .hint("to start over: move the cluster's folder away, `kbake pki init`, and make all seeds again");
    }
    if name == ENCRYPTION {
        return Error::user("`encryption` is not renewed: the secrets in etcd would become unreadable")
            .hint("to rotate the key in a running cluster: https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/");
    }
    if inventory.hosts.iter().any(|host| contents::host_name(host) == name) {
        return Error::user(format!("`{name}` is a node's SSH host key, and is not renewed: every client would reject the node"))
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
