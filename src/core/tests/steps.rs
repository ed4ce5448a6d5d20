//! What can happen, and how often.

use crate::core::lease_table::EndReason;
use crate::core::testing::Xorshift;
use crate::core::transaction::TransactionState;

/// One step of a schedule. It does not depend on what came before: what it picks, it picks among
/// those that are there, and if there is none nothing happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Milliseconds that pass before.
    pub(super) after: u64,
    /// By how many milliseconds the clock was read too early.
    pub(super) late: u64,
    pub(super) event: Event,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A request comes.
    Ask {
        wait: u64,
    },
    /// A caller leaves that has no answer yet.
    Leave {
        pick: u64,
    },
    /// A worker begins to get a backend for the first in line.
    Turn,
    /// A worker is done with that.
    Connect {
        pick: u64,
        outcome: Outcome,
        ttl: u64,
        lifetime: u64,
    },
    /// An operation begins.
    Begin {
        pick: u64,
    },
    /// An operation ends.
    End {
        pick: u64,
        transaction: TransactionState,
    },
    /// The checkout of an operation is lost.
    Lose {
        pick: u64,
    },
    Release {
        pick: u64,
        force: bool,
    },
    Revoke {
        pick: u64,
        reason: EndReason,
    },
    Renew {
        pick: u64,
        ttl: Option<u64>,
    },
    /// A checkout is at rest or closed, and gives its permit back.
    Finish {
        pick: u64,
    },
    /// The keeper asks for a permit.
    Take,
    /// The keeper gives one back.
    Give,
    /// Leases whose clocks have run out are cleared away.
    Reap {
        limit: usize,
    },
    /// Waiters whose time is over are cleared away.
    Expire {
        limit: usize,
    },
    Drain,
    Close,
    EndAll {
        reason: EndReason,
    },
}

/// What a worker's search for a backend came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Connected,
    Failed,
    Panicked,
}

const STATES: [TransactionState; 3] =
    [TransactionState::None, TransactionState::Open, TransactionState::Failed];

impl Step {
    pub(super) fn random(random: &mut Xorshift) -> Step {
        Step { after: random.below(4), late: random.below(3), event: Event::random(random) }
    }
}

impl Event {
    fn random(random: &mut Xorshift) -> Event {
        let pick = random.below(1 << 20);
        let reason = EndReason::ALL[random.below(EndReason::ALL.len() as u64) as usize];
        match random.below(400) {
            0..=59 => Event::Ask { wait: random.below(40) },
            60..=69 => Event::Leave { pick },
            70..=139 => Event::Turn,
            140..=209 => {
                let outcome = match random.below(30) {
                    0 => Outcome::Failed,
                    1 => Outcome::Panicked,
                    _ => Outcome::Connected,
                };
                let (ttl, lifetime) = (10 + random.below(40), 10 + random.below(90));
                Event::Connect { pick, outcome, ttl, lifetime }
            }
            210..=243 => Event::Begin { pick },
            244..=272 => Event::End { pick, transaction: STATES[random.below(3) as usize] },
            273..=278 => Event::Lose { pick },
            279..=298 => Event::Release { pick, force: random.below(3) == 0 },
            299..=308 => Event::Revoke { pick, reason },
            309..=318 => {
                let ttl = (random.below(2) == 0).then(|| 10 + random.below(40));
                Event::Renew { pick, ttl }
            }
            319..=354 => Event::Finish { pick },
            355..=361 => Event::Take,
            362..=368 => Event::Give,
            369..=382 => Event::Reap { limit: random.below(4) as usize },
            383..=395 => Event::Expire { limit: random.below(3) as usize },
            396 if random.below(2) == 0 => Event::Drain,
            397 if random.below(3) == 0 => Event::Close,
            398 if random.below(2) == 0 => Event::EndAll { reason },
            _ => Event::Revoke { pick, reason },
        }
    }
}
