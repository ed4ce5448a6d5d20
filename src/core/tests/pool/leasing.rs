//! What is done with leases, and what becomes of their sessions.

use super::super::sessions::{Handle, Place, Session};
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
            Ok((session, _)) => {
                self.sessions.alive(n);
                assert_eq!(session.n, n);
                self.sessions.moves(n, Place::Idle, Place::Running(handle));
                self.running.push(session);
            }
            Err(denied) => self.sessions.denied(n, &denied),
        }
    }

    pub(super) fn end(&mut self, session: Session, transaction: TransactionState) {
        let n = session.n;
        let expected = self.sessions.has_to_end(n, self.now);
        match self.table.end(&id(n), session, transaction, self.now) {
            Ended::Kept(_) => {
                assert_eq!(expected, None, "lease {n} goes on");
                self.sessions.rests(n);
            }
            Ended::Over { session, reason, .. } => {
                assert_eq!(expected, Some(reason), "lease {n} is over");
                self.over(n, session, reason);
            }
            Ended::Unknown(_) => panic!("lease {n} is unknown"),
        }
    }

    /// The session is closed, and its permit comes back after that.
    pub(super) fn lose(&mut self, session: Session) {
        let n = session.n;
        let reason = self.sessions.asked_for(n).unwrap_or(EndReason::BackendLost);
        let lost = self.table.lost(&id(n), EndReason::BackendLost, self.now);
        assert_eq!(lost.map(|(_, told)| told), Some(reason), "lease {n} is lost");
        self.over(n, session, reason);
    }

    pub(super) fn release(&mut self, n: u32, force: bool) {
        match self.table.release(&id(n), Via::Call, self.now) {
            Ok((session, _)) => self.over(n, session, EndReason::Released),
            Err(Denied::Busy(_)) if force => self.revoke(n, EndReason::Released),
            Err(denied) => self.sessions.denied(n, &denied),
        }
    }

    pub(super) fn revoke(&mut self, n: u32, reason: EndReason) {
        match self.table.revoke(&id(n), reason, self.now) {
            Ok(Revoked::Over { session, .. }) => self.over(n, session, reason),
            Ok(Revoked::Ending { handle, .. }) => self.sessions.asked(n, handle, reason),
            Err(Denied::Busy(_)) => panic!("the end of lease {n} was denied"),
            Err(denied) => self.sessions.denied(n, &denied),
        }
    }

    pub(super) fn renew(&mut self, n: u32, ttl: Option<Duration>) {
        match self.table.renew(&id(n), ttl, self.now) {
            Ok(_) => self.sessions.alive(n),
            Err(Denied::Busy(_)) => panic!("the renewal of lease {n} was denied"),
            Err(denied) => self.sessions.denied(n, &denied),
        }
    }

    pub(super) fn reap(&mut self, limit: usize) {
        let due = self.table.due(self.earlier(), limit);
        assert!(due.len() <= limit);
        for due in due {
            match due {
                Due::Over { id: whose, session, reason, .. } => {
                    let n = session.n;
                    assert_eq!(whose, id(n));
                    self.sessions.cleared_away(n, reason);
                    self.reset(n, session);
                }
                Due::Overdue { view, handle, .. } => {
                    let n = view.facts.fencing_token as u32;
                    assert!(self.sessions.has_to_end(n, self.now).is_some(), "lease {n} is young");
                    self.sessions.asked(n, handle, EndReason::MaxLifetime);
                    self.sessions.overdue(n);
                }
            }
        }
    }

    pub(super) fn end_all(&mut self, reason: EndReason) {
        let (idle, busy) = self.table.end_all(reason, self.now);
        for (session, _) in idle {
            let n = session.n;
            match self.sessions.end_of(n) {
                Some(clock) => {
                    self.sessions.cleared_away(n, clock);
                    self.reset(n, session);
                }
                None => self.over(n, session, reason),
            }
        }
        for (handle, view) in busy {
            self.sessions.asked(view.facts.fencing_token as u32, handle, reason);
        }
        assert_eq!(self.table.len(), self.running.len(), "an idle lease is left");
    }

    /// The lease has just ended, and its session came out.
    fn over(&mut self, n: u32, session: Session, reason: EndReason) {
        assert_eq!(session.n, n);
        self.sessions.buried(n, reason, self.now);
        self.reset(n, session);
    }

    fn reset(&mut self, n: u32, session: Session) {
        self.sessions.comes_out(n);
        self.resetting.push(session);
    }
}
