//! What is known of every checkout: where it is, and how its lease ended.
//!
//! A checkout is leased once at most, so checkout `n` and lease `n` have one number.

use super::door::Permit;
use crate::core::lease_table::{Denied, EndReason, LeaseState, LeaseView};
use crate::core::testing::id;
use std::time::Instant;

pub(super) type Table = crate::core::lease_table::LeaseTable<Checkout, Handle>;

/// A backend in use and the permit for it. It cannot be copied, so that the compiler sees to it that
/// it is in one place.
#[derive(Debug)]
pub(super) struct Checkout {
    pub(super) n: u32,
    pub(super) permit: Permit,
}

/// How to cancel an operation; each has a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(pub(super) u32);

/// Where a checkout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// With the worker that got it.
    Fresh,
    /// In the table.
    Idle,
    /// With an operation.
    Running(Handle),
    /// Its lease is over, and it is being reset or closed.
    Resetting,
    /// It has given its permit back.
    Gone,
}

struct Known {
    place: Place,
    outlived_at: Option<Instant>,
    /// The first end that was asked for while an operation ran.
    asked: Option<EndReason>,
    overdue: bool,
    /// The first end that anybody was told of.
    end: Option<(EndReason, Instant)>,
}

/// All checkouts, in the order in which they came up.
pub(super) struct Checkouts {
    known: Vec<Known>,
    /// The leases that have left the table, in that order.
    buried: Vec<u32>,
    max_tombstones: usize,
}

impl Checkouts {
    pub(super) fn new(max_tombstones: usize) -> Checkouts {
        Checkouts { known: Vec::new(), buried: Vec::new(), max_tombstones }
    }

    pub(super) fn fresh(&mut self, permit: Permit) -> Checkout {
        let n = self.known.len() as u32;
        self.known.push(Known {
            place: Place::Fresh,
            outlived_at: None,
            asked: None,
            overdue: false,
            end: None,
        });
        Checkout { n, permit }
    }

    pub(super) fn granted(&mut self, n: u32, outlived_at: Instant) {
        self.moves(n, Place::Fresh, Place::Idle);
        self.known[n as usize].outlived_at = Some(outlived_at);
    }

    pub(super) fn moves(&mut self, n: u32, from: Place, to: Place) {
        let known = &mut self.known[n as usize];
        assert_eq!(known.place, from, "checkout {n} is in another place");
        known.place = to;
    }

    /// The lease was used or shown, so it cannot be over.
    pub(super) fn alive(&self, n: u32) {
        let known = &self.known[n as usize];
        assert_eq!(known.end, None, "lease {n} came back after its end");
        assert!(matches!(known.place, Place::Idle | Place::Running(_)), "{:?}", known.place);
    }

    /// An operation runs whose end is asked for.
    pub(super) fn asked(&mut self, n: u32, handle: Handle, reason: EndReason) {
        self.alive(n);
        let known = &mut self.known[n as usize];
        assert_eq!(known.place, Place::Running(handle), "lease {n} names another operation");
        known.asked.get_or_insert(reason);
    }

    /// Why the lease has to end with its operation, if it has to.
    pub(super) fn has_to_end(&self, n: u32, now: Instant) -> Option<EndReason> {
        let known = &self.known[n as usize];
        let outlived = known.outlived_at.is_some_and(|at| at <= now);
        known.asked.or(outlived.then_some(EndReason::MaxLifetime))
    }

    /// The lease has left the table.
    pub(super) fn buried(&mut self, n: u32, reason: EndReason, now: Instant) {
        self.alive(n);
        self.known[n as usize].end = Some((reason, now));
        self.buried.push(n);
    }

    /// The lease has left the table, because a clock had ended it.
    pub(super) fn cleared_away(&mut self, n: u32, reason: EndReason) {
        assert_eq!(self.end_of(n), Some(reason), "lease {n} ended otherwise");
        self.buried.push(n);
    }

    /// The checkout has come out of the table or from its operation.
    pub(super) fn comes_out(&mut self, n: u32) {
        let known = &mut self.known[n as usize];
        assert!(matches!(known.place, Place::Idle | Place::Running(_)), "{:?}", known.place);
        known.place = Place::Resetting;
    }

    /// The checkout is back in the table.
    pub(super) fn rests(&mut self, n: u32) {
        let known = &mut self.known[n as usize];
        assert!(matches!(known.place, Place::Running(_)), "{:?}", known.place);
        (known.place, known.overdue) = (Place::Idle, false);
    }

