//! Where a request stands while its caller may still leave.

use std::sync::Arc;
use std::time::Instant;

/// A place that a request can be taken from: in a queue, or on a backend.
pub trait Stage: Send + Sync {
    /// The caller has left. Does not block.
    fn leave(self: Arc<Self>);

    /// The caller waits until then instead. Only who stands in a queue listens.
    fn postpone(&self, _until: Instant) {}
}
