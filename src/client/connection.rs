//! A connection that is lent.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grpcio::{CallOption, Channel};

use super::channel::Link;
use super::deadline;
use super::error::PoolError;
use super::lineup::{LentChannel, SlotId};
use super::shared::{Patience, Shared};
use crate::clock;

/// A connection of a pool, lent until it is dropped. Any grpcio stub is made of its
/// [`channel`](Self::channel). A stub that outlives it keeps the connection open, which nobody
/// looks after then.
pub struct Connection {
    pool: Arc<Shared>,
    slot: SlotId,
    link: Arc<Link>,
    broken: bool,
    since: Instant,
}

impl Connection {
    /// Lends one of the pool, waiting for it if need be.
    pub(super) fn lend(pool: &Arc<Shared>, patience: Patience) -> Result<Connection, PoolError> {
        let (lent, since) = pool.checkout(patience)?;
        Ok(Connection::new(pool, lent, since))
    }

    /// Lends one if it is free and nobody waits for it.
    pub(super) fn spare(pool: &Arc<Shared>, patience: Patience) -> Option<Connection> {
        let (lent, since) = pool.spare(patience)?;
        Some(Connection::new(pool, lent, since))
    }

    fn new(pool: &Arc<Shared>, lent: LentChannel<Arc<Link>>, since: Instant) -> Connection {
        let LentChannel { slot, channel, .. } = lent;
        let pool = Arc::clone(pool);
        Connection { pool, slot, link: channel, broken: false, since }
    }

    /// Lends it once more, for a call that may outlive this guard.
    pub(super) fn share(&self) -> Connection {
        self.pool.share(self.slot);
        let (pool, link) = (Arc::clone(&self.pool), Arc::clone(&self.link));
        let Connection { slot, since, .. } = *self;
        Connection { pool, slot, link, broken: false, since }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.pool
    }

    /// gRPC's channel, for stubs.
    pub fn channel(&self) -> &Channel {
        self.link.channel()
    }

    /// What a call on it is made with: the service's time limit, or what is left of the
    /// deadline that this thread is under.
    pub fn options(&self) -> CallOption {
        let options = CallOption::default();
        let now = clock::now();
        let own = self.pool.call_timeout().and_then(|timeout| now.checked_add(timeout));
        match deadline::within(own) {
            // gRPC does not keep limits under a millisecond.
            Some(until) => {
                let left = until.saturating_duration_since(now);
                options.timeout(left.max(Duration::from_millis(1)))
            }
            None => options,
        }
    }

    /// How old the connection is.
    pub fn age(&self) -> Duration {
        clock::now().saturating_duration_since(self.link.since())
    }

    /// The address that it is connected to; `host/1.2.3.4:443` if it is one of those that a name
    /// stands for.
    pub fn address(&self) -> String {
        self.link.to().to_string()
    }

    /// Since when it is lent.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Has it closed instead of given back.
    pub fn mark_broken(&mut self) {
        self.broken = true;
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Deref for Connection {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        self.channel()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pool.give_back(self.slot, self.broken);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, address) = (&self.pool.service, self.address());
        f.debug_struct("Connection").field("service", service).field("address", &address).finish()
    }
}
