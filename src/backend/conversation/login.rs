//! What comes before the session is ready, for whoever logs in.

use std::io;

use super::receiving::note;
use super::Conversation;
use crate::pgwire::message::Message;

impl Conversation {
    /// The next message of a login, as it came, for whoever logs in.
    ///
    /// # Errors
    /// The stream's, or that more has come than may.
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
