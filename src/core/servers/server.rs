//! One server: its seats and idle connections.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;
use std::time::Instant;

use super::line::CallerLine;
use super::looks::Looks;
use super::{OwnerId, SeatId, SeatState, ServerTable, BELIEVED, CLOSING};

/// One server.
#[derive(Debug, Default)]
pub(super) struct ServerEntry {
    pub(super) held: BTreeMap<OwnerId, usize>,
    pub(super) seats: usize,
    /// Connections that the server has accepted.
    pub(super) open: usize,
    pub(super) resting: BTreeMap<OwnerId, BTreeSet<(Instant, SeatId)>>,
    pub(super) leaving: usize,
    pub(super) line: CallerLine,
    /// How many seats the server has for us, and until when that holds.
    pub(super) learned: Option<(usize, Instant)>,
    /// When the connections were closed that the server may still count.
    closed: VecDeque<Instant>,
    /// When an idle connection was last closed, or chosen to be closed, for others.
    pub(super) gave_way: Option<Instant>,
    pub(super) looks: Looks,
}

impl ServerEntry {
    pub(super) fn new(now: Instant) -> ServerEntry {
        ServerEntry { looks: Looks::new(now), ..ServerEntry::default() }
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

    /// Notes that an accepted connection was closed.
    pub(super) fn closed(&mut self, now: Instant) {
        self.forget_closed(now);
        self.closed.push_back(now);
    }

    fn forget_closed(&mut self, now: Instant) {
        while self.closed.front().is_some_and(|closed| *closed + CLOSING <= now) {
            self.closed.pop_front();
        }
    }

    /// Notes that the server has no room. It has accepted the open connections and may still count
    /// those just closed; connections being opened at the same time prove nothing. `shed`: how many
    /// are closed for others; that lowers the known limit, so that the seats are not taken again at
    /// once.
    pub(super) fn learn_of_refusal(&mut self, shed: usize, now: Instant) {
        self.forget_closed(now);
        let has = self.open + self.closed.len();
        let limit = self.learned(now).map_or(has, |known| known.min(has));
        self.learned = Some((limit.saturating_sub(shed), now + BELIEVED));
    }

    /// Notes that the server has accepted one more, perhaps one that was being opened when it
    /// refused another.
    pub(super) fn learn_of_room(&mut self) {
        if let Some((limit, _)) = &mut self.learned {
            *limit += usize::from(*limit < self.open);
        }
    }

    /// False for a minute after a connection gave way: a pool that is being filled must not take
    /// the place.
    pub(super) fn may_fill(&self, now: Instant) -> bool {
        self.gave_way.is_none_or(|gave| gave + BELIEVED <= now)
    }

    /// Whether the first in line may try although the server refused: no connection of ours gives
    /// way, or not soon enough.
    pub(super) fn may_try(&self, own: Option<usize>, now: Instant) -> bool {
        let at_rest = !self.resting.is_empty() || self.leaving > 0;
        own.is_none_or(|own| self.seats < own) && self.line.may_try(at_rest, now)
    }

    /// The tenants with idle connections, those with the most first.
    pub(super) fn by_rest(&self) -> Vec<OwnerId> {
        let mut owners: Vec<OwnerId> = self.resting.keys().copied().collect();
        owners.sort_by_key(|owner| Reverse(self.resting.get(owner).map_or(0, BTreeSet::len)));
        owners
    }

    pub(super) fn resting(&self) -> usize {
        self.resting.values().map(BTreeSet::len).sum()
    }

    /// The longest idle connection of the tenant that has the most.
    fn next_to_go(&self) -> Option<(OwnerId, (Instant, SeatId))> {
        let first = |(owner, seats): (&OwnerId, &BTreeSet<(Instant, SeatId)>)| {
            Some((seats.len(), *owner, *seats.first()?))
        };
        let most = self.resting.iter().filter_map(first);
        let most = most.max_by_key(|(count, _, first)| (*count, Reverse(*first)))?;
        Some((most.1, most.2))
    }

    /// Picks the next idle connection to close.
    pub(super) fn go(&mut self) -> Option<(OwnerId, (Instant, SeatId))> {
        let (owner, seat) = self.next_to_go()?;
        self.unrest(owner, seat.1, SeatState::Resting(seat.0));
        self.leaving += 1;
        Some((owner, seat))
    }

    pub(super) fn unrest(&mut self, owner: OwnerId, seat: SeatId, state: SeatState) {
        match state {
            SeatState::Used => {}
            SeatState::Leaving(_) => self.leaving -= 1,
            SeatState::Resting(since) => {
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

/// Figures of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerFigures<A> {
    /// The server.
    pub at: A,
    /// Connections that are open, being opened or being closed.
    pub seats: usize,
    /// Connections that it has accepted and that are not closed yet.
    pub open: usize,
    /// Idle connections.
    pub resting: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// The limit of connections, as far as it is known now.
    pub limit: Option<usize>,
}

impl<A: Copy + Eq + Hash> ServerTable<A> {
    /// Figures of a server; `None` if it has neither seats nor waiting callers.
    pub fn figures_of(&self, at: A, now: Instant) -> Option<ServerFigures<A>> {
        let server = self.servers.get(&at)?;
        Some(ServerFigures {
            at,
            seats: server.seats,
            open: server.open,
            resting: server.resting() + server.leaving,
            waiting: server.line.waiting().count(),
            limit: server.limit(self.limit, now),
        })
    }

    /// False if a connection that was opened for no caller must be closed for others.
    pub fn may_keep(&self, seat: SeatId, now: Instant) -> bool {
        let server = self.seats.get(&seat).and_then(|seat| self.servers.get(&seat.at));
        server.is_some_and(|server| server.line.is_empty() && server.may_fill(now))
    }

    /// Figures of every server.
    pub fn figures(&self, now: Instant) -> Vec<ServerFigures<A>> {
        self.servers.keys().filter_map(|at| self.figures_of(*at, now)).collect()
    }
}