    /// An operation has outlived its lease, of which the table tells once.
    pub(super) fn overdue(&mut self, n: u32) {
        let before = std::mem::replace(&mut self.known[n as usize].overdue, true);
        assert!(!before, "lease {n} was overdue before");
    }

    pub(super) fn asked_for(&self, n: u32) -> Option<EndReason> {
        self.known[n as usize].asked
    }

    pub(super) fn end_of(&self, n: u32) -> Option<EndReason> {
        self.known[n as usize].end.map(|end| end.0)
    }

    /// What a denied access may say, which is the same for ever.
    pub(super) fn denied(&self, n: u32, denied: &Denied) {
        let known = self.known.get(n as usize);
        let end = known.and_then(|known| known.end);
        match denied {
            Denied::Ended(told) => {
                assert_eq!(Some((told.reason, told.ended_at)), end, "lease {n} ended otherwise");
            }
            Denied::Busy(_) => {
                self.alive(n);
                assert_ne!(known.map(|known| known.place), Some(Place::Idle), "lease {n} is idle");
            }
            Denied::OtherWay(_) => panic!("all leases here are used in one way"),
            Denied::NotFound => {
                let later = self.buried.iter().rev().position(|other| *other == n);
                let remembered = later.is_some_and(|later| later < self.max_tombstones);
                let in_table = known
                    .is_some_and(|known| matches!(known.place, Place::Idle | Place::Running(_)));
                assert!(!remembered && !in_table, "lease {n} is not found");
            }
        }
    }

    /// Looks at lease `n`, which does not change it; a clock that has run out shows here first.
    pub(super) fn look(&mut self, table: &Table, n: u32, now: Instant) {
        let view = table.view(&id(n), now);
        if let (Err(Denied::Ended(told)), Some(known)) = (&view, self.known.get_mut(n as usize)) {
            let clock = matches!(
                told.reason,
                EndReason::Ttl | EndReason::IdleInTransaction | EndReason::MaxLifetime
            );
            if known.end.is_none() && known.place == Place::Idle && clock && told.ended_at <= now {
                known.end = Some((told.reason, told.ended_at));
            }
        }
        match view {
            Ok(view) => {
                self.alive(n);
                assert_eq!(view.facts.fencing_token, u64::from(n));
            }
            Err(denied) => self.denied(n, &denied),
        }
    }

    /// Looks at every lease whose checkout is in the table or with an operation.
    pub(super) fn look_at_all(&mut self, table: &Table, now: Instant) {
        for n in self.live() {
            self.look(table, n, now);
        }
    }

    /// The table has the checkouts it should have, and knows of the operations that run.
    pub(super) fn compare(
        &self,
        views: &[LeaseView],
        running: &[Checkout],
        resetting: &[Checkout],
    ) {
        let shown = |view: &LeaseView| (view.facts.fencing_token as u32, view.state);
        let shown: Vec<(u32, LeaseState)> = views.iter().map(shown).collect();
        let state = |n: u32| match self.known[n as usize].place {
            Place::Idle => (n, LeaseState::Idle),
            _ => (n, LeaseState::Busy),
        };
        let live: Vec<(u32, LeaseState)> = self.live().into_iter().map(state).collect();
        assert_eq!(shown, live, "the table knows of other leases");
        let busy = live.iter().filter(|lease| lease.1 == LeaseState::Busy);
        assert_eq!(busy.count(), running.len());
        assert!(resetting.iter().all(|s| self.known[s.n as usize].place == Place::Resetting));
        let is = |known: &&Known| known.place == Place::Resetting;
        assert_eq!(self.known.iter().filter(is).count(), resetting.len());
    }

    /// The leases that are idle or busy, in the order of their grants.
    pub(super) fn live(&self) -> Vec<u32> {
        let live =
            |n: &u32| matches!(self.known[*n as usize].place, Place::Idle | Place::Running(_));
        (0..self.known.len() as u32).filter(live).collect()
    }

    /// Checkouts that have a permit.
    pub(super) fn with_permit(&self) -> usize {
        self.known.iter().filter(|known| known.place != Place::Gone).count()
    }

    pub(super) fn count(&self) -> u32 {
        self.known.len() as u32
    }

    /// How the leases ended.
    pub(super) fn ends(&self) -> impl Iterator<Item = EndReason> + '_ {
        self.known.iter().filter_map(|known| known.end.map(|end| end.0))
    }
}
