//! How many requests may stand in queues: in all, and of one connection.
//!
//! There is no share for each address: behind a proxy all clients have one, and of the
//! places there are, one connection can take one in forty with the defaults.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::config::Limits;
use crate::core::budget::Spent;
use crate::core::ids::TenantId;
use crate::error::Error;
use crate::pool::memory;
use crate::pool::peers::Peer;

/// Counts the requests that stand in any tenant's queue.
pub struct WaitingRoom {
    all: Arc<AtomicUsize>,
    max: usize,
    max_per_connection: usize,
}

/// One place, given back when dropped.
pub struct Parked {
    all: Arc<AtomicUsize>,
    peer: Arc<Peer>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many wait in the service as may wait.
    Service {
        /// How many those are.
        limit: usize,
    },
    /// As many of this connection's requests wait as may wait.
    Connection {
        /// How many those are.
        limit: usize,
    },
    /// There is no memory for one more.
    Memory(Spent),
}

impl Full {
    /// The error for a request at this tenant.
    pub fn error(self, tenant: &TenantId) -> Error {
        match self {
            Full::Service { limit } => {
                Error::ServiceLimit { what: "waiting requests", used: limit, limit }
            }
            Full::Connection { limit } => {
                let (tenant, what) = (tenant.clone(), "waiting requests on one connection");
                Error::CallerLimit { tenant, what, used: limit, limit }
            }
            Full::Memory(spent) => memory::refused(spent, tenant),
        }
    }
}

impl WaitingRoom {
    /// An empty one.
    pub fn new(limits: &Limits) -> WaitingRoom {
        WaitingRoom {
            all: Arc::default(),
            max: limits.waiters,
            max_per_connection: limits.waiters_per_connection,
        }
    }

    /// Takes a place for a request of `peer`.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn enter(&self, peer: &Arc<Peer>) -> Result<Parked, Full> {
        if !increment(&peer.parked, self.max_per_connection) {
            return Err(Full::Connection { limit: self.max_per_connection });
        }
        if !increment(&self.all, self.max) {
            peer.parked.fetch_sub(1, Ordering::AcqRel);
            return Err(Full::Service { limit: self.max });
        }
        Ok(Parked { all: Arc::clone(&self.all), peer: Arc::clone(peer) })
    }
}

fn increment(count: &AtomicUsize, max: usize) -> bool {
    let next = |n: usize| (n < max).then_some(n + 1);
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::AcqRel);
        self.peer.parked.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::peers::Peers;

    #[test]
    fn each_limit_holds_and_every_place_comes_back() {
        let limits = Limits { waiters: 3, waiters_per_connection: 2, ..Limits::default() };
        let (room, peers) = (WaitingRoom::new(&limits), Peers::default());
        let (one, two) = (peers.at("one"), peers.at("two"));
        let first = room.enter(&one).ok();
        let second = room.enter(&one).ok();
        assert_eq!(room.enter(&one).err(), Some(Full::Connection { limit: 2 }));
        let third = room.enter(&two).ok();
        assert_eq!(room.enter(&two).err(), Some(Full::Service { limit: 3 }));
        assert_eq!((one.parked(), two.parked()), (2, 1));
        drop(first);
        assert!(room.enter(&two).is_ok());
        drop((second, third));
        assert_eq!((one.parked(), two.parked()), (0, 0));
    }
}
