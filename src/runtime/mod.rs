//! The threads that act on time and on signals.

pub mod guard;
pub mod keeper;
mod memory_watch;
pub mod probe;
pub mod reaper;
