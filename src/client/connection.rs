//! A connection that is lent.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use grpcio::{CallOption, Channel};

use super::channel::Link;
use super::lineup::{Lent, SlotId};
use super::shared::Shared;
use crate::clock;

/// A connection of a pool, lent until it is dropped. Any grpcio stub is made of its
/// [`channel`](Self::channel). A stub that outlives it keeps the connection open, which nobody
/// looks after then.
pub struct Connection {
    pool: Arc<Shared>,
    slot: SlotId,
    address: usize,
    link: Arc<Link>,
    broken: bool,
    since: Instant,
}

impl Connection {
    pub(super) fn new(pool: Arc<Shared>, lent: Lent<Arc<Link>>) -> Connection {
        let Lent { slot, address, channel } = lent;
        Connection { pool, slot, address, link: channel, broken: false, since: clock::now() }
    }

    /// gRPC's channel, for stubs.
    pub fn channel(&self) -> &Channel {
        self.link.channel()
    }

    /// What a call on it is made with: the service's time limit.
    pub fn options(&self) -> CallOption {
        let options = CallOption::default();
        match self.pool.call_timeout() {
            Some(timeout) => options.timeout(timeout),
            None => options,
        }
    }

    /// The address that it is connected to.
    pub fn address(&self) -> String {
        self.pool.dialer.endpoint(self.address).map(ToString::to_string).unwrap_or_default()
    }

    /// Since when it is lent.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Has it closed instead of given back.
    pub fn mark_broken(&mut self) {
        self.broken = true;
    }

    pub(super) fn address_number(&self) -> usize {
        self.address
    }

    pub(super) fn link(&self) -> &Link {
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
