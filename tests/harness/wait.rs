//! Waiting for what is to come, and for how long.

use std::time::{Duration, Instant};

/// A test that has waited for so long has failed. Never a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[allow(clippy::disallowed_methods)] // The clock of the tests' patience.
pub fn now() -> Instant {
    Instant::now()
}

/// Looks until `holds`, with a short pause between looks; fails after PATIENCE.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = now() + PATIENCE;
    // A channel nobody sends on: a pause that is not a guess about how long
    // something takes, only about how often to look.
    let never = crossbeam_channel::never::<()>();
    while !holds() {
        assert!(now() < until, "waited in vain: {what}");
        let _ = never.recv_timeout(Duration::from_millis(10));
    }
}
