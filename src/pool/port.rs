//! What is known of the gRPC port: whether it answers, and who is connected.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering};

use crate::lock::Leaf;

/// Whether calls over gRPC are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It does not listen yet.
    Starting,
    /// It listens, and the last calls of our own were answered.
    Serving,
    /// It listens, and calls of our own are not answered.
    Unreachable,
}

impl Reach {
    /// The word on pages and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Reach::Starting => "starting",
            Reach::Serving => "serving",
            Reach::Unreachable => "unreachable",
        }
    }
}

/// The gRPC port. Written by the one who listens, the guard and the probe; read by
/// health and metrics.
#[derive(Default)]
pub struct Port {
    reach: AtomicU8,
    open: AtomicUsize,
    limit: AtomicUsize,
    guarded: AtomicBool,
    /// Seconds since 1970; 0 = there is no certificate.
    certificate_expires: AtomicI64,
    /// The near ends of connections of our own to it.
    own: Leaf<HashSet<SocketAddr>>,
}

impl Port {
    /// Whether it answers.
    pub fn reach(&self) -> Reach {
        match self.reach.load(Ordering::Acquire) {
            0 => Reach::Starting,
            1 => Reach::Serving,
            _ => Reach::Unreachable,
        }
    }

    /// It answers, or not.
    pub fn set_reach(&self, reach: Reach) {
        self.reach.store(reach as u8, Ordering::Release);
    }

    /// So many client connections are open, of at most so many.
    pub fn set_clients(&self, open: usize, limit: usize) {
        self.open.store(open, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Client connections that are open, and how many may be.
    pub fn clients(&self) -> (usize, usize) {
        (self.open.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed))
    }

    /// Whether what is beyond the limits can be closed.
    pub fn set_guarded(&self, guarded: bool) {
        self.guarded.store(guarded, Ordering::Relaxed);
    }

    /// Whether what is beyond the limits is closed.
    pub fn is_guarded(&self) -> bool {
        self.guarded.load(Ordering::Relaxed)
    }

    /// When its certificate expires, in seconds since 1970.
    pub fn set_certificate_expires(&self, at: i64) {
        self.certificate_expires.store(at, Ordering::Relaxed);
    }

    /// The same; none without TLS.
    pub fn certificate_expires(&self) -> Option<i64> {
        Some(self.certificate_expires.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// The connection from this address is our own, and no client's, until what is
    /// returned is dropped.
    pub fn ours(&self, from: SocketAddr) -> Ours<'_> {
        self.own.lock().insert(from);
        Ours { port: self, from }
    }

    /// True if the connection from this address is our own.
    pub fn is_ours(&self, from: SocketAddr) -> bool {
        self.own.lock().contains(&from)
    }
}

/// A connection of our own to the gRPC port.
pub struct Ours<'a> {
    port: &'a Port,
    from: SocketAddr,
}

impl Drop for Ours<'_> {
    fn drop(&mut self) {
        self.port.own.lock().remove(&self.from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_what_it_was_told() {
        let port = Port::default();
        for reach in [Reach::Starting, Reach::Serving, Reach::Unreachable] {
            port.set_reach(reach);
            assert_eq!(port.reach(), reach);
        }
        let [one, other] = [7, 8].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let ours = port.ours(one);
        assert!(port.is_ours(one) && !port.is_ours(other));
        drop(ours);
        assert!(!port.is_ours(one));
    }
}
