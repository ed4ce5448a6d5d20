//! The table again, as a model that knows no index.

use super::*;

/// A lease as the model knows it.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) n: u32,
    pub(super) terms: Terms,
    pub(super) granted_at: Instant,
    pub(super) used_at: Instant,
    pub(super) ttl_from: Instant,
    pub(super) transaction: TransactionState,
    pub(super) since: Option<Instant>,
    pub(super) busy: bool,
    pub(super) ending: Option<EndReason>,
    pub(super) overdue: bool,
}

impl Known {
    /// The end of the idle lease, its reason, if `now` is not before it.
    pub(super) fn over(&self, now: Instant) -> Option<(Instant, EndReason)> {
        let mut end = (self.granted_at + self.terms.max_lifetime, EndReason::MaxLifetime);
        let transaction_end = self.used_at + self.terms.idle_in_transaction;
        if self.transaction != TransactionState::None && transaction_end < end.0 {
            end = (transaction_end, EndReason::IdleInTransaction);
        }
        let ttl_end = self.ttl_from + self.terms.ttl;
        if ttl_end < end.0 {
            end = (ttl_end, EndReason::Ttl);
        }
        (!self.busy && end.0 <= now).then_some(end)
    }

    pub(super) fn outlived(&self, now: Instant) -> bool {
        self.granted_at + self.terms.max_lifetime <= now
    }

    pub(super) fn view(&self, now: Instant) -> LeaseView {
        let left = |clock: Duration, from: Instant| (from + clock).saturating_duration_since(now);
        LeaseView {
            facts: facts(self.n).into(),
            state: if self.busy { LeaseState::Busy } else { LeaseState::Idle },
            transaction: self.transaction,
            ttl: self.terms.ttl,
            idle_in_transaction: self.terms.idle_in_transaction,
            ttl_remaining: match self.busy {
                true => self.terms.ttl,
                false => left(self.terms.ttl, self.ttl_from),
            },
            lifetime_remaining: left(self.terms.max_lifetime, self.granted_at),
            granted_at: self.granted_at,
            last_used_at: self.used_at,
            transaction_since: self.since,
            last_command: String::new(),
        }
    }
}

/// The table again: lists, searched from end to end.
pub(super) struct Model {
    pub(super) max_tombstones: usize,
    pub(super) age: Duration,
    pub(super) live: Vec<Known>,
    pub(super) graves: Vec<Tombstone>,
    /// Checkouts that came out for good.
    pub(super) out: BTreeSet<u32>,
}

impl Model {
    /// The index of a lease that is not over, or the answer for its id.
    pub(super) fn find(&self, n: u32, now: Instant) -> Result<usize, Denied> {
        if let Some(index) = self.live.iter().position(|known| known.n == n) {
            return match self.live[index].over(now) {
                Some((at, reason)) => Err(ended(n, reason, at)),
                None => Ok(index),
            };
        }
        let remembered = self.graves.iter().rev().take(self.max_tombstones);
        let name = format!("lease-{n}");
        let mut remembered = remembered.filter(|grave| now <= grave.ended_at + self.age);
        match remembered.find(|grave| grave.lease_name == name) {
            Some(grave) => Err(Denied::Ended(grave.clone())),
            None => Err(Denied::NotFound),
        }
    }

    pub(super) fn bury(&mut self, index: usize, reason: EndReason, at: Instant) -> Known {
        let known = self.live.remove(index);
        self.graves.push(tombstone(known.n, reason, at));
        assert!(self.out.insert(known.n), "checkout {} came out twice", known.n);
        known
    }

    /// What `due` has to return, as (lease, reason) with no reason for an overdue one.
    pub(super) fn due(&mut self, now: Instant, limit: usize) -> Vec<(u32, Option<EndReason>)> {
        let mut due: Vec<(Instant, u32, Option<EndReason>)> = Vec::new();
        for known in &self.live {
            if let Some((at, reason)) = known.over(now) {
                due.push((at, known.n, Some(reason)));
            } else if known.busy && known.outlived(now) && !known.overdue {
                due.push((known.granted_at + known.terms.max_lifetime, known.n, None));
            }
        }
        due.sort_by_key(|(at, n, _)| (*at, *n));
        due.truncate(limit);
        for (at, n, reason) in &due {
            let index = self.live.iter().position(|known| known.n == *n).unwrap();
            match reason {
                Some(reason) => drop(self.bury(index, *reason, *at)),
                None => {
                    self.live[index].overdue = true;
                    self.live[index].ending.get_or_insert(EndReason::MaxLifetime);
                }
            }
        }
        due.into_iter().map(|(_, n, reason)| (n, reason)).collect()
    }
}
