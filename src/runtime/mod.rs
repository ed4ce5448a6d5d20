//! The threads that act on time and on signals.

pub mod keeper;
pub mod reaper;
pub mod shutdown;
