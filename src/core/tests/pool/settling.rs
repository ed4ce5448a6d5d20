//! What holds after every step, and when everything has come to its end.

use super::super::requests::Answer;
use super::super::steps::{Event, Outcome, Step};
use super::Pool;
use crate::core::gate::GateState;
use crate::core::lease_table::EndReason;
use crate::core::transaction::TransactionState;

impl Pool {
    /// What holds after every step.
    pub(super) fn check(&self) {
        let (door, waiting) = (&self.door, self.requests.waiting());
        let out = self.line.len() + self.checkouts.with_permit() + self.kept.len();
        assert_eq!(door.used(), out, "permits out");
        assert!(out <= door.permits(), "{out} permits are out");
        assert_eq!(door.waiting(), waiting, "waiters");
        assert_eq!(door.next_deadline(), self.requests.next_deadline());
        assert_eq!(self.line.len(), self.turns + self.connecting.len());
        assert_eq!(door.state(), self.state);
        match self.state {
            GateState::Opening => {
                assert!(out <= 1, "{out} permits are out while opening");
                assert!(out == 1 || waiting == 0, "{waiting} wait for nobody to open");
            }
            GateState::Active => {
                assert!(out == door.permits() || waiting == 0, "{waiting} wait for free permits");
            }
            GateState::Draining | GateState::Closed => assert_eq!(waiting, 0),
        }
        self.checkouts.compare(&self.table.views(self.now), &self.running, &self.resetting);
    }

    /// Nothing new comes, and what is under way comes to its end; with `stop` at once, else as time
    /// passes.
    pub(in crate::core::tests) fn settle(&mut self, stop: bool) {
        let all = usize::MAX;
        let connected =
            Event::Connect { pick: 0, outcome: Outcome::Connected, ttl: 5, lifetime: 10 };
        if stop {
            self.play(Step { after: 0, late: 0, event: Event::Drain });
        }
        let mut rounds = 0;
        while !self.is_quiet() {
            rounds += 1;
            assert!(rounds < 1_000, "it does not come to an end");
            let last = match stop {
                true => Event::EndAll { reason: EndReason::Shutdown },
                false => Event::Reap { limit: all },
            };
            for event in [
                Event::Turn,
                connected,
                Event::End { pick: 0, transaction: TransactionState::None },
                Event::Finish { pick: 0 },
                Event::Give,
                Event::Expire { limit: all },
                last,
            ] {
                self.play(Step { after: if stop { 0 } else { 2 }, late: 0, event });
            }
        }
    }

    fn is_quiet(&self) -> bool {
        let nobody = self.requests.waiting() == 0 && self.line.is_empty();
        nobody && self.table.is_empty() && self.checkouts.with_permit() == 0 && self.kept.is_empty()
    }

    /// Everything has come to its end. The answers of the requests and the ends of the leases.
    pub(in crate::core::tests) fn ended(mut self) -> (Vec<Answer>, Vec<EndReason>) {
        assert_eq!((self.door.used(), self.door.waiting()), (0, 0));
        assert_eq!((self.door.next_deadline(), self.table.next_deadline()), (None, None));
        // One more than there are: nobody knows that one.
        for n in 0..=self.checkouts.count() {
            self.checkouts.look(&self.table, n, self.now);
            self.begin(n);
            self.revoke(n, EndReason::Revoked);
        }
        assert!(self.running.is_empty() && self.resetting.is_empty());
        (self.requests.answers(), self.checkouts.ends().collect())
    }
}
