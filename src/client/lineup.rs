//! Which channels a pool has, who is lent one, who waits, and when to dial.
//!
//! Architecture Invariant: pure. The present comes in as `now`, what is to be done comes out as
//! a [`Duty`]; the pool around it holds the lock, and the keeper dials.

mod check;
mod demand;
mod duty;
mod ejection;
mod lend;
mod place;
mod renewal;
mod share;
mod sites;
mod size;
mod upkeep;
mod view;
mod word;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::balance::Balance;
use super::borrower::Borrower;
use super::outlier::OutlierConfig;
use check::Check;
use demand::Demand;
use place::Place;

pub use check::{Checks, HealthChange, ProbeOutcome};
pub use duty::{ChannelLoan, CheckoutOutcome, CheckoutRefusal, Duty, LentChannel, Reason};
pub use ejection::Ejection;
pub use lend::Free;
pub use place::{Down, Pauses};
pub use sites::{LookUps, Site};
pub use upkeep::ChannelSeen;
pub use view::ChannelView;
pub use word::Word;

/// The channels of one pool, and those who wait for one.
///
/// `C` is a channel, cheap to clone; `W` receives the outcome of a waiter.
///
/// States of a slot and their exits: *connecting*, exit to *ready* when connected, gone when
/// that failed or took too long. *Ready*, lent to at most `calls_per_channel` at a time; exit to
/// *connecting* when the connection is lost, to *draining* when there are too many, it is
/// broken, or does not answer. A ready one whose server says that it does not serve is *sick*:
/// not lent until it serves. *Draining*, not lent any more; gone when it is not lent to anybody. One that is lent
/// is never dropped, because a call that waits on a dropped channel hangs.
///
/// Invariants: nobody is passed over by a later one; a waiter comes out once (granted, refused,
/// or left); lent and free together are what the ready slots can take.
#[derive(Debug)]
pub struct Lineup<C, W> {
    settings: LineupSettings,
    slots: Vec<LineupSlot<C>>,
    demand: Demand,
    places: Vec<Place>,
    look_ups: LookUps,
    /// Tickets only grow, so their order is that of arrival.
    waiters: BTreeMap<Ticket, Waiter<W>>,
    next_slot: u64,
    next_ticket: u64,
    /// Where round robin goes on.
    turn: usize,
    closed: bool,
    /// Any number below 1024, by which ages are shorter.
    jitter: u64,
}

/// The numbers of a lineup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineupSettings {
    /// So many channels at most.
    pub size: usize,
    /// So many at least; more while more are needed. `None`: always as many as there may be.
    pub least: Option<usize>,
    /// One that was not needed for so long goes.
    pub idle: Duration,
    /// Each lent to at most so many at a time.
    pub calls_per_channel: usize,
    /// At most so many wait.
    pub max_waiters: usize,
    /// One attempt to connect takes at most so long.
    pub connect_timeout: Duration,
    /// When an address is taken out; `None`: never.
    pub outlier: Option<OutlierConfig>,
    /// Between attempts.
    pub pauses: Pauses,
    /// Which of the free channels is lent.
    pub balance: Balance,
    /// When they are probed.
    pub checks: Checks,
    /// They are replaced when they are so old.
    pub max_age: Option<Duration>,
}

/// The name of a slot; never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(u64);

#[cfg(test)]
impl SlotId {
    /// Any slot.
    pub fn of(number: u64) -> SlotId {
        SlotId(number)
    }
}

/// A place in the line; never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What somebody wants who asks for a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckoutWants {
    /// Waits even if nothing is connected or being connected.
    pub wait_for_ready: bool,
    /// Another address than this one, if one is free.
    pub avoid: Option<usize>,
    /// One that nobody else has, until it comes back.
    pub exclusive: bool,
    /// This channel, if it is still free.
    pub prefer: Option<SlotId>,
    /// Who asks, if that was said.
    pub by: Option<Borrower>,
}

#[derive(Debug)]
struct Waiter<W> {
    who: W,
    wants: CheckoutWants,
}

#[derive(Debug)]
struct LineupSlot<C> {
    id: SlotId,
    address: usize,
    /// `None` while it is being made.
    channel: Option<C>,
    phase: Phase,
    lent: usize,
    /// Whoever has it wants it alone.
    alone: bool,
    /// How often it was lent.
    served: u64,
    /// The last loan that began while nobody else had it.
    loan: Option<ChannelLoan>,
    check: Check,
    /// It is replaced, for this reason, as soon as another stands.
    stale: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting { until: Instant },
    Ready { since: Instant },
    Draining(Reason),
}

