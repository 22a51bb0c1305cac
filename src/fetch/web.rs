//! What all asking needs: a client, the credentials, and an ear for the cancel request.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use reqwest::blocking::Client;

use super::client::{self, Ask, Message};
use super::credential::{Credential, Wallet};
use super::pace::LOOK;
use super::source::Target;
use super::{Options, lock};
use crate::error::{Error, Result};
use crate::value::Cancel;

/// Shared by all threads of a command.
pub(super) struct Web<'a> {
    pub options: &'a Options,
    pub cancel: &'a Cancel,
    pub wallet: Wallet,
    client: Client,
}

impl<'a> Web<'a> {
    pub fn new(options: &'a Options, cancel: &'a Cancel) -> Result<Web<'a>> {
        Ok(Web { options, cancel, wallet: Wallet::default(), client: client::build(options)? })
    }

    /// Sends a request. Its answer comes as messages.
    pub fn ask(&self, ask: Ask) -> Result<Transfer<'_>> {
        Ok(Transfer { messages: client::start(&self.client, ask)?, cancel: self.cancel })
    }

    /// What we show to `target`, from an earlier answer of its.
    pub fn credential(&self, target: &Target) -> Option<Arc<Credential>> {
        let pocket = self.wallet.pocket(target.scope.as_ref()?);
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
