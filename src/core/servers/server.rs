//! One server: its seats, and what rests there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::time::Instant;

use super::line::Line;
use super::looks::Looks;
use super::{OwnerId, SeatId, Servers, State, BELIEVED};

/// One server.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) held: BTreeMap<OwnerId, usize>,
    pub(super) seats: usize,
    pub(super) resting: BTreeMap<OwnerId, BTreeSet<(Instant, SeatId)>>,
    pub(super) leaving: usize,
    pub(super) line: Line,
    /// How many seats there are for us, and until when that is believed.
    pub(super) learned: Option<(usize, Instant)>,
    /// When a seat was given back last.
    pub(super) freed: Option<Instant>,
    /// When something at rest went last, or was to go, for others' sake.
    pub(super) gave_way: Option<Instant>,
    pub(super) looks: Looks,
}

impl Server {
    pub(super) fn new(now: Instant) -> Server {
        Server { looks: Looks::new(now), ..Server::default() }
    }

    pub(super) fn learned(&self, now: Instant) -> Option<usize> {
        self.learned.filter(|(_, until)| now < *until).map(|(limit, _)| limit)
    }

    pub(super) fn limit(&self, own: Option<usize>, now: Instant) -> Option<usize> {
        own.into_iter().chain(self.learned(now)).min()
    }

    pub(super) fn room(&self, own: Option<usize>, now: Instant) -> usize {
        self.limit(own, now).map_or(usize::MAX, |limit| limit.saturating_sub(self.seats))
    }

    /// False for a minute after something gave way: a pool that took its place would hold it
    /// against whom it was for.
    pub(super) fn may_fill(&self, now: Instant) -> bool {
        self.gave_way.is_none_or(|gave| gave + BELIEVED <= now)
    }

    /// Whoever stands in front may try although the server said that it is full: nothing
    /// of ours gives way, or does so too slowly.
    pub(super) fn may_try(&self, own: Option<usize>, now: Instant) -> bool {
        let at_rest = !self.resting.is_empty() || self.leaving > 0;
        own.is_none_or(|own| self.seats < own) && self.line.may_try(at_rest, now)
    }

    /// The tenants that have some at rest, who has most of them first.
    pub(super) fn by_rest(&self) -> Vec<OwnerId> {
        let mut owners: Vec<OwnerId> = self.resting.keys().copied().collect();
        owners.sort_by_key(|owner| Reverse(self.resting.get(owner).map_or(0, BTreeSet::len)));
        owners
    }

    pub(super) fn resting(&self) -> usize {
        self.resting.values().map(BTreeSet::len).sum()
    }

    /// What rests longest of whoever has most at rest.
    pub(super) fn next_to_go(&self) -> Option<(OwnerId, (Instant, SeatId))> {
        let first = |(owner, seats): (&OwnerId, &BTreeSet<(Instant, SeatId)>)| {
            Some((seats.len(), *owner, *seats.first()?))
        };
        let most = self.resting.iter().filter_map(first);
        let most = most.max_by_key(|(count, _, first)| (*count, Reverse(*first)))?;
        Some((most.1, most.2))
    }

    pub(super) fn unrest(&mut self, owner: OwnerId, seat: SeatId, state: State) {
        match state {
            State::Used => {}
            State::Leaving(_) => self.leaving -= 1,
            State::Resting(since) => {
                if let Some(own) = self.resting.get_mut(&owner) {
                    own.remove(&(since, seat));
                    if own.is_empty() {
                        self.resting.remove(&owner);
                    }
                }
            }
        }
    }

    pub(super) fn held_by(&self, owner: OwnerId) -> usize {
        self.held.get(&owner).copied().unwrap_or(0)
    }
}

/// A server in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures<A> {
    /// The server.
    pub at: A,
    /// Connections that are open, being opened or being closed.
    pub seats: usize,
    /// Those at rest.
    pub resting: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// How many connections there may be by what is known now.
    pub limit: Option<usize>,
}

impl<A: Copy + Eq + Hash> Servers<A> {
    /// A server in numbers, if anybody has to do with it.
    pub fn figures_of(&self, at: A, now: Instant) -> Option<Figures<A>> {
        let server = self.servers.get(&at)?;
        Some(Figures {
            at,
            seats: server.seats,
            resting: server.resting() + server.leaving,
            waiting: server.line.waiting().count(),
            limit: server.limit(self.limit, now),
        })
    }

    /// False if what was opened for nobody is to be closed, for the sake of others.
    pub fn may_keep(&self, seat: SeatId, now: Instant) -> bool {
        let server = self.seats.get(&seat).and_then(|seat| self.servers.get(&seat.at));
        server.is_some_and(|server| server.line.is_empty() && server.may_fill(now))
    }

    /// Every server, in numbers.
    pub fn figures(&self, now: Instant) -> Vec<Figures<A>> {
        self.servers.keys().filter_map(|at| self.figures_of(*at, now)).collect()
    }
}
