//! Where a thread waits for a connection.

use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::channel::Link;
use super::lineup::{CheckoutRefusal, LentChannel};
use crate::clock;
use crate::lock::Leaf;

/// A wait that ends only with the answer looks up so often.
const LOOK: Duration = Duration::from_secs(60);

/// What became of a waiter.
pub(super) type CheckoutAnswer = Result<LentChannel<Arc<Link>>, CheckoutRefusal>;

/// A place for one thread to wait. Its lock is a leaf, held for a few instructions.
#[derive(Default)]
pub(super) struct CheckoutSeat {
    answer: Leaf<Option<CheckoutAnswer>>,
    answered: Condvar,
}

impl CheckoutSeat {
    /// Gives the waiter its answer.
    pub(super) fn answer(&self, answer: CheckoutAnswer) {
        *self.answer.lock() = Some(answer);
        self.answered.notify_one();
    }

    /// Takes the answer, waiting for it at most until then.
    pub(super) fn wait(&self, until: Instant) -> Option<CheckoutAnswer> {
        let mut answer = self.answer.lock();
        loop {
            if answer.is_some() {
                return answer.take();
            }
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return None;
            }
            answer = answer.wait(&self.answered, left);
        }
    }

    /// Takes an answer that is certain to come: the waiter has left the line already.
    pub(super) fn expect(&self) -> CheckoutAnswer {
        loop {
            if let Some(answer) = self.wait(clock::now() + LOOK) {
                return answer;
            }
        }
    }
}
