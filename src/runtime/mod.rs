//! The threads that act on time and on signals.

pub mod guard;
pub mod keeper;
pub mod probe;
pub mod reaper;
pub mod shutdown;
