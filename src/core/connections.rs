//! Which client connections are too many.

use std::collections::HashMap;
use std::hash::Hash;

/// A connection as it was seen. `H` tells the hosts apart that clients are on.
#[derive(Debug, Clone)]
pub struct Seen<H> {
    /// No two connections have the same at a time.
    pub id: u64,
    /// The host at the other end.
    pub host: H,
}

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// In all.
    pub total: usize,
    /// From one host; 0 = as many as in all.
    pub per_host: usize,
}

/// Why a connection is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Excess {
    /// There are as many as there may be.
    Total,
    /// Its host has as many as one may have.
    Host,
    /// It has opened more calls than it was allowed.
    Streams,
}

impl Excess {
    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Excess::Total => "total",
            Excess::Host => "address",
            Excess::Streams => "streams",
        }
    }
}

/// The connections by their age. Ids alone do not tell it: they are given anew.
#[derive(Debug, Default)]
pub struct Connections {
    /// The age of each that was there at the last look: the less the older.
    born: HashMap<u64, u64>,
    next: u64,
}

impl Connections {
    /// These are there now. Returns those beyond the bounds, which are the newest.
    pub fn look<H: Hash + Eq>(&mut self, seen: &[Seen<H>], bounds: Bounds) -> Vec<(u64, Excess)> {
        let mut order: Vec<&Seen<H>> = seen.iter().collect();
        // Of those that came since the last look, the system gave the older ones the
        // lower ids, by and large.
        order.sort_by_key(|one| (self.born.get(&one.id).copied().unwrap_or(u64::MAX), one.id));
        let known = std::mem::take(&mut self.born);
        let (mut kept, mut beyond) = (0, Vec::new());
        let mut of_host: HashMap<&H, usize> = HashMap::new();
        for one in order {
            let born = known.get(&one.id).copied().unwrap_or(self.next);
            self.next = self.next.max(born + 1);
            self.born.insert(one.id, born);
            let own = of_host.entry(&one.host).or_default();
            if bounds.per_host > 0 && *own >= bounds.per_host {
                beyond.push((one.id, Excess::Host));
            } else if kept >= bounds.total {
                beyond.push((one.id, Excess::Total));
            } else {
                *own += 1;
                kept += 1;
            }
        }
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(all: &[(u64, char)]) -> Vec<Seen<char>> {
        all.iter().map(|&(id, host)| Seen { id, host }).collect()
    }

    const THREE: Bounds = Bounds { total: 3, per_host: 2 };

    #[test]
    fn the_newest_are_too_many_and_age_counts_from_the_first_sight() {
        let mut all = Connections::default();
        assert!(all.look(&seen(&[(5, 'a'), (9, 'b')]), THREE).is_empty());
        let now = seen(&[(7, 'd'), (1, 'c'), (9, 'b'), (5, 'a')]);
        assert_eq!(all.look(&now, THREE), [(7, Excess::Total)]);
        // It is still there, and a lower id that came later is not older.
        let now = seen(&[(0, 'e'), (7, 'd'), (1, 'c'), (9, 'b'), (5, 'a')]);
        assert_eq!(all.look(&now, THREE), [(7, Excess::Total), (0, Excess::Total)]);
        // One that left makes room for the oldest of those.
        let now = seen(&[(0, 'e'), (7, 'd'), (1, 'c'), (9, 'b')]);
        assert_eq!(all.look(&now, THREE), [(0, Excess::Total)]);
    }

    #[test]
    fn a_host_has_its_share_and_no_more() {
        let mut all = Connections::default();
        let now = seen(&[(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b'), (5, 'c')]);
        assert_eq!(all.look(&now, THREE), [(3, Excess::Host), (5, Excess::Total)]);
        let off = Bounds { total: 5, per_host: 0 };
        assert!(all.look(&now, off).is_empty());
        // An id that is given anew is a new connection only if a look lies between.
        assert!(all.look(&seen(&[]), THREE).is_empty());
        let now = seen(&[(8, 'a'), (9, 'a')]);
        assert!(all.look(&now, THREE).is_empty());
        let now = seen(&[(3, 'a'), (9, 'a'), (8, 'a')]);
        assert_eq!(all.look(&now, THREE), [(3, Excess::Host)]);
    }
}
