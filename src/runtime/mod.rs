//! The threads that act at certain times: guard, keeper, probe and reaper.

pub mod guard;
pub mod keeper;
mod load_watch;
mod memory_watch;
pub mod probe;
pub mod reaper;
