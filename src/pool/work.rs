//! What one request does on a session.

mod carry;
pub(super) mod kept;
pub mod operation;
pub mod outlet;
mod progress;
pub mod run;
pub mod task;
