//! A pool without threads, sockets and locks: the gate and the table, put together as `pool` does.

mod admission;
mod leasing;
mod settling;

use super::checkouts::{Checkout, Checkouts, Place, Table};
use super::door::{Door, Job, Permit};
use super::requests::Requests;
use super::steps::{Event, Step};
use crate::core::gate::GateState;
use crate::core::lease_table::Terms;
use crate::core::testing::{ms, start};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) permits: usize,
    pub(super) waiters: usize,
    pub(super) tombstones: usize,
}

pub(super) struct Pool {
    now: Instant,
    late: Duration,
    door: Door,
    /// The state that the gate should be in.
    state: GateState,
    table: Table,
    pub(super) requests: Requests,
    pub(super) checkouts: Checkouts,
    /// Those that were granted a permit, in that order. There is a turn for each of them, begun or
    /// not, which serves the first in line.
    line: VecDeque<(Job, Permit)>,
    turns: usize,
    /// The turns that have begun: whether it fell to them to open the gate.
    connecting: Vec<bool>,
    running: Vec<Checkout>,
    resetting: Vec<Checkout>,
    /// The keeper's permits.
    kept: Vec<Permit>,
    operations: u32,
}

impl Pool {
    pub(super) fn new(sizes: Sizes) -> Pool {
        Pool {
            now: start() + ms(1_000),
            late: ms(0),
            door: Door::opening(sizes.permits, sizes.waiters),
            state: GateState::Opening,
            table: Table::new(sizes.tombstones, ms(1_000_000)),
            requests: Requests::new(sizes.waiters),
            checkouts: Checkouts::new(sizes.tombstones),
            line: VecDeque::new(),
            turns: 0,
            connecting: Vec::new(),
            running: Vec::new(),
            resetting: Vec::new(),
            kept: Vec::new(),
            operations: 0,
        }
    }

    pub(super) fn play(&mut self, step: Step) {
        self.now += ms(step.after);
        self.late = ms(step.late);
        self.checkouts.look_at_all(&self.table, self.now);
        self.act(step.event);
        self.checkouts.look_at_all(&self.table, self.now);
        self.check();
    }

    /// What the clock showed a moment ago: the pool reads it before it takes a lock where an older
    /// `now` does no harm.
    fn earlier(&self) -> Instant {
        self.now - self.late
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::Ask { wait } => self.ask(self.now + ms(wait)),
            Event::Leave { pick } => self.leave(pick),
            Event::Turn => self.turn(),
            Event::Connect { pick, outcome, ttl, lifetime } => {
                let (ttl, max_lifetime) = (ms(ttl), ms(lifetime));
                let terms = Terms { ttl, idle_in_transaction: ttl / 2, max_lifetime };
                if let Some(opening) = pick_out(&mut self.connecting, pick) {
                    self.connect(opening, outcome, terms);
                }
            }
            Event::Begin { pick } => self.begin(self.lease(pick)),
            Event::End { pick, transaction } => {
                if let Some(checkout) = pick_out(&mut self.running, pick) {
                    self.end(checkout, transaction);
                }
            }
            Event::Lose { pick } => {
                if let Some(checkout) = pick_out(&mut self.running, pick) {
                    self.lose(checkout);
                }
            }
            Event::Release { pick, force } => self.release(self.lease(pick), force),
            Event::Revoke { pick, reason } => self.revoke(self.lease(pick), reason),
            Event::Renew { pick, ttl } => self.renew(self.lease(pick), ttl.map(ms)),
            Event::Finish { pick } => {
                if let Some(Checkout { n, permit }) = pick_out(&mut self.resetting, pick) {
                    self.checkouts.moves(n, Place::Resetting, Place::Gone);
                    self.finish(permit);
                }
            }
            Event::Take => self.take(),
            Event::Give => {
                if let Some(permit) = self.kept.pop() {
                    self.finish(permit);
                }
            }
            Event::Reap { limit } => self.reap(limit),
            Event::Expire { limit } => self.expire(limit),
            Event::Drain => self.drain(),
            Event::Close => self.close(),
            Event::EndAll { reason } => self.end_all(reason),
        }
    }

    /// Half of the time a lease that lives, else any number, or one that is not given out yet.
    fn lease(&self, pick: u64) -> u32 {
        let (live, pick) = (self.checkouts.live(), (pick / 2, pick % 2));
        match pick {
            (pick, 0) if !live.is_empty() => live[pick as usize % live.len()],
            (pick, _) => pick as u32 % (self.checkouts.count() + 1),
        }
    }
}

/// Takes one of `all` out.
fn pick_out<T>(all: &mut Vec<T>, pick: u64) -> Option<T> {
    let count = all.len();
    (count > 0).then(|| all.swap_remove(pick as usize % count))
}
