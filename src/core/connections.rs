//! Decides which client connections exceed the limits: in number or in unread bytes.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// A connection as the system reports it. `H` identifies a client's host.
#[derive(Debug, Clone)]
pub struct SeenConnection<H> {
    /// Unique among the connections open at one time.
    pub id: u64,
    /// The host at the other end.
    pub host: H,
    /// Bytes received since it was opened.
    pub received: u64,
    /// Bytes of these, since the last round, that belong to calls and to requests that are whole.
    pub taken: u64,
    /// A call of it was let in since the last round: it is not a stranger's.
    pub let_in: bool,
}

/// The limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionBounds {
    /// Connections in all.
    pub total: usize,
    /// Connections from one host; 0 = as many as in all.
    pub per_host: usize,
    /// Bytes that one connection may have sent of requests that are not whole.
    pub unread: u64,
    /// The same for all connections together.
    pub unread_total: u64,
    /// Bytes that belong to no call, of a connection of which no call was ever let in.
    pub stray: u64,
    /// How long there may be more of them.
    pub stray_for: Duration,
    /// After this long such a request is abandoned and no longer counts; neither do the others.
    pub unread_lasts: Duration,
}

/// Which limit a connection exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionExcess {
    /// The limit of all connections.
    Total,
    /// The limit of connections from its host.
    Host,
    /// The limit of calls on one connection.
    Streams,
    /// The limit of bytes of requests that are not whole.
    Unread,
    /// The limit of a stranger's bytes that belong to no call.
    Stray,
}

impl ConnectionExcess {
    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionExcess::Total => "total",
            ConnectionExcess::Host => "address",
            ConnectionExcess::Streams => "streams",
            ConnectionExcess::Unread => "unread",
            ConnectionExcess::Stray => "stray",
        }
    }
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy, Default)]
struct KnownConnection {
    /// Lower for older connections. Ids alone do not show age, because they are reused.
    born: u64,
    received: u64,
    unread: u64,
    let_in: bool,
    /// For how long it has been over the limit of its unread bytes.
    over_for: Duration,
}

/// The connections of the last round.
#[derive(Debug, Default)]
pub struct Connections {
    known: HashMap<u64, KnownConnection>,
    next: u64,
}

impl Connections {
    /// Takes in the connections that are open `after` the last round. Returns those beyond
    /// the bounds: of too many connections the newest, of too many bytes the largest.
    pub fn look<H: Hash + Eq>(
        &mut self,
        seen: &[SeenConnection<H>],
        bounds: ConnectionBounds,
        after: Duration,
    ) -> Vec<(u64, ConnectionExcess)> {
        let mut order: Vec<&SeenConnection<H>> = seen.iter().collect();
        // Of those opened since the last round, the older ones mostly have the lower ids.
        order.sort_by_key(|one| (self.known.get(&one.id).map_or(u64::MAX, |it| it.born), one.id));
        let last = std::mem::take(&mut self.known);
        let (mut kept, mut beyond) = (Vec::new(), Vec::new());
        let mut of_host: HashMap<&H, usize> = HashMap::new();
        for one in order {
            let fresh = KnownConnection { born: self.next, ..KnownConnection::default() };
            let now = one.since(last.get(&one.id).copied().unwrap_or(fresh), bounds, after);
            self.next = self.next.max(now.born + 1);
            self.known.insert(one.id, now);
            let own = of_host.entry(&one.host).or_default();
            if bounds.per_host > 0 && *own >= bounds.per_host {
                beyond.push((one.id, ConnectionExcess::Host));
            } else if kept.len() >= bounds.total {
                beyond.push((one.id, ConnectionExcess::Total));
            } else {
                *own += 1;
                kept.push((one.id, now));
            }
        }
        beyond.extend(greedy(kept, bounds));
        beyond
    }
}