impl<C: Clone, W> Lineup<C, W> {
    /// A lineup without addresses.
    pub fn new(settings: LineupSettings, now: Instant) -> Self {
        let mut lineup = Lineup {
            settings,
            slots: Vec::new(),
            demand: Demand::default(),
            places: Vec::new(),
            look_ups: LookUps::default(),
            waiters: BTreeMap::new(),
            next_slot: 0,
            next_ticket: 0,
            turn: 0,
            closed: false,
            jitter: 0,
        };
        lineup.demand.bound(lineup.least(), settings.size, now);
        lineup
    }

    /// Lends a channel, or lets `who` wait for one.
    ///
    /// Whoever was granted a channel that turned out to be dead comes again with its `ticket`,
    /// and has its place back. `chance` is any number, for choices by chance.
    pub fn checkout(
        &mut self,
        ticket: Option<Ticket>,
        who: impl FnOnce() -> W,
        wants: CheckoutWants,
        chance: u64,
        now: Instant,
    ) -> CheckoutOutcome<C> {
        if self.closed {
            return CheckoutOutcome::Refused(CheckoutRefusal::Closed);
        }
        let is_first = match (self.waiters.keys().next(), ticket) {
            (None, _) => true,
            (Some(first), Some(own)) => own < *first,
            (Some(_), None) => false,
        };
        if let Some(lent) = is_first.then(|| self.lend(wants, chance, now)).flatten() {
            return CheckoutOutcome::Lent(lent);
        }
        if let Some(down) = self.hopeless(now).filter(|_| !wants.wait_for_ready) {
            return CheckoutOutcome::Refused(CheckoutRefusal::NotConnected(down));
        }
        if self.waiters.len() >= self.settings.max_waiters {
            return CheckoutOutcome::Refused(CheckoutRefusal::TooManyWaiters);
        }
        let ticket = ticket.unwrap_or_else(|| {
            self.next_ticket += 1;
            Ticket(self.next_ticket)
        });
        let wants = CheckoutWants { prefer: None, ..wants };
        self.waiters.insert(ticket, Waiter { who: who(), wants });
        self.grow(now);
        CheckoutOutcome::Wait(ticket)
    }

    /// Takes a waiter out of the line. False if it was answered before.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.waiters.remove(&ticket).is_some()
    }

    /// Takes a channel back. One that is `broken` is not lent again.
    pub fn give_back(
        &mut self,
        slot: SlotId,
        broken: bool,
        chance: u64,
        now: Instant,
    ) -> Duty<C, W> {
        let mut duty = Duty::default();
        let Some(index) = self.index(slot) else {
            return duty;
        };
        let load = self.load();
        let slot = &mut self.slots[index];
        slot.lent = slot.lent.saturating_sub(1);
        slot.alone &= slot.lent > 0;
        slot.check.used(now);
        self.ended(load, now);
        if broken && !matches!(self.slots[index].phase, Phase::Draining(_)) {
            self.slots[index].phase = Phase::Draining(Reason::Broken);
        }
        self.settle(index, &mut duty);
        self.serve(&mut duty, chance, now);
        self.despair(&mut duty, now);
        duty
    }

    /// Ends the lending: waiters are refused, channels go when they are not lent.
    pub fn close(&mut self) -> Duty<C, W> {
        let mut duty = Duty::default();
        self.closed = true;
        let waiters = std::mem::take(&mut self.waiters).into_values();
        duty.refused.extend(waiters.map(|waiter| (waiter.who, CheckoutRefusal::Closed)));
        for index in (0..self.slots.len()).rev() {
            self.slots[index].phase = Phase::Draining(Reason::Stopped);
            self.settle(index, &mut duty);
        }
        duty
    }

    /// Slots that are not on their way out.
    fn live(&self) -> usize {
        let stays = |slot: &&LineupSlot<C>| {
            slot.stale.is_none() && !matches!(slot.phase, Phase::Draining(_))
        };
        self.slots.iter().filter(stays).count()
    }

    fn index(&self, id: SlotId) -> Option<usize> {
        // They are made in the order of their ids, and keep it.
        self.slots.binary_search_by_key(&id, |slot| slot.id).ok()
    }

    /// Lets a draining slot go that nobody has any more.
    fn settle(&mut self, index: usize, duty: &mut Duty<C, W>) {
        let LineupSlot { phase: Phase::Draining(reason), lent: 0, .. } = self.slots[index] else {
            return;
        };
        let slot = self.slots.remove(index);
        duty.dropped.extend(slot.channel.map(|channel| (channel, reason)));
    }
}

#[cfg(test)]
mod tests;
