//! The client connections that have requests here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::core::budget::Budget;
use crate::core::callers::CallerId;
use crate::pool::memory::OF_CONNECTION;

type Map = HashMap<String, Weak<Peer>>;

/// All connections, by the address of their other end, which no two have at a time.
#[derive(Clone)]
pub struct Peers {
    map: Arc<Mutex<Map>>,
    /// What each may have of the memory that is held for others.
    bytes: usize,
}

impl Default for Peers {
    fn default() -> Peers {
        Peers::new(usize::MAX)
    }
}

/// One client connection, for as long as something of it is here.
pub struct Peer {
    address: String,
    id: CallerId,
    /// The memory that is held for it.
    memory: Budget,
    /// Its requests that stand in a queue.
    pub(super) parked: AtomicUsize,
    all: Peers,
}

impl Peers {
    /// None yet; for each at most so many bytes are held.
    pub fn new(bytes: usize) -> Peers {
        Peers { map: Arc::default(), bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        // A leaf lock; the map is whole between its own calls.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection from this address.
    pub fn at(&self, address: &str) -> Arc<Peer> {
        let mut map = self.lock();
        if let Some(known) = map.get(address).and_then(Weak::upgrade) {
            return known;
        }
        let fresh = Arc::new(Peer {
            address: address.to_owned(),
            id: CallerId::new(address),
            memory: Budget::new(OF_CONNECTION, self.bytes),
            parked: AtomicUsize::new(0),
            all: self.clone(),
        });
        map.insert(address.to_owned(), Arc::downgrade(&fresh));
        fresh
    }

    /// The one for which most memory is held.
    pub fn greatest(&self) -> Option<Arc<Peer>> {
        let all: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        // Dropped where the map is free: the last of a peer takes it out of there.
        all.into_iter().max_by_key(|peer| peer.memory.used())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }
}

impl Peer {
    /// Its address, as gRPC writes it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The memory that is held for it.
    pub fn memory(&self) -> &Budget {
        &self.memory
    }

    /// Who its leases are counted for.
    pub fn id(&self) -> &CallerId {
        &self.id
    }

    /// Its requests that stand in a queue.
    pub fn parked(&self) -> usize {
        self.parked.load(Ordering::Acquire)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut map = self.all.lock();
        // The address may have been taken again in the meantime.
        if map.get(&self.address).is_some_and(|known| known.strong_count() == 0) {
            map.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_known_for_as_long_as_something_of_it_is_here() {
        let peers = Peers::default();
        let first = peers.at("ipv4:192.0.2.1:1");
        assert!(Arc::ptr_eq(&first, &peers.at("ipv4:192.0.2.1:1")));
        let second = peers.at("ipv4:192.0.2.1:2");
        assert_eq!(peers.count(), 2);
        drop(first);
        assert_eq!(peers.count(), 1);
        assert_ne!(peers.at("ipv4:192.0.2.1:1").id(), second.id());
    }
}
