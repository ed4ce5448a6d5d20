//! Notifications, as a backend hears them that does nothing else.

/// A notification of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The channel it was sent on.
    pub channel: String,
    /// What was sent; may be empty.
    pub payload: String,
    /// Process id of the backend that sent it.
    pub pid: i32,
}

/// What ended a wait for notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// One has come.
    Notification(Notification),
    /// Somebody wants something of the one who waits; see `Watch::nudge`.
    Nudge,
    /// None has come in time.
    Nothing,
}
