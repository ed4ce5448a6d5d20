//! Sending. PostgreSQL may stop reading until its answers are read.

use std::io;

use super::{Conversation, Gone};
use crate::error::Excess;

/// Most bytes of answers that are buffered while PostgreSQL does not read: it may be
/// waiting for its answers to be read. No call that is sent in one write has useful answers
/// of that size.
const AHEAD: usize = 16 << 20;

/// Most reads for the error that PostgreSQL sent before it stopped reading.
const GASPS: usize = 16;

impl Conversation {
    /// Sends the content of `out`. While PostgreSQL does not read, its answers are read, so
    /// that the two sides never wait for each other.
    ///
    /// # Errors
    /// The stream is gone. An error that PostgreSQL sent before is in the facts.
    pub fn send(&mut self) -> Result<(), Gone> {
        let out = std::mem::take(&mut self.out);
        let sent = self.write(out.bytes());
        self.out = out;
        self.out.clear();
        sent.map_err(|_| {
            self.last_gasp();
            self.break_off()
        })
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.read_ahead()? {
                        self.stream.socket().poll(true, None, None)?;
                    }
                    self.hold_ahead().map_err(|Gone| io::ErrorKind::ConnectionAborted)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Handles what arrived during a write: notices and the like are recorded, answers are
    /// counted.
    fn hold_ahead(&mut self) -> Result<(), Gone> {
        self.arrived()?;
        let size = self.reader.capacity();
        let held = match size > AHEAD {
            true => Err(Excess::Ahead(AHEAD)),
            false => self.bounds.hold(size),
        };
        held.map_err(|excess| self.refuse(excess))
    }

    /// PostgreSQL no longer reads, but may have sent the reason, which is short.
    fn last_gasp(&mut self) {
        for _ in 0..GASPS {
            if !matches!(self.read_ahead(), Ok(true)) {
                return;
            }
            while let Ok(true) = self.reader.is_ready(&mut self.bounds) {
                let Ok(message) = self.reader.take() else { return };
                self.facts.note(&message);
            }
        }
    }
}
