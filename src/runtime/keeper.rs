//! The thread that keeps pools warm and retires old backends. It decides only;
//! what may block runs on workers.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{after, select};

use crate::clock;
use crate::pool::registry::Registry;
use crate::runtime::shutdown::{Stopped, Thread};
use crate::threads;

/// It looks at every pool so often, and when a pool was just opened.
const INTERVAL: Duration = Duration::from_secs(5);

/// Starts the keeper.
///
/// # Errors
/// If the system has no thread left.
pub fn start(registry: Arc<Registry>) -> std::io::Result<Thread> {
    Thread::start(threads::KEEPER, move |stopped| run(&registry, &stopped))
}

fn run(registry: &Registry, stopped: &Stopped) {
    let bell = registry.context().keeper.clone();
    loop {
        bell.awake();
        threads::survive(threads::KEEPER, || {
            for tenant in registry.all() {
                tenant.maintain(clock::now());
            }
        });
        let until = clock::now() + INTERVAL;
        bell.sleep_until(until);
        select! {
            recv(stopped) -> _ => return,
            recv(bell.heard()) -> _ => {}
            recv(after(INTERVAL)) -> _ => {}
        }
    }
}
