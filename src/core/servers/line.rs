//! The callers that wait for a seat at one server.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::{OwnerId, SeatId, SeatState, ServerTable};
use crate::core::backoff;

/// Pauses between attempts at a full server: for each one PostgreSQL starts a process, only to
/// refuse.
const TRY_MIN: Duration = Duration::from_millis(20);
const TRY_MAX: Duration = Duration::from_millis(250);

/// A place in line: first come, first served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineTicket {
    arrived: Instant,
    number: u64,
}

impl LineTicket {
    pub(super) fn new(arrived: Instant, number: u64) -> LineTicket {
        LineTicket { arrived, number }
    }
}

/// The state of a caller in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineStep {
    /// Exits: `Called`, or `Trying` if it asks in time of its own accord.
    Waiting,
    /// It was called to ask again. Exits: `Trying`, or `Waiting` if another was quicker.
    Called,
    /// It has a seat and is connecting. Exits: it leaves the line, or `Waiting`.
    Trying,
}

#[derive(Debug)]
pub(super) struct Wait {
    pub(super) owner: OwnerId,
    pub(super) since: Instant,
    step: LineStep,
}

#[derive(Debug, Default)]
pub(super) struct CallerLine {
    waits: BTreeMap<LineTicket, Wait>,
    /// Refusals in a row, and when to try again.
    tries: u32,
    next_try: Option<Instant>,
    /// When the line will be served next.
    alarm: Option<Instant>,
}

/// What must be done at a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Todo {
    /// Callers that may ask again.
    pub call: Vec<(OwnerId, LineTicket)>,
    /// Connections to close.
    pub give_way: Vec<(OwnerId, SeatId)>,
    /// When to call again, unless an earlier call has returned it.
    pub due: Option<Instant>,
}

impl CallerLine {
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// The callers without a seat, the first in line first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&LineTicket, &Wait)> {
        self.waits.iter().filter(|(_, wait)| wait.step != LineStep::Trying)
    }

    /// How many callers are ahead of this ticket, or of a new caller.
    pub(super) fn ahead_of(&self, ticket: Option<LineTicket>) -> usize {
        self.waiting().take_while(|(other, _)| ticket.is_none_or(|own| **other < own)).count()
    }

    pub(super) fn stand(&mut self, ticket: LineTicket, owner: OwnerId, now: Instant) {
        let wait = Wait { owner, since: now, step: LineStep::Waiting };
        self.waits.entry(ticket).or_insert(wait).step = LineStep::Waiting;
    }

    pub(super) fn set(&mut self, ticket: LineTicket, step: LineStep) {
        if let Some(wait) = self.waits.get_mut(&ticket) {
            wait.step = step;
        }
    }

    /// Ends the pause, because there was room just now.
    pub(super) fn has_room(&mut self) {
        (self.tries, self.next_try) = (0, None);
    }

    pub(super) fn turned_away(&mut self, now: Instant) {
        self.next_try = Some(now + backoff::delay(self.tries, TRY_MIN, TRY_MAX, 2.0, 0.0));
        self.tries = self.tries.saturating_add(1);
    }

    /// False in the pause after a refusal.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.next_try.is_none_or(|next| next <= now)
    }

    /// An idle connection may give way, which is better than an attempt that fails; but only for a
    /// while.
    pub(super) fn may_try(&self, at_rest: bool, now: Instant) -> bool {
        let front = self.waiting().next().map_or(now, |(_, wait)| wait.since);
        self.is_ready(now) && (!at_rest || front + TRY_MAX <= now)
    }

    fn due(&mut self, now: Instant) -> Option<Instant> {
        self.waiting().next()?;
        let due = self.next_try.filter(|next| *next > now).unwrap_or(now + TRY_MAX);
        let set = self.alarm.is_some_and(|alarm| alarm > now && alarm <= due);
        if !set {
            self.alarm = Some(due);
        }
        (!set).then_some(due)
    }
}

impl<A: Copy + Eq + Hash> ServerTable<A> {
    /// Removes a caller from the line, served or not. Returns the servers at which it waited.
    pub fn leave(&mut self, ticket: LineTicket) -> Vec<A> {
        let places = self.tickets.remove(&ticket).unwrap_or_default();
        for at in &places {
            if let Some(server) = self.servers.get_mut(at) {
                server.line.waits.remove(&ticket);
            }
            self.tidy(*at);
        }
        places
    }

    /// True if it may ask again.
    pub fn is_called(&self, ticket: LineTicket) -> bool {
        let called = |at: &A| {
            let wait = self.servers.get(at).and_then(|server| server.line.waits.get(&ticket));
            wait.is_some_and(|wait| wait.step == LineStep::Called)
        };
        self.tickets.get(&ticket).is_some_and(|places| places.iter().any(called))
    }

    /// What must be done at a server after a change there.
    pub fn settle(&mut self, at: A, now: Instant) -> Todo {
        let Some(server) = self.servers.get_mut(&at) else { return Todo::default() };
        let room = server.room(self.limit, now);
        let may_try = usize::from(server.may_try(self.limit, now));
        let ready = if server.line.is_ready(now) { room.max(may_try) } else { 0 };
        let waiting = server.line.waiting().count();
        let need = waiting.saturating_sub(room).saturating_sub(server.leaving);
        let mut todo = Todo { call: server.line.call(ready), ..Todo::default() };
        for _ in 0..need + server.looks.shed() {
            let Some((owner, seat)) = server.go() else { break };
            todo.give_way.push((owner, seat.1));
            server.gave_way = Some(now);
            if let Some(found) = self.seats.get_mut(&seat.1) {
                found.state = SeatState::Leaving(seat.0);
            }
        }
        todo.due = server.line.due(now);
        todo
    }

    /// For each tenant: since when it has waited for a seat, and how many of its requests wait.
    pub fn waiting(&self) -> BTreeMap<OwnerId, (A, Instant, usize)> {
        let mut all = BTreeMap::new();
        for (at, server) in &self.servers {
            for wait in server.line.waits.values() {
                let (_, since, count) = all.entry(wait.owner).or_insert((*at, wait.since, 0));
                (*since, *count) = (wait.since.min(*since), *count + 1);
            }
        }
        all
    }
}

impl CallerLine {
    fn call(&mut self, count: usize) -> Vec<(OwnerId, LineTicket)> {
        let waiting = self.waits.iter_mut().filter(|(_, wait)| wait.step != LineStep::Trying);
        let mut called = Vec::new();
        for (ticket, wait) in waiting.take(count) {
            if wait.step == LineStep::Waiting {
                wait.step = LineStep::Called;
                called.push((wait.owner, *ticket));
            }
        }
        called
    }
}
