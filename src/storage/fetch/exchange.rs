//! One request, and its whole answer in memory.

use super::message::{Ask, Broken, BrokenKind, Message};
use super::pace::Pace;
use super::response::Head;
use super::web::Web;
use crate::common::error::Result;
use crate::common::value::Size;

/// The result of one request.
pub(super) enum Reply {
    /// A response; a refusal has no body.
    Answer(Head, Vec<u8>),
    /// The body exceeds the limit.
    TooMuch,
    Broken(Broken),
}

/// Sends one request and collects its response, up to `max` bytes.
pub(super) fn send(web: &Web<'_>, ask: Ask, max: u64, has_choice: bool) -> Result<Reply> {
    let transfer = web.ask(ask)?;
    let mut pace = Pace::of(web.options, has_choice);
    let (mut head, mut body) = (Head::default(), Vec::new());
    loop {
        match transfer.next()? {
            Message::Head(found) if (200..300).contains(&found.status) => head = found,
            Message::Head(found) => return Ok(Reply::Answer(found, Vec::new())),
            Message::Data(bytes) if (body.len() + bytes.len()) as u64 > max => return Ok(Reply::TooMuch),
            Message::Data(bytes) if !pace.keeps(bytes.len() as u64) => {
                let reason = format!("is too slow: {} after a long while", Size((body.len() + bytes.len()) as u64));
                return Ok(Reply::Broken(Broken { reason, kind: BrokenKind::Cut }));
            }
            Message::Data(bytes) => body.extend(bytes),
            Message::End => return Ok(Reply::Answer(head, body)),
            Message::Failed(broken) => return Ok(Reply::Broken(broken)),
        }
    }
}
