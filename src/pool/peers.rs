//! The client connections that have requests here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::core::budget::Budget;
use crate::core::callers::CallerId;
use crate::lock::Leaf;

type Map = HashMap<Arc<str>, Weak<Peer>>;

/// How errors call the budget of one connection.
pub(super) const OF_CONNECTION: &str = "bytes held for one connection";

/// What was taken of a call besides its request: its metadata, and the frames around both.
const CALL_BYTES: u64 = 1 << 10;

/// What was taken of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenFromPeer {
    /// Bytes of these calls, and of its requests that have come whole.
    pub bytes: u64,
    /// Its calls.
    pub calls: u64,
    /// One of its calls was let in.
    pub let_in: bool,
}

type TakenByAddress = HashMap<SocketAddr, TakenFromPeer>;

/// All connections, by the address of their other end, which no two have at a time.
#[derive(Clone)]
pub struct Peers {
    map: Arc<Leaf<Map>>,
    /// TakenFromPeer from those that are here no more, until somebody asks.
    departed: Arc<Leaf<TakenByAddress>>,
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
    id: CallerId,
    /// The memory that is held for it.
    memory: Budget,
    /// Its requests that stand in a queue.
    pub(super) parked: AtomicUsize,
    /// Calls that have come since somebody asked, and bytes of its requests.
    calls: AtomicU64,
    taken: AtomicU64,
    /// One of its calls was let in.
    let_in: AtomicBool,
    all: Peers,
}

impl Peers {
    /// None yet; for each at most so many bytes are held.
    pub fn new(bytes: usize) -> Peers {
        Peers { map: Arc::default(), departed: Arc::default(), bytes }
    }

    /// The connection from this address.
    pub fn at(&self, address: &str) -> Arc<Peer> {
        let mut map = self.map.lock();
        if let Some(known) = map.get(address).and_then(Weak::upgrade) {
            return known;
        }
        let name: Arc<str> = Arc::from(address);
        let fresh = Arc::new(Peer {
            id: CallerId::of_address(Arc::clone(&name)),
            memory: Budget::new(OF_CONNECTION, self.bytes),
            parked: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            let_in: AtomicBool::new(false),
            all: self.clone(),
        });
        map.insert(name, Arc::downgrade(&fresh));
        fresh
    }

    /// The one for which most memory is held.
    pub fn greatest(&self) -> Option<Arc<Peer>> {
        let all: Vec<_> = self.map.lock().values().filter_map(Weak::upgrade).collect();
        // Dropped where the map is free: the last of a peer takes it out of there.
        all.into_iter().max_by_key(|peer| peer.memory.used())
    }

    /// What was taken since this was last asked, by connection. Must be asked now and then.
    pub fn taken(&self) -> HashMap<SocketAddr, TakenFromPeer> {
        // The lock must not be held when one of these is dropped.
        let here: Vec<Arc<Peer>> = self.map.lock().values().filter_map(Weak::upgrade).collect();
        for peer in here {
            peer.settle();
        }
        std::mem::take(&mut *self.departed.lock())
    }

    /// How many there are.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.map.lock().len()
    }
}

impl Peer {
    /// Its address, as gRPC writes it.
    pub fn address(&self) -> &str {
        self.id.as_str()
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
    #[cfg(test)]
    pub fn parked(&self) -> usize {
        self.parked.load(Ordering::Acquire)
    }
}

impl Peer {
    /// A call has come. `let_in`: its caller may be one who uses some tenant.
    pub fn called(&self, let_in: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let_in {
            self.let_in.store(true, Ordering::Relaxed);
        }
    }

    /// A request of so many bytes has come whole.
    pub fn took(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Hands what was taken to those who ask.
    fn settle(&self) {
        let calls = self.calls.swap(0, Ordering::Relaxed);
        let bytes = self.taken.swap(0, Ordering::Relaxed) + calls * CALL_BYTES;
        if let Some(address) = socket_address(self.address()).filter(|_| bytes > 0) {
            let mut departed = self.all.departed.lock();
            let taken = departed.entry(address).or_default();
            taken.calls += calls;
            taken.bytes += bytes;
            taken.let_in |= self.let_in.load(Ordering::Relaxed);
        }
    }
}

/// Reads an address as gRPC writes it: `ipv4:192.0.2.1:7`, `ipv6:%5B2001:db8::1%5D:7`.
pub fn socket_address(address: &str) -> Option<SocketAddr> {
    let (kind, rest) = address.split_once(':')?;
    let (host, port) = rest.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let ip = match kind {
        "ipv4" => host.parse().ok()?,
        "ipv6" => {
            let host = host.trim_start_matches("%5B").trim_end_matches("%5D");
            // A zone is of no use to tell connections apart.
            let host = host.split("%25").next()?;
            IpAddr::V6(host.parse::<Ipv6Addr>().ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.settle();
        let mut map = self.all.map.lock();
        // The address may have been taken again in the meantime.
        if map.get(self.address()).is_some_and(|known| known.strong_count() == 0) {
            map.remove(self.address());
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

    #[test]
    fn what_was_taken_is_told_once_also_of_those_who_left() {
        let peers = Peers::default();
        let [here, left] = ["ipv4:192.0.2.1:1", "ipv6:%5B2001:db8::1%5D:2"].map(|at| peers.at(at));
        here.called(false);
        left.called(true);
        left.took(4);
        left.took(5);
        drop(left);
        let told = peers.taken();
        let of = |address: &str| told.get(&address.parse().expect("an address")).copied();
        let [called, took] = [(CALL_BYTES, false), (CALL_BYTES + 9, true)]
            .map(|(bytes, let_in)| Some(TakenFromPeer { bytes, calls: 1, let_in }));
        assert_eq!((of("192.0.2.1:1"), of("[2001:db8::1]:2"), told.len()), (called, took, 2));
        assert!(peers.taken().is_empty());
        here.took(1);
        assert_eq!(peers.taken().len(), 1);
    }

    #[test]
    fn addresses_are_read_as_grpc_writes_them() {
        for (written, read) in [
            ("ipv4:192.0.2.1:7", "192.0.2.1:7"),
            ("ipv6:%5B2001:db8::1%5D:7", "[2001:db8::1]:7"),
            ("ipv6:%5Bfe80::1%25eth0%5D:7", "[fe80::1]:7"),
            ("ipv6:%5B::ffff:192.0.2.1%5D:7", "192.0.2.1:7"),
        ] {
            assert_eq!(socket_address(written).map(|it| it.to_string()).as_deref(), Some(read));
        }
        for other in ["unix:/x", "", "ipv4:", "ipv4:x:7", "ipv4:192.0.2.1:70000"] {
            assert_eq!(socket_address(other), None, "{other}");
        }
    }
}
