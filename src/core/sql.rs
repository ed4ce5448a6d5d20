//! What can be said of a statement by its text alone.

pub mod command;
pub mod copy_direction;
mod words;
