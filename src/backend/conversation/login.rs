//! The messages of a login, passed to the driver.

use std::io;

use super::receiving::note;
use super::Conversation;
use crate::pgwire::message::Message;

impl Conversation {
    /// Reads the next message of a login, and appends its bytes to `raw`.
    ///
    /// # Errors
    /// The stream's, or a limit was exceeded.
    pub fn next_of_login(&mut self, raw: &mut Vec<u8>) -> io::Result<Message<'_>> {
        while !self.reader.is_ready(&mut self.bounds).map_err(io::Error::other)? {
            match self.stream.read(self.reader.room())? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.reader.filled(read),
            }
        }
        let (kind, body) = self.reader.whole();
        raw.push(kind);
        raw.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
        raw.extend_from_slice(body);
        let message = self.reader.take().map_err(io::Error::other)?;
        self.facts.note(&message);
        match message {
            Message::Setting(setting) => self.bounds.setting(setting).map_err(io::Error::other)?,
            Message::Notice(fields) => note(&self.notices, fields),
            Message::Ready(state) => {
                self.watch.is_ready(state);
                self.bounds.ready();
            }
            _ => {}
        }
        Ok(message)
    }
}
