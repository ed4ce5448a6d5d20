//! How a caller gets a channel, and gives it back.

use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leaks::holder;
use super::report::NOT_YET;
use super::{PoolCounts, Shared};
use crate::client::borrower::Borrower;
use crate::client::channel::Link;
use crate::client::deadline;
use crate::client::error::{Holder, PoolError};
use crate::client::lineup::{
    ChannelSeen, CheckoutOutcome, CheckoutRefusal, CheckoutWants, LentChannel, SlotId, Ticket,
};
use crate::client::options::CheckoutOptions;
use crate::client::seat::CheckoutSeat;
use crate::clock;

/// Holders that the error of a checkout names.
const NAMED: usize = 5;

/// How a checkout waits.
#[derive(Clone, Copy, Debug)]
pub(in crate::client) struct Patience {
    begun: Instant,
    pub(in crate::client) until: Instant,
    /// `until` is the deadline of a call, and not the pool's own limit.
    pub(in crate::client) is_deadline: bool,
    pub(in crate::client) wants: CheckoutWants,
}

impl Patience {
    /// Waits so long instead, but not beyond a deadline.
    pub(in crate::client) fn within(self, timeout: Duration, now: Instant) -> Patience {
        // No clock overflows after a week.
        let until = now + timeout.min(Duration::from_secs(7 * 24 * 3600));
        match self.is_deadline && self.until <= until {
            true => self,
            false => Patience { until, is_deadline: false, ..self },
        }
    }

    /// Waits until then instead, if that is earlier.
    pub(in crate::client) fn by(self, deadline: Option<Instant>) -> Patience {
        match deadline.filter(|deadline| *deadline < self.until) {
            Some(until) => Patience { until, is_deadline: true, ..self },
            None => self,
        }
    }

    /// Waits as the options say.
    pub(in crate::client) fn with(self, options: &CheckoutOptions, now: Instant) -> Patience {
        let mut patience = self;
        if let Some(timeout) = options.timeout {
            patience = patience.within(timeout, now);
        }
        patience.wants.wait_for_ready |= options.wait_for_ready;
        patience.wants.exclusive = options.exclusive;
        patience.by(options.deadline)
    }
}

impl Shared {
    /// How long a checkout waits that has no deadline.
    pub(in crate::client) fn patience(
        &self,
        at: &'static Location<'static>,
        now: Instant,
    ) -> Patience {
        let config = self.config();
        let wait_for_ready = config.call.wait_for_ready;
        let until = now + config.pool.checkout_timeout;
        let wants = CheckoutWants {
            wait_for_ready,
            by: Some(Borrower::here(at)),
            ..CheckoutWants::default()
        };
        match deadline::current().filter(|deadline| *deadline < until) {
            Some(until) => Patience { begun: now, until, is_deadline: true, wants },
            None => Patience { begun: now, until, is_deadline: false, wants },
        }
    }

    /// Lends a channel if one is free and nobody waits for it.
    pub(in crate::client) fn spare(
        &self,
        patience: Patience,
    ) -> Option<(LentChannel<Arc<Link>>, Instant)> {
        let now = patience.begun;
        loop {
            let wants = self.chosen(patience.wants, now);
            let lent = self.lock().spare(wants, self.dice.roll(), now)?;
            if lent.channel.is_ready() {
                self.reporter.lent(Duration::ZERO, self.dice.roll());
                return Some((lent, now));
            }
            self.is_lost(&lent, clock::now());
        }
    }

    /// Lends a connected channel, waiting for one if need be. Also says when it was lent.
    pub(in crate::client) fn checkout(
        &self,
        patience: Patience,
    ) -> Result<(LentChannel<Arc<Link>>, Instant), PoolError> {
        let begun = patience.begun;
        match self.lend(patience, begun) {
            Ok((lent, now)) => {
                let waited = now.saturating_duration_since(begun);
                self.reporter.lent(waited, self.dice.roll());
                Ok((lent, now))
            }
            Err(error) => {
                self.reporter.not_lent(&error, clock::now());
                Err(error)
            }
        }
    }

