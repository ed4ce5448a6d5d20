//! The source of the data of COPY FROM STDIN, and the sink of COPY TO STDOUT.

use crate::backend::notice::Notices;

/// Gives the data of a COPY FROM STDIN.
pub trait Source {
    /// Returns the next piece. May block.
    fn next(&mut self) -> Piece;
}

/// A piece of what a [`Source`] gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Data, cut anywhere.
    Data(Vec<u8>),
    /// The end of the data: the COPY is completed.
    Finish,
    /// The data was broken off: the COPY is aborted.
    Abort,
}

/// Takes the data of a COPY TO STDOUT.
pub trait Sink {
    /// The next piece, cut anywhere.
    fn data(&mut self, bytes: &[u8]);
    /// Takes the notices that arrived since the last piece.
    fn notices(&mut self, fresh: &Notices);
}
