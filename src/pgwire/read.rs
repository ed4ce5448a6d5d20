//! Reads a server's messages out of one buffer, cut wherever the network cut them.

use crate::error::Excess;
use crate::pgwire::bounds::Bounds;
use crate::pgwire::message::Message;
use crate::pgwire::ROW_MAX;

/// The most bytes of a TLS record.
const BUFFER: usize = 16 << 10;
/// The first buffer of a session in use: room for most answers to short statements.
const FIRST: usize = 4 << 10;
/// The least room for the next read.
const ROOM: usize = 4 << 10;
/// The type of a message, and the length of what follows with its own four bytes.
const HEADER: usize = 5;

/// The buffer, and the position in it. It has no `Debug`: rows are secrets.
#[derive(Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// Everything before this was passed on.
    start: usize,
    /// Everything after this was not read yet.
    end: usize,
    at: ReadState,
}

/// What lies in the buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Messages that end an answer.
    pub ready: usize,
    /// One of the messages is an error.
    pub failed: bool,
    /// All messages.
    pub messages: usize,
    /// Their bytes, and those of a part of one more.
    pub bytes: usize,
}

/// What the next byte is part of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ReadState {
    /// A header.
    #[default]
    Header,
    /// The body of a message of this kind and size, which is passed on as a whole.
    Body(u8, usize),
    /// The data of a COPY, of which so many bytes are still expected.
    Data(usize),
    /// A row that is too long: its size, and the bytes still expected.
    Long(usize, usize),
}

impl Reader {
    /// Where the next bytes go.
    #[inline]
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            if self.end == self.bytes.len() && (1..BUFFER).contains(&self.end) {
                // More than it holds arrives at once.
                self.bytes = vec![0; BUFFER];
            }
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() - self.end < ROOM {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() - self.end < ROOM {
            // Grows by what has arrived, not by what a length claims.
            let least = if self.bytes.is_empty() { FIRST } else { BUFFER };
            let mut size = (2 * self.bytes.len()).max(least);
            if let ReadState::Body(_, body) = self.at {
                size = size.min(body.max(self.end) + ROOM).max(least);
            }
            self.bytes.resize(size, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Records that so many bytes were read into `room`.
    #[inline]
    pub fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.bytes.len());
    }

    /// True if a message is ready, or a part of one that is passed on in parts. Checks each
    /// header once.
    ///
    /// # Errors
    /// A limit was exceeded; the stream must be aborted.
    #[inline]
    pub fn is_ready(&mut self, bounds: &mut Bounds) -> Result<bool, Excess> {
        loop {
            match self.at {
                ReadState::Header => {
                    let Some([kind, length @ ..]) = self.unread().first_chunk::<HEADER>().copied()
                    else {
                        return Ok(false);
                    };
                    let length = u32::from_be_bytes(length) as usize;
                    let size = length.checked_sub(4).ok_or(Excess::Length(length))?;
                    bounds.message(kind, size)?;
                    self.start += HEADER;
                    self.at = match kind {
                        b'd' => ReadState::Data(size),
                        b'D' if size > ROW_MAX => ReadState::Long(size, size),
                        _ => ReadState::Body(kind, size),
                    };
                }
                ReadState::Body(_, size) => return Ok(self.unread().len() >= size),
                // An empty part would count as data.
                ReadState::Data(0) => self.at = ReadState::Header,
                ReadState::Data(_) => return Ok(self.start < self.end),
                ReadState::Long(_, 0) => return Ok(true),
                ReadState::Long(size, left) => {
                    let dropped = left.min(self.unread().len());
                    if dropped == 0 {
                        return Ok(false);
                    }
                    self.start += dropped;
                    self.at = ReadState::Long(size, left - dropped);
                }
            }
        }
    }

    /// The type of the message that is ready.
    #[inline]
    pub fn kind(&self) -> u8 {
        match self.at {
            ReadState::Header => 0,
            ReadState::Body(kind, _) => kind,
            ReadState::Data(_) => b'd',
            ReadState::Long(..) => b'D',
        }
    }

    /// The type and the body of the message that is ready, unless it is passed on in parts.
    pub fn whole(&self) -> (u8, &[u8]) {
        match self.at {
            ReadState::Body(kind, size) => (kind, self.unread().get(..size).unwrap_or_default()),
            ReadState::Header | ReadState::Data(_) | ReadState::Long(..) => (self.kind(), &[]),
        }
    }

    /// Takes the message that is ready.
    ///
    /// # Errors
    /// It is malformed or of an unknown type.
    #[inline]
    pub fn take(&mut self) -> Result<Message<'_>, Excess> {
        match self.at {
            ReadState::Header => Err(Excess::Garbage(0)),
            ReadState::Body(kind, size) => {
                self.at = ReadState::Header;
                let start = self.start;
                self.start += size;
                let body = self.bytes.get(start..self.start).ok_or(Excess::Garbage(kind))?;
                Message::read(kind, body).map_err(|_| Excess::Garbage(kind))
            }
            ReadState::Data(left) => {
                let part = left.min(self.end - self.start);
                let start = self.start;
                self.start += part;
                self.at =
                    if part == left { ReadState::Header } else { ReadState::Data(left - part) };
                Ok(Message::Data(&self.bytes[start..self.start]))
            }
            ReadState::Long(size, _) => {
                self.at = ReadState::Header;
                Ok(Message::LongRow(size))
            }
        }
    }

    /// The type and size of an unfinished message, and how much of it has arrived.
    #[inline]
    pub fn unfinished(&self) -> Option<(u8, usize, usize)> {
        match self.at {
            ReadState::Body(kind, size) => Some((kind, size, self.unread().len())),
            ReadState::Header | ReadState::Data(_) | ReadState::Long(..) => None,
        }
    }

    /// What lies whole in the buffer behind the messages that were taken: how many
    /// ReadyForQuery, and whether there is an error. Between messages only; takes nothing.
    pub fn outlook(&self) -> Outlook {
        let mut outlook = Outlook::default();
        let mut left = self.unread();
        outlook.bytes = left.len();
        if self.at != ReadState::Header {
            return outlook;
        }
        while let Some([kind, length @ ..]) = left.first_chunk::<HEADER>().copied() {
            let length = u32::from_be_bytes(length) as usize;
            let Some(rest) = length.checked_add(1).and_then(|whole| left.get(whole..)) else {
                break;
            };
            outlook.messages += 1;
            outlook.ready += usize::from(kind == b'Z');
            outlook.failed |= kind == b'E';
            left = rest;
        }
        outlook
    }

    /// True if everything that arrived was taken.
    pub fn is_empty(&self) -> bool {
        self.start == self.end && self.at == ReadState::Header
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Releases memory that a long message needed. Between messages only.
    #[inline]
    pub fn shrink(&mut self) {
        if self.bytes.len() > BUFFER && self.unread().len() <= BUFFER {
            let mut bytes = vec![0; BUFFER];
            let unread = self.unread();
            let left = unread.len();
            bytes[..left].copy_from_slice(unread);
            (self.bytes, self.start, self.end) = (bytes, 0, left);
        }
    }

    /// Releases all memory, if it is empty.
    pub fn rest(&mut self) {
        if self.is_empty() {
            *self = Reader::default();
        }
    }

    #[inline]
    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

#[cfg(test)]
mod tests;
