//! The thread that acts on deadlines: leases, waiters, alarms. Never runs SQL;
//! what has to, goes to a worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{after, select};

use crate::clock;
use crate::pool::context::Context;
use crate::pool::leases::Leases;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};

/// The most items of each kind in a round; then the other kinds have their turn.
const ROUND: usize = 200;
/// The longest time between two rounds.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// A pause after a panic, so that it does not spin.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// Starts the reaper's thread.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(context: Arc<Context>, leases: Arc<Leases>) -> std::io::Result<Thread> {
    Thread::start(threads::REAPER, move |stopped| {
        run(&context, &leases, &stopped);
    })
}

fn run(context: &Context, leases: &Leases, stopped: &Stopped) {
    let bell = context.bell.clone();
    loop {
        bell.awake();
        let now = clock::now();
        let next = threads::survive(threads::REAPER, || round(context, leases, now));
        let until = next.unwrap_or(now + AFTER_PANIC);
        bell.sleep_until(until);
        let sleep = after(until.saturating_duration_since(clock::now()));
        select! {
            recv(stopped) -> _ => return,
            recv(bell.heard()) -> _ => {}
            recv(sleep) -> _ => {}
        }
    }
}

/// One round; returns when the next is due.
fn round(context: &Context, leases: &Leases, now: Instant) -> Instant {
    let mut next = now + LONGEST_SLEEP;
    let mut sooner = |at: Option<Instant>| next = at.map_or(next, |at| next.min(at));
    let alarms = &context.tools.alarms;
    alarms.run_due(now, ROUND);
    sooner(alarms.next());
    sooner(leases.expire(now, ROUND));
    sooner(context.agenda.visit_due(now, ROUND));
    sooner(context.polls.round(now));
    next
}
