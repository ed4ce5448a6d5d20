//! What a call does, by its shape: one answer, a stream either way, or both.

pub(super) mod copy_in;
pub(super) mod copy_out;
pub(super) mod entry;
pub(super) mod listen;
pub(super) mod query;
pub(super) mod reply;
mod response;
pub(super) mod session;
pub(super) mod streamed;
