//! What an operator asks for by a signal.

use crossbeam_channel::{unbounded, Receiver};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::logging;
use crate::threads;

/// Signals that stop the service.
pub(super) const STOPPING: &[i32] = &[SIGINT, SIGTERM];
/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The service is to stop.
    Stop,
    /// Files are to be read again.
    Reload,
}

/// Signals that end a process which does not take them. SIGPIPE among them: Rust has it
/// ignored, but a failed exec (`process::settle_allocator`) undoes that.
const IGNORED: &[i32] = &[SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE];

/// Gets `Stop` at the first signal of those that are `stopping`; the second one ends the
/// process at once. Any other SIGHUP is a `Reload`. Other signals do nothing.
pub(super) fn signals(stopping: &'static [i32]) -> std::io::Result<Receiver<Asked>> {
    let mut signals = Signals::new(stopping.iter().chain(IGNORED))?;
    let (asked_tx, asked_rx) = unbounded();
    threads::spawn(threads::SIGNALS, move || {
        let mut asked_before = false;
        for signal in signals.forever() {
            if stopping.contains(&signal) {
                if asked_before {
                    log::warn!("event=stopped_at_once");
                    logging::finish();
                    std::process::exit(1);
                }
                asked_before = true;
                let _ = asked_tx.send(Asked::Stop);
            } else if signal == SIGHUP && asked_tx.is_empty() {
                // One that waits reads what all of them mean.
                let _ = asked_tx.send(Asked::Reload);
            }
        }
    })?;
    Ok(asked_rx)
}
