//! The context of all requests of a command: clients, credentials, and the cancellation flag.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};

use reqwest::blocking::Client;

use super::client;
use super::credential::proxy_with_login;
use super::credential::{Credential, CredentialCache};
use super::message::{Ask, Message};
use super::pace::LOOK;
use super::target::{Route, Target};
use super::{Options, lock};
use crate::common::error::{Error, Result};
use crate::common::value::{Cancel, Proxies};

/// The request context, shared by all threads of a command.
pub(super) struct Web<'a> {
    pub options: &'a Options,
    pub cancel: &'a Cancel,
    pub credentials: CredentialCache,
    routes: [RouteClient; 2],
}

/// The client of one route.
struct RouteClient {
    proxies: Proxies,
    /// Created on first use, and only once: it reads all CA certificates of the host.
    client: Mutex<Option<Client>>,
}

impl<'a> Web<'a> {
    pub(super) fn new(options: &'a Options, cancel: &'a Cancel) -> Web<'a> {
        let of_apt = options.apt.known().map_or_else(|| options.proxies.clone(), |apt| apt.proxies.clone());
        let of_apt = of_apt.map(|proxy| proxy_with_login(proxy, options));
        let routes = [options.proxies.clone(), of_apt].map(|proxies| RouteClient { proxies, client: Mutex::default() });
        Web { options, cancel, credentials: CredentialCache::default(), routes }
    }

    /// Sends a request. The response arrives as messages.
    pub(super) fn ask(&self, mut ask: Ask) -> Result<Transfer<'_>> {
        let RouteClient { proxies, client } = &self.routes[ask.route as usize];
        ask.proxy = client::proxy(proxies, &ask.url)?;
        let mut held = lock(client);
        let made = match &*held {
            Some(made) => made.clone(),
            None => {
                let apt = self.options.apt.known().filter(|_| ask.route == Route::Apt);
                held.insert(client::build(self.options, proxies, apt)?).clone()
            }
        };
        drop(held);
        Ok(Transfer { messages: client::start(&made, ask)?, cancel: self.cancel })
    }

    /// A request for the whole resource at `target`, with its credential.
    pub(super) fn request(&self, target: &Target) -> Ask {
        let (accept, credential, route) = (target.accept, self.credential(target), target.route);
        Ask { accept, credential, route, ..Ask::get(target.url.clone()) }
    }

    /// The credential for `target`: its login, or for a registry the cached one.
    fn credential(&self, target: &Target) -> Option<Arc<Credential>> {
        let Some(scope) = &target.scope else { return target.login.clone() };
        let entry = self.credentials.entry(scope);
        let held = lock(&entry);
        held.clone()
    }
}

/// A response in transit.
pub(super) struct Transfer<'a> {
    messages: Receiver<Message>,
    cancel: &'a Cancel,
}

impl Transfer<'_> {
    /// The next message. Fails on cancellation.
    pub(super) fn next(&self) -> Result<Message> {
        loop {
            self.cancel.check()?;
            match self.messages.recv_timeout(LOOK) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::internal("a transfer thread died")),
            }
        }
    }
}