    /// Also says when it was lent.
    fn lend(
        &self,
        patience: Patience,
        begun: Instant,
    ) -> Result<(LentChannel<Arc<Link>>, Instant), PoolError> {
        let (mut seat, mut ticket, mut now) = (None::<Arc<CheckoutSeat>>, None::<Ticket>, begun);
        loop {
            let chance = self.dice.roll();
            let who = || Arc::clone(seat.get_or_insert_with(Arc::default));
            let wants = self.chosen(patience.wants, now);
            let asked = self.lock().checkout(ticket, who, wants, chance, now);
            let answer = match (asked, &seat) {
                (CheckoutOutcome::Lent(lent), _) => Ok(lent),
                (CheckoutOutcome::Refused(refusal), _) => Err(refusal),
                (CheckoutOutcome::Wait(place), Some(seat)) => {
                    if self.dialer.runtime().is_own_thread() {
                        self.leave(place, seat);
                        return Err(PoolError::OnGrpcThread);
                    }
                    ticket = Some(place);
                    if self.config().pool.min_size.is_some() {
                        // There may be more to dial.
                        self.bell.ring();
                    }
                    match seat.wait(patience.until) {
                        Some(answer) => answer,
                        None => {
                            self.leave(place, seat);
                            return Err(self.late(patience, begun));
                        }
                    }
                }
                // Whoever waits was asked for its seat.
                (CheckoutOutcome::Wait(place), None) => {
                    self.lock().leave(place);
                    return Err(self.late(patience, begun));
                }
            };
            // A clock is read after a wait only: it takes as long as all the rest.
            if ticket.is_some() {
                now = clock::now();
            }
            match answer {
                Ok(lent) if lent.channel.is_ready() => return Ok((lent, now)),
                Ok(lent) => {
                    now = clock::now();
                    self.is_lost(&lent, now);
                }
                Err(refusal) => return Err(self.refused(refusal, now)),
            }
            if now >= patience.until {
                return Err(self.late(patience, begun));
            }
        }
    }

    /// Leaves the line; what was granted meanwhile goes back.
    fn leave(&self, ticket: Ticket, seat: &CheckoutSeat) {
        if self.lock().leave(ticket) {
            return;
        }
        if let Ok(lent) = seat.expect() {
            self.give_back(lent.slot, false);
        }
    }

    /// A channel that was lent is not connected: it goes back, and is no longer ready.
    fn is_lost(&self, lent: &LentChannel<Arc<Link>>, now: Instant) {
        let (news, lost) = self.lock().seen(lent.slot, ChannelSeen::Lost, self.dice.roll(), now);
        if news {
            self.tell(&lent.channel, &ChannelSeen::Lost, None);
        }
        let back = self.lock().give_back(lent.slot, false, self.dice.roll(), now);
        self.act(lost);
        self.act(back);
        self.bell.ring();
    }

    /// Lends a channel once more to whoever has it.
    pub(in crate::client) fn share(&self, slot: SlotId) {
        self.lock().share(slot);
    }

    pub(in crate::client) fn give_back(&self, slot: SlotId, broken: bool) {
        let duty = self.lock().give_back(slot, broken, self.dice.roll(), clock::now());
        self.act(duty);
        if broken {
            self.bell.ring();
        }
        if self.closed.load(Ordering::Acquire) {
            self.tell_change();
        }
    }

    fn late(&self, patience: Patience, begun: Instant) -> PoolError {
        let service = self.service.clone();
        let (now, last_error) = (clock::now(), self.last_error());
        if patience.is_deadline {
            return PoolError::DeadlineExceeded { service, last_error };
        }
        let loans = self.lock().views().into_iter().filter_map(|view| view.loan);
        let mut holders: Vec<Holder> = loans.filter_map(|loan| holder(&loan, now)).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held));
        holders.truncate(NAMED);
        let waited = now.saturating_duration_since(begun);
        PoolError::CheckoutTimeout { service, waited, holders, last_error }
    }

    fn refused(&self, refusal: CheckoutRefusal, now: Instant) -> PoolError {
        let service = self.service.clone();
        match refusal {
            CheckoutRefusal::Closed => PoolError::Closed { service },
            CheckoutRefusal::TooManyWaiters => {
                PoolError::TooManyWaiters { service, limit: self.config().pool.max_waiters }
            }
            CheckoutRefusal::NotConnected(down) => {
                let next = self.lock().next_dial();
                PoolError::NotConnected {
                    service,
                    last_error: down.error,
                    down_for: now.saturating_duration_since(down.since),
                    next_try: next.unwrap_or(now).saturating_duration_since(now),
                }
            }
        }
    }

    /// Why it has fewer connections than somebody has waited for.
    pub(in crate::client) fn not_ready(&self, waited: Duration) -> PoolError {
        let (service, counts) = (self.service.clone(), self.counts());
        let PoolCounts { ready, wanted, last_error, .. } = counts;
        if ready > 0 {
            return PoolError::NotReady { service, connected: ready, wanted, waited, last_error };
        }
        let now = clock::now();
        let (since, next) = {
            let line = self.lock();
            (line.down().map(|down| down.since), line.next_dial())
        };
        PoolError::NotConnected {
            service,
            last_error: last_error.unwrap_or_else(|| NOT_YET.to_owned()),
            // The first attempt may not have ended: it is so for at least as long.
            down_for: since.map_or(waited, |since| now.saturating_duration_since(since)),
            next_try: next.unwrap_or(now).saturating_duration_since(now),
        }
    }
}
