//! What one request does on a session.

pub(super) mod awaited;
mod carry;
pub(super) mod kept;
pub mod operation;
pub mod outlet;
mod progress;
pub mod run;
pub mod task;
