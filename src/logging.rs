//! The log: limits repeated lines, and writes on a thread of its own so that no other waits.
//!
//! The log belongs to the process, as standard error does; so its counters are static.

pub mod filter;
mod form;
pub mod grpc_core;
mod queue;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;
use std::time::Duration;

use log::{Level, Log, Record};

use crate::clock;
use crate::core::ids::TenantId;
use crate::core::repeats::{Repeated, Repeats};
use crate::lock::Leaf;
use crate::threads;

pub use form::{format, is_written, set_format, set_level, LogFormat, AUDIT, DEFAULT_LEVEL};
pub use queue::LogQueue;
use queue::Moment;

/// How long the process waits at its end for lines to be written.
const FINISH: Duration = Duration::from_secs(2);

static QUEUE: OnceLock<LogQueue> = OnceLock::new();
static REPEATS: Leaf<Repeats<Option<TenantId>>> = Leaf::new(Repeats::new());
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Starts the thread that writes to standard error, and returns the queue for lines. `reporter`
/// must write to standard error itself: it reports the lines that the log has lost.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(reporter: impl Log + 'static) -> io::Result<LogQueue> {
    let (queue, drain) = queue::queue();
    threads::spawn(threads::LOG, move || {
        drain.run(&mut io::stderr(), |dropped, moment| report(&reporter, dropped, moment));
    })?;
    Ok(QUEUE.get_or_init(|| queue).clone())
}

/// Whether a line of this event, about this tenant if there is one, may be written now. Ask before
/// each line that a client or a PostgreSQL can cause at will; `core::repeats` has the limits. Lines
/// that are left out are counted and reported later.
pub fn admits(event: &'static str, tenant: Option<&TenantId>) -> bool {
    let tenant = tenant.map(|tenant| Some(tenant.clone()));
    let mut repeats = REPEATS.lock();
    let admitted = repeats.admit(event, tenant.as_ref(), clock::now());
    drop(repeats);
    if !admitted {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    }
    admitted
}

/// Whether a line about a lasting state of this tenant may be written: when it begins and then once
/// a minute. The returned value is the end of the line.
pub fn admits_state(
    event: &'static str,
    tenant: &TenantId,
    state: &'static str,
) -> Option<Repeated> {
    admits_state_of(event, &Some(tenant.clone()), state)
}

/// Whether a line about a lasting state that belongs to no tenant may be written.
pub fn admits_state_of_all(event: &'static str, state: &'static str) -> Option<Repeated> {
    admits_state_of(event, &None, state)
}

fn admits_state_of(
    event: &'static str,
    tenant: &Option<TenantId>,
    state: &'static str,
) -> Option<Repeated> {
    let mut repeats = REPEATS.lock();
    let admitted = repeats.admit_state(event, tenant, state, clock::now());
    drop(repeats);
    if admitted.is_none() {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    }
    admitted
}

/// Writes a text unchanged, after the lines so far.
pub fn say(text: &str) {
    match QUEUE.get() {
        Some(queue) => queue.put(text.as_bytes()),
        None => eprint!("{text}"),
    }
}

/// Waits briefly for the lines so far to be written; to be called before the process ends.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        // A reader that is still blocked loses the lines.
        let _ = queue.finish(FINISH);
    }
}

/// Lines dropped so far because the queue was full.
pub fn dropped() -> u64 {
    QUEUE.get().map_or(0, LogQueue::dropped)
}

/// Lines left out so far because of the limits of `core::repeats`.
pub fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Reports the lines that the log has lost, on the thread that writes.
fn report(reporter: &impl Log, dropped: u64, moment: Moment) {
    if dropped > 0 {
        warn(reporter, format_args!("event=log_dropped count={dropped}"));
    }
    let mut repeats = REPEATS.lock();
    let left_out = match moment {
        Moment::Between => repeats.due(clock::now()),
        Moment::Last => repeats.all(),
    };
    drop(repeats);
    for one in left_out {
        let (event, count) = (one.event, one.count);
        let (tenant, state) = one.of.unwrap_or_default();
        let tenant = tenant.map_or_else(String::new, |tenant| format!(" tenant={tenant}"));
        let state = if state.is_empty() { String::new() } else { format!(" state={state}") };
        warn(
            reporter,
            format_args!("event=lines_left_out of={event}{tenant}{state} count={count}"),
        );
    }
}

fn warn(reporter: &impl Log, line: std::fmt::Arguments<'_>) {
    let record = Record::builder().level(Level::Warn).target(module_path!()).args(line).build();
    reporter.log(&record);
}
