//! Notifications, received by a backend dedicated to them.

/// A notification of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The channel it was sent on.
    pub channel: String,
    /// The payload; may be empty.
    pub payload: String,
    /// Process id of the backend that sent it.
    pub pid: i32,
}

/// What ended a wait for notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Notification(Notification),
    /// The waiting thread is needed for something else; see `Watch::nudge`.
    Nudge,
    /// None arrived in time.
    Nothing,
}
