//! COPY from and to a client.
//!
//! The driver reports a COPY as done when PostgreSQL has taken or sent the last of
//! its data. What comes behind that, such as a deferred constraint that fails, is
//! read here before anybody is told of success.

mod direction;

use std::io::{self, BufRead, Write};

use crate::backend::bundle::Bundling;
use crate::backend::pg::PgBackend;
use crate::backend::session::{Done, Notices, RunError, Sent};

pub use direction::{direction, Direction};

/// The driver copies what it is given several times over; in parts of this size
/// that costs no memory worth mentioning.
const PART_BYTES: usize = 32 << 10;

/// Gives the data of a COPY FROM STDIN.
pub trait Source {
    /// The next piece. May wait for it.
    fn next(&mut self) -> Piece;
}

/// A piece of what a [`Source`] gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Data, cut anywhere.
    Data(Vec<u8>),
    /// There is no more: the COPY is to be completed.
    Finish,
    /// There is no more, and nothing of it is to remain.
    Abort,
}

/// Takes the data of a COPY TO STDOUT.
pub trait Sink {
    /// The next piece, cut anywhere.
    fn data(&mut self, bytes: &[u8]);
    /// Looks for notices that came since the last piece.
    fn notices(&mut self, fresh: &Notices);
}

impl PgBackend {
    pub(super) fn run_copy_in(
        &mut self,
        sql: &str,
        source: &mut dyn Source,
    ) -> Result<Done, RunError> {
        let prepared = self.prepare(sql)?;
        self.watch.start_copy_in();
        let watch = &self.watch;
        let mut sent = Sent::Part;
        let fed = (|| {
            let mut writer = self.client.copy_in(&prepared).map_err(Some)?;
            loop {
                let piece = source.next();
                // PostgreSQL does not wait for the end to say what is wrong.
                if watch.failed().is_some() {
                    return Ok(false);
                }
                match piece {
                    Piece::Data(data) => {
                        for part in data.chunks(PART_BYTES) {
                            writer.write_all(part).map_err(driver_error)?;
                        }
                    }
                    Piece::Finish => {
                        sent = Sent::Whole;
                        return writer.finish().map(|_| true).map_err(Some);
                    }
                    // Dropped without its end, the COPY fails.
                    Piece::Abort => return Ok(false),
                }
            }
        })();
        self.watch.end_copy_in();
        self.copied(fed, sent)
    }

    pub(super) fn run_copy_out(
        &mut self,
        sql: &str,
        sink: &mut dyn Sink,
    ) -> Result<Done, RunError> {
        let prepared = self.prepare(sql)?;
        self.watch.start_statement();
        self.bundles.set(Bundling::Data);
        let notices = &self.notices;
        let taken = (|| {
            let mut reader = self.client.copy_out(&prepared).map_err(Some)?;
            loop {
                let piece = reader.fill_buf().map_err(driver_error)?;
                sink.notices(notices);
                if piece.is_empty() {
                    return Ok(true);
                }
                sink.data(piece);
                let length = piece.len();
                reader.consume(length);
            }
        })();
        self.bundles.set(Bundling::None);
        self.copied(taken, Sent::Whole)
    }

    /// How a COPY ended whose data has ended: true if it was to be completed.
    fn copied(
        &mut self,
        completed: Result<bool, Option<postgres::Error>>,
        sent: Sent,
    ) -> Result<Done, RunError> {
        let completed = match completed {
            Ok(completed) => completed,
            Err(Some(error)) => return Err(self.fail(&error, sent)),
            Err(None) => return Err(self.lost(None, sent)),
        };
        self.watch.start_question();
        if self.client.check_connection().is_err() {
            return Err(self.lost(None, sent));
        }
        match self.watch.failed() {
            Some(fault) => Err(self.faulted(Box::new(fault))),
            None if completed => {
                let command_tag = self.watch.tag().unwrap_or_default();
                let rows = command_tag.rsplit(' ').next().and_then(|rows| rows.parse().ok());
                Ok(Done { rows_affected: rows.unwrap_or(0), command_tag, cached: false })
            }
            None => Err(RunError::Interrupted),
        }
    }
}

/// The driver's error inside an I/O error, where it always is.
fn driver_error(error: io::Error) -> Option<postgres::Error> {
    error.into_inner().and_then(|inner| inner.downcast().ok()).map(|driver| *driver)
}
