//! How many requests may stand in queues: in all, of one connection, and of one identity.
//!
//! There is no share for each address: behind a proxy all clients have one, and of the
//! places there are, one connection can take one in forty with the defaults.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::config::Limits;
use crate::core::budget::Spent;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::lock::Leaf;
use crate::pool::memory;
use crate::pool::peers::Peer;

/// Counts the requests that stand in any tenant's queue.
pub struct WaitingRoom {
    all: Arc<AtomicUsize>,
    max: usize,
    max_per_connection: usize,
    identities: Arc<Leaf<ByIdentity>>,
}

/// How many requests of each identity wait, where that is limited. Holds no zeros.
type ByIdentity = HashMap<CallerId, usize>;

/// One place, given back when dropped.
pub struct Parked {
    all: Arc<AtomicUsize>,
    peer: Arc<Peer>,
    /// Apart, so that requests are no larger where nothing is limited.
    _identity: Option<Box<CountedIdentity>>,
}

/// One of an identity's places.
struct CountedIdentity {
    id: CallerId,
    all: Arc<Leaf<ByIdentity>>,
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
    /// As many of this identity's requests wait as may wait.
    Identity {
        /// How many those are.
        limit: usize,
    },
    /// There is no memory for one more.
    Memory(Spent),
}

impl Full {
    /// The error for a request at this tenant.
    pub fn error(self, tenant: &TenantId) -> RequestError {
        match self {
            Full::Service { limit } => {
                RequestError::ServiceLimit { what: "waiting requests", used: limit, limit }
            }
            Full::Connection { limit } => {
                let (tenant, what) = (tenant.clone(), "waiting requests on one connection");
                RequestError::CallerLimit { tenant, what, used: limit, limit }
            }
            Full::Identity { limit } => {
                let (tenant, what) = (tenant.clone(), "waiting requests of one identity");
                RequestError::CallerLimit { tenant, what, used: limit, limit }
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
            identities: Arc::default(),
        }
    }

    /// Takes a place for a request of `peer`, of whose identity at most so many may wait; `None` is
    /// not limited.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn enter(
        &self,
        peer: &Arc<Peer>,
        identity: Option<(&CallerId, usize)>,
    ) -> Result<Parked, Full> {
        let identity = identity.map(|(id, limit)| self.count(id, limit)).transpose()?;
        if !increment(&peer.parked, self.max_per_connection) {
            return Err(Full::Connection { limit: self.max_per_connection });
        }
        if !increment(&self.all, self.max) {
            peer.parked.fetch_sub(1, Ordering::AcqRel);
            return Err(Full::Service { limit: self.max });
        }
        let (all, peer) = (Arc::clone(&self.all), Arc::clone(peer));
        Ok(Parked { all, peer, _identity: identity })
    }

    fn count(&self, id: &CallerId, limit: usize) -> Result<Box<CountedIdentity>, Full> {
        let mut identities = self.identities.lock();
        let waiting = identities.get(id).copied().unwrap_or(0);
        if waiting >= limit {
            return Err(Full::Identity { limit });
        }
        identities.insert(id.clone(), waiting + 1);
        drop(identities);
        Ok(Box::new(CountedIdentity { id: id.clone(), all: Arc::clone(&self.identities) }))
    }
}

fn increment(count: &AtomicUsize, max: usize) -> bool {
    let next = |n: usize| (n < max).then_some(n + 1);
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
}

impl Drop for CountedIdentity {
    fn drop(&mut self) {
        let mut identities = self.all.lock();
        match identities.get_mut(&self.id) {
            Some(waiting) if *waiting > 1 => *waiting -= 1,
            _ => {
                identities.remove(&self.id);
            }
        }
    }
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
        let first = room.enter(&one, None).ok();
        let second = room.enter(&one, None).ok();
        assert_eq!(room.enter(&one, None).err(), Some(Full::Connection { limit: 2 }));
        let third = room.enter(&two, None).ok();
        assert_eq!(room.enter(&two, None).err(), Some(Full::Service { limit: 3 }));
        assert_eq!((one.parked(), two.parked()), (2, 1));
        drop(first);
        assert!(room.enter(&two, None).is_ok());
        drop((second, third));
        assert_eq!((one.parked(), two.parked()), (0, 0));
    }

    #[test]
    fn an_identity_has_its_places_on_all_its_connections_together() {
        let (room, peers) = (WaitingRoom::new(&Limits::default()), Peers::default());
        let (one, two) = (peers.at("one"), peers.at("two"));
        let [shop, ops] = ["shop", "ops"].map(CallerId::of_identity);
        let first = room.enter(&one, Some((&shop, 2))).ok();
        let second = room.enter(&two, Some((&shop, 2))).ok();
        let full = Some(Full::Identity { limit: 2 });
        assert_eq!(room.enter(&two, Some((&shop, 2))).err(), full);
        assert_eq!(two.parked(), 1, "what was refused takes no place");
        assert!(room.enter(&two, Some((&ops, 2))).is_ok());
        assert!(room.enter(&two, Some((&shop, 3))).is_ok(), "the limit is that of the moment");
        drop(first);
        assert!(room.enter(&one, Some((&shop, 2))).is_ok());
        drop(second);
        assert!(room.identities.lock().is_empty());
    }
}
