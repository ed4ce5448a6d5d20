//! Notifications, as a backend hears them that does nothing else.

use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;

use crate::backend::pg::PgBackend;
use crate::backend::session::{RunError, Sent};
use crate::core::channels::Change;

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

impl PgBackend {
    /// In one message, so that it happens as a whole. What has come before is
    /// kept.
    pub(super) fn change_channels(&mut self, change: &Change) -> Result<(), RunError> {
        let says =
            |word: &str, channel: &String| format!("{word} \"{}\"; ", channel.replace('"', "\"\""));
        let unlisten = change.unlisten.iter().map(|channel| says("UNLISTEN", channel));
        let listen = change.listen.iter().map(|channel| says("LISTEN", channel));
        let sql: String = unlisten.chain(listen).collect();
        self.client.batch_execute(&sql).map_err(|error| self.fail(&error, Sent::Whole))
    }

    pub(super) fn wait_for_notification(&mut self, limit: Duration) -> Result<Heard, RunError> {
        // The driver reads what comes before it gives the first one away. So no more
        // is read than a little, until nothing of that is left.
        self.watch.start_question();
        let mut notifications = self.client.notifications();
        if notifications.is_empty() {
            self.watch.took_notifications();
        }
        self.watch.read_little(true);
        let next = notifications.timeout_iter(limit).next();
        self.watch.read_little(false);
        drop(notifications);
        match next {
            Ok(Some(notification)) if notification.channel().is_empty() => Ok(Heard::Nudge),
            Ok(Some(notification)) => Ok(Heard::Notification(Notification {
                channel: notification.channel().to_owned(),
                payload: notification.payload().to_owned(),
                pid: notification.process_id(),
            })),
            Ok(None) if self.client.is_closed() => Err(self.lost(None, Sent::Nothing)),
            Ok(None) => Ok(Heard::Nothing),
            Err(_) => Err(self.lost(None, Sent::Nothing)),
        }
    }
}
