//! Messages to a server, written into one buffer.
//!
//! Lengths are checked by `postgres-protocol`: what does not fit into a message of the
//! protocol is an error, and leaves the buffer unchanged.

use std::io;

use bytes::{Buf, BytesMut};
use postgres_protocol::message::frontend;
use postgres_protocol::IsNull;

use crate::pgwire::values::Encoded;

/// The messages to be sent. It has no `Debug`: parameters are secrets.
#[derive(Default)]
pub struct Writer(BytesMut);

/// More memory than this is released once the buffer was sent.
const KEPT: usize = 64 << 10;

/// Room for most calls, with the reset behind them: the buffer does not grow message by message.
const ROOM: usize = 512;

/// The format codes of results.
const TEXT: i16 = 0;
const BINARY: i16 = 1;

impl Writer {
    /// The messages to be sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Empties the buffer: its content was sent, or is not wanted.
    pub fn clear(&mut self) {
        if self.0.capacity() > KEPT {
            self.0 = BytesMut::new();
        }
        self.0.clear();
    }

    /// Drops so many bytes in front, which were sent.
    pub fn advance(&mut self, sent: usize) {
        self.0.advance(sent.min(self.0.len()));
    }

    /// Releases all memory, if it is empty.
    pub fn rest(&mut self) {
        if self.0.is_empty() {
            self.0 = BytesMut::new();
        }
    }

    /// The number of bytes to be sent.
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// Truncates the buffer to so many bytes.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    fn whole(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> io::Result<()> {
        let before = self.0.len();
        if before == 0 {
            self.0.reserve(ROOM);
        }
        write(&mut self.0).inspect_err(|_| self.0.truncate(before))
    }

    /// Query: a text of any number of commands.
    ///
    /// # Errors
    /// The text contains a zero byte or is too long.
    pub fn query(&mut self, sql: &str) -> io::Result<()> {
        self.whole(|out| frontend::query(sql, out))
    }

    /// Parse: `sql` becomes the statement `name`. PostgreSQL chooses the types.
    ///
    /// # Errors
    /// As for [`Writer::query`].
    pub fn parse(&mut self, name: &str, sql: &str) -> io::Result<()> {
        self.whole(|out| frontend::parse(name, sql, [], out))
    }

    /// Describe of the statement `name`.
    ///
    /// # Errors
    /// As for [`Writer::query`].
    pub fn describe(&mut self, name: &str) -> io::Result<()> {
        self.whole(|out| frontend::describe(b'S', name, out))
    }

    /// Bind of the statement `name` to the unnamed portal. `texts` holds for each column
    /// whether it is sent as text; if empty, all are sent in binary form.
    ///
    /// # Errors
    /// As for [`Writer::query`], or there are more than 65 535 parameters.
    pub fn bind(
        &mut self,
        name: &str,
        parameters: &[Encoded<'_>],
        texts: &[bool],
    ) -> io::Result<()> {
        let form = |parameter: &Encoded<'_>| match parameter {
            Encoded::Binary(_) => BINARY,
            Encoded::Null | Encoded::Text(_) => TEXT,
        };
        let value = |parameter: &Encoded<'_>, out: &mut BytesMut| {
            match parameter {
                Encoded::Null => return Ok(IsNull::Yes),
                Encoded::Text(text) => out.extend_from_slice(text.as_bytes()),
                Encoded::Binary(bytes) => out.extend_from_slice(bytes),
            }
            Ok(IsNull::No)
        };
        let mixed = texts.iter().any(|text| *text);
        let forms = texts.iter().map(|text| if *text { TEXT } else { BINARY });
        let forms = forms.take(if mixed { texts.len() } else { 0 });
        let forms = forms.chain((!mixed).then_some(BINARY));
        self.whole(|out| {
            let forms_in = parameters.iter().map(form);
            let done = frontend::bind("", name, forms_in, parameters, value, forms, out);
            done.map_err(|error| match error {
                frontend::BindError::Serialization(error) => io::Error::other(error),
                frontend::BindError::Conversion(error) => io::Error::other(error),
            })
        })
    }

    /// Execute of the unnamed portal, for so many rows at most; 0 = for all.
    ///
    /// # Errors
    /// None in practice.
    pub fn execute(&mut self, rows: i32) -> io::Result<()> {
        self.whole(|out| frontend::execute("", rows, out))
    }

    /// Close of the statement `name`.
    ///
    /// # Errors
    /// As for [`Writer::query`].
    pub fn close(&mut self, name: &str) -> io::Result<()> {
        self.whole(|out| frontend::close(b'S', name, out))
    }

    pub fn sync(&mut self) {
        frontend::sync(&mut self.0);
    }

    pub fn flush(&mut self) {
        frontend::flush(&mut self.0);
    }

    /// CopyData.
    ///
    /// # Errors
    /// The data is longer than a message can be.
    pub fn data(&mut self, data: &[u8]) -> io::Result<()> {
        self.whole(|out| frontend::CopyData::new(data).map(|data| data.write(out)))
    }

    /// CopyDone.
    pub fn data_end(&mut self) {
        frontend::copy_done(&mut self.0);
    }

    /// CopyFail.
    ///
    /// # Errors
    /// None in practice.
    pub fn data_fails(&mut self, why: &str) -> io::Result<()> {
        self.whole(|out| frontend::copy_fail(why, out))
    }

    pub fn terminate(&mut self) {
        frontend::terminate(&mut self.0);
    }
}
