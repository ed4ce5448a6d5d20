//! COPY from and to a client: where its data comes from, and where it goes to.

mod direction;

use crate::backend::notice::Notices;

pub use direction::{direction, Direction};

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
