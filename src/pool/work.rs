//! What one request does on a backend.

pub(super) mod awaited;
pub(super) mod begun;
mod carry;
pub(super) mod kept;
pub mod operation;
pub mod outlet;
mod progress;
pub mod run;
pub mod task;