impl<H> SeenConnection<H> {
    /// What is known of it now, given what was known in the last round.
    fn since(
        &self,
        last: KnownConnection,
        bounds: ConnectionBounds,
        after: Duration,
    ) -> KnownConnection {
        // gRPC does not report when a request is abandoned, so the count decays over time.
        let part = after.as_secs_f64() / bounds.unread_lasts.as_secs_f64().max(f64::EPSILON);
        let let_in = last.let_in || self.let_in;
        let forgotten = (bounds.unread_of(let_in) as f64 * part) as u64;
        let unread = last.unread + self.received.saturating_sub(last.received);
        let unread = unread.saturating_sub(self.taken).saturating_sub(forgotten);
        let bound = bounds.unread_of(let_in);
        // It was over it from the last round on, if it was then.
        let was_over = unread > bound && last.unread > bound;
        let over_for = if was_over { last.over_for + after } else { Duration::ZERO };
        KnownConnection { born: last.born, received: self.received, unread, let_in, over_for }
    }
}

impl ConnectionBounds {
    fn unread_of(&self, let_in: bool) -> u64 {
        if let_in {
            self.unread
        } else {
            self.stray
        }
    }
}

/// The connections over their own limit, then the largest until the rest fit the total.
fn greedy(
    mut kept: Vec<(u64, KnownConnection)>,
    bounds: ConnectionBounds,
) -> impl Iterator<Item = (u64, ConnectionExcess)> {
    kept.sort_unstable_by_key(|(_, one)| std::cmp::Reverse(one.unread));
    let mut total: u64 = kept.iter().map(|(_, one)| one.unread).sum();
    kept.into_iter().filter_map(move |(id, one)| {
        let over = one.unread > bounds.unread_of(one.let_in);
        let stays = !one.let_in && one.over_for < bounds.stray_for && one.unread <= bounds.unread;
        let own = over && !stays;
        let all = total > bounds.unread_total;
        total -= if own || all { one.unread } else { 0 };
        let excess =
            if over && !one.let_in { ConnectionExcess::Stray } else { ConnectionExcess::Unread };
        (own || all).then_some((id, excess))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(all: &[(u64, char)]) -> Vec<SeenConnection<char>> {
        all.iter()
            .map(|&(id, host)| SeenConnection { id, host, received: 0, taken: 0, let_in: false })
            .collect()
    }

    const SECOND: Duration = Duration::from_secs(1);
    const THREE: ConnectionBounds = ConnectionBounds {
        total: 3,
        per_host: 2,
        unread: 100,
        unread_total: 150,
        stray: 10,
        stray_for: SECOND,
        unread_lasts: Duration::from_secs(10),
    };

    #[test]
    fn the_newest_are_too_many_and_age_counts_from_the_first_sight() {
        let mut all = Connections::default();
        let mut look = |now: &[(u64, char)]| all.look(&seen(now), THREE, SECOND);
        assert!(look(&[(5, 'a'), (9, 'b')]).is_empty());
        let now = [(7, 'd'), (1, 'c'), (9, 'b'), (5, 'a')];
        assert_eq!(look(&now), [(7, ConnectionExcess::Total)]);
        // It is still there, and a lower id that came later is not older.
        let now = [(0, 'e'), (7, 'd'), (1, 'c'), (9, 'b'), (5, 'a')];
        assert_eq!(look(&now), [(7, ConnectionExcess::Total), (0, ConnectionExcess::Total)]);
        // One that left makes room for the oldest of those.
        assert_eq!(look(&[(0, 'e'), (7, 'd'), (1, 'c'), (9, 'b')]), [(0, ConnectionExcess::Total)]);
    }

    #[test]
    fn a_host_has_its_share_and_no_more() {
        let mut all = Connections::default();
        let now = seen(&[(1, 'a'), (2, 'a'), (3, 'a'), (4, 'b'), (5, 'c')]);
        assert_eq!(
            all.look(&now, THREE, SECOND),
            [(3, ConnectionExcess::Host), (5, ConnectionExcess::Total)]
        );
        let off = ConnectionBounds { total: 5, per_host: 0, ..THREE };
        assert!(all.look(&now, off, SECOND).is_empty());
        // An id that is given anew is a new connection only if a look lies between.
        assert!(all.look(&seen(&[]), THREE, SECOND).is_empty());
        assert!(all.look(&seen(&[(8, 'a'), (9, 'a')]), THREE, SECOND).is_empty());
        let now = seen(&[(3, 'a'), (9, 'a'), (8, 'a')]);
        assert_eq!(all.look(&now, THREE, SECOND), [(3, ConnectionExcess::Host)]);
    }

    fn sent(all: &[(u64, u64, u64)]) -> Vec<SeenConnection<u64>> {
        let one = |&(id, received, taken): &(u64, u64, u64)| SeenConnection {
            id,
            host: id,
            received,
            taken,
            let_in: true,
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn what_is_taken_does_not_count_and_what_is_given_up_is_forgotten() {
        let mut all = Connections::default();
        let none = Duration::ZERO;
        let mut look =
            |received, taken, after| all.look(&sent(&[(1, received, taken)]), THREE, after);
        // Ten a second are forgotten.
        for turn in 1..100 {
            assert!(look(turn * 1010, 1000, SECOND).is_empty(), "{turn}");
        }
        assert!(look(99 * 1010 + 100, 0, none).is_empty());
        assert_eq!(look(99 * 1010 + 101, 0, none), [(1, ConnectionExcess::Unread)]);
        assert!(look(99 * 1010 + 101, 0, SECOND).is_empty());
    }

    #[test]
    fn together_they_have_a_bound_too_and_the_greatest_goes_first() {
        let mut all = Connections::default();
        let mut look = |now: &[(u64, u64, u64)]| all.look(&sent(now), THREE, Duration::ZERO);
        assert!(look(&[(1, 70, 0), (2, 80, 0), (3, 0, 0)]).is_empty());
        assert_eq!(look(&[(1, 70, 0), (2, 80, 0), (3, 1, 0)]), [(2, ConnectionExcess::Unread)]);
        let much = [(1, 170, 0), (2, 280, 0), (3, 60, 0)];
        assert_eq!(look(&much), [(2, ConnectionExcess::Unread), (1, ConnectionExcess::Unread)]);
    }

    #[test]
    fn a_stranger_may_send_less_that_belongs_to_no_call_until_one_is_let_in() {
        let mut all = Connections::default();
        let mut look = |received, taken, let_in, after| {
            all.look(&[SeenConnection { id: 1, host: 'a', received, taken, let_in }], THREE, after)
        };
        // One a second is forgotten.
        for turn in 1..100 {
            assert!(look(turn * 101, 100, false, SECOND).is_empty(), "{turn}");
        }
        assert!(look(9999 + 10, 0, false, Duration::ZERO).is_empty());
        // It is over its limit from here on, for half a second and for a whole one.
        assert!(look(9999 + 50, 0, false, Duration::ZERO).is_empty());
        assert!(look(9999 + 50, 0, false, SECOND / 2).is_empty());
        let mut much = Connections::default();
        let one = |received| SeenConnection { id: 1, host: 'a', received, taken: 0, let_in: false };
        assert!(much.look(&[one(100)], THREE, Duration::ZERO).is_empty());
        let closed = much.look(&[one(101)], THREE, Duration::ZERO);
        assert_eq!(closed, [(1, ConnectionExcess::Stray)], "more than anybody may send");
        assert_eq!(look(9999 + 50, 0, false, SECOND / 2), [(1, ConnectionExcess::Stray)]);
        assert!(look(9999 + 100, 0, true, Duration::ZERO).is_empty());
        // It was let in once and for all.
        assert!(look(9999 + 100, 0, false, Duration::ZERO).is_empty());
        assert_eq!(look(9999 + 101, 0, false, Duration::ZERO), [(1, ConnectionExcess::Unread)]);
    }
}
