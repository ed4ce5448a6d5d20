//! The calls that visit many leases: those whose clocks have run out, or all.

use super::entry::{Lease, LeasePhase};
use super::{AllEnded, Due, EndReason, LeaseState, LeaseTable};
use std::mem;
use std::time::Instant;

impl<S, H: Clone> LeaseTable<S, H> {
    /// Ends up to `limit` leases whose clocks have run out, the earliest first.
    ///
    /// Idle ones are returned as [`Due::Over`]. A busy one beyond its lifetime is returned as
    /// [`Due::Overdue`], once.
    #[must_use]
    pub fn due(&mut self, now: Instant, limit: usize) -> Vec<Due<S, H>> {
        self.tombstones.forget_old(now);
        let numbers = self.deadlines.pop_due(now, limit);
        let mut due = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(lease) = self.leases.remove(&number) else { continue };
            let ran_out = lease.ran_out(now);
            let Lease { record, phase } = lease;
            let id = record.id.clone();
            match (phase, ran_out) {
                (LeasePhase::Idle(checkout), Some((ended_at, reason))) => {
                    let view = record.view(LeaseState::Idle, now);
                    self.bury(record, reason, ended_at);
                    due.push(Due::Over { id, checkout, view, reason });
                }
                (LeasePhase::Busy(mut operation), _) => {
                    operation.overdue = true;
                    operation.ending.get_or_insert(EndReason::MaxLifetime);
                    let handle = operation.handle.clone();
                    let view =
                        self.put_back(Lease { record, phase: LeasePhase::Busy(operation) }, now);
                    due.push(Due::Overdue { id, handle, view });
                }
                // Not reached, because the deadline of an idle lease is that of its clock; if it
                // were, the lease would merely be visited too early.
                (phase @ LeasePhase::Idle(_), None) => {
                    self.put_back(Lease { record, phase }, now);
                }
            }
        }
        due
    }

    /// When [`due`](Self::due) must be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Ends all leases: the checkouts of the idle ones, and the handles of the busy ones, which end
    /// with their operations. Both in the order of the grants.
    ///
    /// An idle lease whose clock has run out is included, and is recorded with the reason that its
    /// holder may already have received.
    #[must_use]
    pub fn end_all(&mut self, reason: EndReason, now: Instant) -> AllEnded<S, H> {
        self.tombstones.forget_old(now);
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for (_, lease) in mem::take(&mut self.leases) {
            let (ended_at, reason) = lease.ran_out(now).unwrap_or((now, reason));
            let Lease { record, phase } = lease;
            match phase {
                LeasePhase::Idle(checkout) => {
                    idle.push((checkout, record.view(LeaseState::Idle, now)));
                    self.bury(record, reason, ended_at);
                }
                LeasePhase::Busy(mut operation) => {
                    operation.ending.get_or_insert(reason);
                    let handle = operation.handle.clone();
                    let view =
                        self.put_back(Lease { record, phase: LeasePhase::Busy(operation) }, now);
                    busy.push((handle, view));
                }
            }
        }
        (idle, busy)
    }
}
