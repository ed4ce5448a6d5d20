//! Whether a server still lets anybody in, for the sake of those who are not ours.
//!
//! Another service, or another instance of this one, does not tell us that it waits. So
//! whoever has connections at rest looks from time to time whether one more could be had.
//! If not, one of them goes, then two, and so on, until it can: the last seats of a server
//! are never filled with connections that nobody uses.

use std::hash::Hash;
use std::time::{Duration, Instant};

use super::{OwnerId, SeatId, Servers};

/// A server is looked at so often. Half of the shortest wait
/// that a client asks for by default would be 15 s.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);
/// While it is believed to be full, as others may be there who need it,
pub const LOOK_OFTEN: Duration = Duration::from_secs(2);
/// and so long after a refusal: others who wait have tried a few times by then.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Looks {
    /// When it was looked at last. What else was let in says nothing: for a caller something
    /// of ours may have given way.
    heard: Option<Instant>,
    full: bool,
    /// How many went at the last refusal.
    gone: usize,
    /// How many are to go now.
    shed: usize,
}

impl Looks {
    pub(super) fn new(now: Instant) -> Looks {
        Looks { heard: Some(now), ..Looks::default() }
    }

    /// What was let in may have met a moment in which a place was free: the next refusal
    /// does not begin at one again.
    pub(super) fn let_in(&mut self, now: Instant) {
        *self = Looks { gone: self.gone / 2, ..Looks::new(now) };
    }

    /// Returns how many of those at rest are to go for it.
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

impl<A: Copy + Eq + Hash> Servers<A> {
    /// The servers that are to be looked at now, each with the tenants that have
    /// connections at rest there, who has most of them first; and when to ask again.
    pub fn look(&mut self, now: Instant) -> (Vec<(A, Vec<OwnerId>)>, Option<Instant>) {
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for (at, server) in &mut self.servers {
            // What rests is for those of ours who wait; a limit of our own is not ours to pass.
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

    /// What has rested there longest of a tenant's.
    pub fn rested_longest(&self, owner: OwnerId, at: A) -> Option<SeatId> {
        let resting = self.servers.get(&at)?.resting.get(&owner)?;
        resting.first().map(|(_, seat)| *seat)
    }

    /// Instead of a look one at rest there was closed. The look is made soon, when others
    /// have had the time to take its seat.
    pub fn look_soon(&mut self, at: A, now: Instant) {
        if let Some(server) = self.servers.get_mut(&at) {
            server.looks.full = true;
            server.gave_way = Some(now);
        }
    }
}
