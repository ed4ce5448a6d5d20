//! What is done with leases, and what becomes of their checkouts.

use super::super::checkouts::{Checkout, Handle, Place};
use super::Pool;
use crate::core::lease_table::{Denied, Due, EndReason, Ended, Revoked, Via};
use crate::core::testing::id;
use crate::core::transaction::TransactionState;
use std::time::Duration;

impl Pool {
    pub(super) fn begin(&mut self, n: u32) {
        self.operations += 1;
        let handle = Handle(self.operations);
        match self.table.begin(&id(n), Via::Call, handle, self.now) {
            Ok((checkout, _)) => {
                self.checkouts.alive(n);
                assert_eq!(checkout.n, n);
                self.checkouts.moves(n, Place::Idle, Place::Running(handle));
                self.running.push(checkout);
            }
            Err(denied) => self.checkouts.denied(n, &denied),
        }
    }

    pub(super) fn end(&mut self, checkout: Checkout, transaction: TransactionState) {
        let n = checkout.n;
        let expected = self.checkouts.has_to_end(n, self.now);
        match self.table.end(&id(n), checkout, transaction, self.now) {
            Ended::Kept(_) => {
                assert_eq!(expected, None, "lease {n} goes on");
                self.checkouts.rests(n);
            }
            Ended::Over { checkout, reason, .. } => {
                assert_eq!(expected, Some(reason), "lease {n} is over");
                self.over(n, checkout, reason);
            }
            Ended::Unknown(_) => panic!("lease {n} is unknown"),
        }
    }

    /// The checkout is closed, and its permit comes back after that.
    pub(super) fn lose(&mut self, checkout: Checkout) {
        let n = checkout.n;
        let reason = self.checkouts.asked_for(n).unwrap_or(EndReason::BackendLost);
        let lost = self.table.lost(&id(n), EndReason::BackendLost, self.now);
        assert_eq!(lost.map(|(_, told)| told), Some(reason), "lease {n} is lost");
        self.over(n, checkout, reason);
    }

    pub(super) fn release(&mut self, n: u32, force: bool) {
        match self.table.release(&id(n), Via::Call, self.now) {
            Ok((checkout, _)) => self.over(n, checkout, EndReason::Released),
            Err(Denied::Busy(_)) if force => self.revoke(n, EndReason::Released),
            Err(denied) => self.checkouts.denied(n, &denied),
        }
    }

    pub(super) fn revoke(&mut self, n: u32, reason: EndReason) {
        match self.table.revoke(&id(n), reason, self.now) {
            Ok(Revoked::Over { checkout, .. }) => self.over(n, checkout, reason),
            Ok(Revoked::Ending { handle, .. }) => self.checkouts.asked(n, handle, reason),
            Err(Denied::Busy(_)) => panic!("the end of lease {n} was denied"),
            Err(denied) => self.checkouts.denied(n, &denied),
        }
    }

    pub(super) fn renew(&mut self, n: u32, ttl: Option<Duration>) {
        match self.table.renew(&id(n), ttl, self.now) {
            Ok(_) => self.checkouts.alive(n),
            Err(Denied::Busy(_)) => panic!("the renewal of lease {n} was denied"),
            Err(denied) => self.checkouts.denied(n, &denied),
        }
    }

    pub(super) fn reap(&mut self, limit: usize) {
        let due = self.table.due(self.earlier(), limit);
        assert!(due.len() <= limit);
        for due in due {
            match due {
                Due::Over { id: whose, checkout, reason, .. } => {
                    let n = checkout.n;
                    assert_eq!(whose, id(n));
                    self.checkouts.cleared_away(n, reason);
                    self.reset(n, checkout);
                }
                Due::Overdue { view, handle, .. } => {
                    let n = view.facts.fencing_token as u32;
                    assert!(self.checkouts.has_to_end(n, self.now).is_some(), "lease {n} is young");
                    self.checkouts.asked(n, handle, EndReason::MaxLifetime);
                    self.checkouts.overdue(n);
                }
            }
        }
    }

    pub(super) fn end_all(&mut self, reason: EndReason) {
        let (idle, busy) = self.table.end_all(reason, self.now);
        for (checkout, _) in idle {
            let n = checkout.n;
            match self.checkouts.end_of(n) {
                Some(clock) => {
                    self.checkouts.cleared_away(n, clock);
                    self.reset(n, checkout);
                }
                None => self.over(n, checkout, reason),
            }
        }
        for (handle, view) in busy {
            self.checkouts.asked(view.facts.fencing_token as u32, handle, reason);
        }
        assert_eq!(self.table.len(), self.running.len(), "an idle lease is left");
    }

    /// The lease has just ended, and its checkout came out.
    fn over(&mut self, n: u32, checkout: Checkout, reason: EndReason) {
        assert_eq!(checkout.n, n);
        self.checkouts.buried(n, reason, self.now);
        self.reset(n, checkout);
    }

    fn reset(&mut self, n: u32, checkout: Checkout) {
        self.checkouts.comes_out(n);
        self.resetting.push(checkout);
    }
}
