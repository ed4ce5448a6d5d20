//! Checks whether a server still has room, for the sake of clients other than this service.
//!
//! Another service, or another instance of this one, cannot tell us that it waits. So a tenant with
//! idle connections checks from time to time whether one more could be opened. If not, one of them
//! is closed, then two, and so on, until it can: the last seats of a server are never filled with
//! idle connections.

use std::hash::Hash;
use std::time::{Duration, Instant};

use super::{OwnerId, SeatId, ServerTable};

/// How often a server is checked. Half of a client's default wait would be 15 s.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often while it is thought to be full, as others may need room there.
pub const LOOK_OFTEN: Duration = Duration::from_secs(2);
/// The pause after a refusal: others that wait have tried a few times by then.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Looks {
    /// When it was last checked. Other connections that were accepted prove nothing: one of ours
    /// may have been closed for them.
    heard: Option<Instant>,
    full: bool,
    /// How many were closed after the last refusal.
    gone: usize,
    /// How many must be closed now.
    shed: usize,
}

impl Looks {
    pub(super) fn new(now: Instant) -> Looks {
        Looks { heard: Some(now), ..Looks::default() }
    }

    /// An accepted connection may have hit a moment in which a place was free, so the next refusal
    /// does not start at one again.
    pub(super) fn let_in(&mut self, now: Instant) {
        *self = Looks { gone: self.gone / 2, ..Looks::new(now) };
    }

    /// Returns how many idle connections must be closed.
    pub(super) fn turned_away(&mut self, looked: bool, resting: usize, now: Instant) -> usize {
        self.full = true;
        if !looked {
            return 0;
        }
        self.heard = Some(now);
        self.gone = (self.gone * 2).max(1).min(resting);
        self.shed = self.gone;
        self.shed
    }

    pub(super) fn shed(&mut self) -> usize {
        std::mem::take(&mut self.shed)
    }
}

impl<A: Copy + Eq + Hash> ServerTable<A> {
    /// The servers to check now, each with the tenants that have idle connections there, those with
    /// the most first; and when to call again.
    pub fn look(&mut self, now: Instant) -> (Vec<(A, Vec<OwnerId>)>, Option<Instant>) {
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for (at, server) in &mut self.servers {
            // Idle connections are for our own waiting callers, and our own limit must not be
            // exceeded.
            let at_limit = self.limit.is_some_and(|own| server.seats >= own);
            if server.resting() <= server.line.waiting().count() || at_limit {
                continue;
            }
            let pause = match server.learned(now) {
                _ if server.looks.full => LOOK_AGAIN,
                Some(_) => LOOK_OFTEN,
                None => LOOK_EVERY,
            };
            let mut when = server.looks.heard.unwrap_or(now) + pause;
            if when <= now {
                server.looks.heard = Some(now);
                due.push((*at, server.by_rest()));
                when = now + pause;
            }
            next = Some(next.map_or(when, |next| next.min(when)));
        }
        (due, next)
    }

    /// The tenant's connection that has been idle longest there.
    pub fn rested_longest(&self, owner: OwnerId, at: A) -> Option<SeatId> {
        let resting = self.servers.get(&at)?.resting.get(&owner)?;
        resting.first().map(|(_, seat)| *seat)
    }

    /// An idle connection was closed there instead of a check. The check follows soon, when others
    /// have had time to take its seat.
    pub fn look_soon(&mut self, at: A, now: Instant) {
        if let Some(server) = self.servers.get_mut(&at) {
            server.looks.full = true;
            server.gave_way = Some(now);
        }
    }
}
