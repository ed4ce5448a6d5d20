//! Decides who may watch the health of the service: anybody, which costs gRPC some 25 kB each.

use std::collections::HashMap;
use std::fmt;

use crate::core::callers::CallerId;

/// The most of one client connection: there are four names to watch.
pub const OF_CONNECTION: usize = 8;

/// Who watches. A connection without a watcher always gets its first one, for as long as there
/// are no more connections than watchers may be: the connection with most gives one up for it.
#[derive(Default)]
pub struct Watchers {
    /// Holds no empty lists.
    of: HashMap<CallerId, Vec<u64>>,
    count: usize,
    next: u64,
}

/// A watcher that was let in.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its number.
    pub id: u64,
    /// The watcher that has to end for it.
    pub displaced: Option<u64>,
}

/// Why there is no place for a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooManyWatchers {
    /// Its connection has as many as one may have.
    OfConnection,
    /// All connections together have so many, which is the most.
    InAll(usize),
    /// It had more than others, who needed its place.
    GaveWay(usize),
}

impl fmt::Display for TooManyWatchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TooManyWatchers::OfConnection => {
                write!(
                    f,
                    "this connection has {OF_CONNECTION} Watch calls, the most that one may have"
                )
            }
            TooManyWatchers::InAll(most) => {
                write!(
                    f,
                    "all clients together have {most} Watch calls, the most that they may have"
                )
            }
            TooManyWatchers::GaveWay(most) => write!(
                f,
                "all clients together have {most} Watch calls, the most that they may have, and \
                 one of this connection's gave way to another client's first one"
            ),
        }
    }
}

impl Watchers {
    /// Lets in a watcher of this connection, if all may be `most`.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit(&mut self, caller: &CallerId, most: usize) -> Result<Admitted, TooManyWatchers> {
        let own = self.of.get(caller).map_or(0, Vec::len);
        if own >= OF_CONNECTION {
            return Err(TooManyWatchers::OfConnection);
        }
        let displaced = match self.count >= most {
            false => None,
            true if own > 0 => return Err(TooManyWatchers::InAll(most)),
            true => Some(self.displace().ok_or(TooManyWatchers::InAll(most))?),
        };
        self.next += 1;
        self.count += 1;
        self.of.entry(caller.clone()).or_default().push(self.next);
        Ok(Admitted { id: self.next, displaced })
    }

    /// Takes the newest of the connection that has most, if that is more than one.
    fn displace(&mut self) -> Option<u64> {
        let greatest = self.of.values_mut().max_by_key(|own| own.len());
        let displaced = greatest.filter(|own| own.len() > 1)?.pop();
        self.count -= usize::from(displaced.is_some());
        displaced
    }

    /// A watcher has ended, or was displaced before.
    pub fn leave(&mut self, caller: &CallerId, id: u64) {
        let Some(own) = self.of.get_mut(caller) else { return };
        let before = own.len();
        own.retain(|one| *one != id);
        self.count -= before - own.len();
        if own.is_empty() {
            self.of.remove(caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(n: usize) -> CallerId {
        CallerId::new(&format!("ipv4:192.0.2.1:{n}"))
    }

    #[test]
    fn a_connection_has_so_many_and_no_more() {
        let mut all = Watchers::default();
        let admitted: Vec<_> = (0..OF_CONNECTION)
            .map(|_| all.admit(&caller(1), 100).expect("there is room"))
            .collect();
        assert_eq!(all.admit(&caller(1), 100), Err(TooManyWatchers::OfConnection));
        all.leave(&caller(1), admitted[3].id);
        assert!(all.admit(&caller(1), 100).is_ok());
        assert!(all.admit(&caller(2), 100).is_ok());
    }

    #[test]
    fn the_first_of_a_connection_displaces_one_of_those_with_most() {
        let mut all = Watchers::default();
        let mut admit = |n, most| all.admit(&caller(n), most);
        let first = admit(1, 4).expect("there is room");
        let (second, third) = (admit(1, 4).expect("room"), admit(1, 4).expect("room"));
        assert!(admit(2, 4).expect("there is room").displaced.is_none());
        assert_eq!(admit(2, 4), Err(TooManyWatchers::InAll(4)), "it has one");
        assert_eq!(admit(3, 4).expect("a first one").displaced, Some(third.id));
        assert_eq!(admit(4, 4).expect("a first one").displaced, Some(second.id));
        assert_eq!(admit(5, 4), Err(TooManyWatchers::InAll(4)), "each has one");
        // Those that were displaced leave later.
        all.leave(&caller(1), third.id);
        all.leave(&caller(1), second.id);
        assert_eq!(all.admit(&caller(5), 4), Err(TooManyWatchers::InAll(4)));
        all.leave(&caller(1), first.id);
        assert!(all.admit(&caller(5), 4).expect("there is room").displaced.is_none());
        for n in 2..=5 {
            let ids = all.of[&caller(n)].clone();
            ids.into_iter().for_each(|id| all.leave(&caller(n), id));
        }
        assert_eq!((all.count, all.of.len()), (0, 0));
    }
}
