//! What all asking needs: a client, the credentials, and an ear for the cancel request.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};

use reqwest::blocking::Client;

use super::client::{self, Ask, Message};
use super::credential::proxy_with_login;
use super::credential::{Credential, Wallet};
use super::pace::LOOK;
use super::source::{Lane, Target};
use super::{Options, lock};
use crate::error::{Error, Result};
use crate::value::{Cancel, Proxies};

/// Shared by all threads of a command.
pub(super) struct Web<'a> {
    pub options: &'a Options,
    pub cancel: &'a Cancel,
    pub wallet: Wallet,
    ways: [Reach; 2],
}

/// How the servers of a lane are reached.
struct Reach {
    proxies: Proxies,
    /// Made when it is needed, and by one thread: it reads all certificates of the host.
    client: Mutex<Option<Client>>,
}

impl<'a> Web<'a> {
    pub fn new(options: &'a Options, cancel: &'a Cancel) -> Web<'a> {
        let of_apt = options.apt.known().map_or_else(|| options.proxies.clone(), |apt| apt.proxies.clone());
        let of_apt = of_apt.map(|proxy| proxy_with_login(proxy, options));
        let ways = [options.proxies.clone(), of_apt].map(|proxies| Reach { proxies, client: Mutex::default() });
        Web { options, cancel, wallet: Wallet::default(), ways }
    }

    /// Sends a request. Its answer comes as messages.
    pub fn ask(&self, mut ask: Ask) -> Result<Transfer<'_>> {
        let Reach { proxies, client } = &self.ways[ask.lane as usize];
        ask.proxy = client::proxy(proxies, &ask.url)?;
        let mut held = lock(client);
        let made = match &*held {
            Some(made) => made.clone(),
            None => {
                let apt = self.options.apt.known().filter(|_| ask.lane == Lane::Apt);
                held.insert(client::build(self.options, proxies, apt)?).clone()
            }
        };
        drop(held);
        Ok(Transfer { messages: client::start(&made, ask)?, cancel: self.cancel })
    }

    /// A request for all of what is at `target`, with what is shown to it.
    pub fn request(&self, target: &Target) -> Ask {
        let (accept, credential, lane) = (target.accept, self.credential(target), target.lane);
        Ask { accept, credential, lane, ..Ask::get(target.url.clone()) }
    }

    /// The credential for `target`: its login; for a registry, the one that an earlier answer of it asked for.
    fn credential(&self, target: &Target) -> Option<Arc<Credential>> {
        let Some(scope) = &target.scope else { return target.login.clone() };
        let pocket = self.wallet.pocket(scope);
        let held = lock(&pocket);
        held.clone()
    }
}

/// An answer on its way.
pub(super) struct Transfer<'a> {
    messages: Receiver<Message>,
    cancel: &'a Cancel,
}

impl Transfer<'_> {
    /// The next message, or the cancel request.
    pub fn next(&self) -> Result<Message> {
        loop {
            self.cancel.check()?;
            match self.messages.recv_timeout(LOOK) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::internal("a transfer's thread has died")),
            }
        }
    }
}
