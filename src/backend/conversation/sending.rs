//! What goes out. PostgreSQL may take nothing until its answers are read.

use std::io;

use super::{Conversation, Gone};
use crate::error::Excess;

/// While PostgreSQL takes nothing, so much of its answers is read ahead: it may be waiting
/// for that before it takes more. No call that is sent in one write has answers of so many
/// bytes that are of any use.
const AHEAD: usize = 16 << 20;

/// So many reads are for what PostgreSQL has said before it took nothing more.
const GASPS: usize = 16;

impl Conversation {
    /// Sends what is in `out`. While PostgreSQL takes nothing, its answers are read, so
    /// that both sides never wait for each other.
    ///
    /// # Errors
    /// The stream is gone; what PostgreSQL said before that is in the facts.
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

    /// What has come while something goes out: what nobody waits for is taken note of, and
    /// the rest counts.
    fn hold_ahead(&mut self) -> Result<(), Gone> {
        self.arrived()?;
        let size = self.reader.capacity();
        let held = match size > AHEAD {
            true => Err(Excess::Ahead(AHEAD)),
            false => self.bounds.hold(size),
        };
        held.map_err(|excess| self.refuse(excess))
    }

    /// PostgreSQL takes nothing more, but may have said why. That is short.
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
